"""Which classes a record may name: a record may come from a stranger, and a ``_target_`` is code to run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from runner.core.errors import ConfigError
from runner.core.provider import Provider

TARGET = "_target_"
OURS = re.compile(r"runner\.(providers|metrics|parse)(\.\w+)+")
"""Where the providers, metrics and parsers are that any record may name."""
OPTION = re.compile(r"\w[\w-]*(/\w[\w-]*)*(\.yaml)?")
READING = re.compile(r"\$\{(?!\s*(oc\.env|now)\s*:)[^}]*?[:$]")
"""An interpolation that calls a resolver, which may make a node; ``oc.env`` and ``now`` only give texts."""
VALUES = ("name", "checkpoint", "objective", "require", "budget_usd")
"""Keys without a dot that hold a value and choose no option."""
SHOWN = 3


def refuse_foreign_classes(config: Any, remedy: str) -> None:
    """Raise :class:`ConfigError` for a config that names other classes than this package's own.

    Looks into all mappings and lists. Allowed are this package's providers, metrics and parsers, and names in
    their rooms that do not exist, since these run nothing. The message shows each call that would be made,
    and ``remedy`` says what allows it.
    """
    found = [_show_call(node, key) for key, node in find_nodes(config) if not is_own_class(node[TARGET])]
    if found:
        calls = "; ".join(found[:SHOWN]) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
        raise ConfigError(
            f"the record would run code that is not the runner's own: {calls}. {remedy} runs it, "
            "which is for records of people whom you trust"
        )


def find_nodes(node: Any, key: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Each mapping with a ``_target_``, at any depth, and its place."""
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            yield from find_nodes(item, f"{key}[{index}]")
    elif isinstance(node, Mapping):
        if TARGET in node:
            yield key, node
        for name, value in node.items():
            yield from find_nodes(value, f"{key}.{name}" if key else str(name))


def is_own_class(target: Any) -> bool:
    """Whether a ``_target_`` is a provider, metric or parser of this package, or nothing that exists.

    An attribute of one of its modules, such as ``runner.metrics.text.re``, is not its own.

    >>> is_own_class("runner.metrics.F1"), is_own_class("runner.core.files.write_atomically")
    (True, False)
    """
    if not isinstance(target, str) or not OURS.fullmatch(target):
        return False
    try:
        found = resolve_name(target)  # imports modules of this package only
    except Exception:  # whoever makes the object says why it cannot
        return True
    if not isinstance(found, type) or not OURS.fullmatch(f"{found.__module__}.{found.__name__}"):
        return False
    return issubclass(found, Provider) or any("__call__" in vars(base) for base in found.__mro__)


def list_safe_overrides(overrides: Iterable[str], only_options: bool = False) -> list[str]:
    """The recorded overrides that can be composed without running what they name or leaving the search path.

    Left out are Hydra's own, those with a foreign class or with an interpolation that could make one, and
    options outside the folders of options. With
    ``only_options`` nothing but the choice of options is kept, so that every value is from an option file.
    """
    return [text for text in overrides if isinstance(text, str) and _is_safe(text, only_options)]


def _is_safe(text: str, only_options: bool) -> bool:
    try:
        override = OverridesParser.create().parse_override(text)
        value = override.value()
    except (HydraException, NotImplementedError):
        return False
    key = override.key_or_group
    if override.is_hydra_override() or override.is_sweep_override() or READING.search(text):
        return False
    if key.rpartition(".")[2] == TARGET:
        return not only_options and is_own_class(value)
    is_option = "." not in key and key not in VALUES
    values = value if isinstance(value, list) else [value]
    names = [name for name in values if isinstance(name, str)]
    if is_option and not all(OPTION.fullmatch(name) for name in names):
        return False
    if only_options:
        return is_option and len(names) == len(values)
    return all(is_own_class(node[TARGET]) for _, node in find_nodes(value))


def _show_call(node: Mapping[Any, Any], key: str) -> str:
    given = ", ".join(f"{name}={value!r:.60}" for name, value in node.items() if name != TARGET)
    return f"{key}: {node[TARGET]}({given})"
