"""Apply overrides as Hydra does, but an object is replaced as a whole and takes each key of its class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from runner.config.instantiate import check_names
from runner.core.errors import ConfigError
from runner.core.redact import is_variable_name

INTEGRATION_KEY = re.compile(
    r"integrations\b.*[.\]](\w*_)?(api_?key|key|token|password|secret)$", re.IGNORECASE
)
"""Where a credential of a service that a training reports to would be."""

_apply_as_hydra = ConfigLoaderImpl._apply_overrides_to_config


def install(kind: type) -> None:
    """Make Hydra call :func:`apply_overrides` wherever it composes a config of this kind, and for no other.

    This replaces a private function of Hydra, for which it has no hook.
    """

    def apply(overrides: Sequence[Override], config: DictConfig) -> None:
        ours = OmegaConf.get_type(config) is kind
        (apply_overrides if ours else _apply_as_hydra)(list(overrides), config)

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply)  # type: ignore[assignment]


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Apply overrides to a composed config.

    A mapping with ``_target_`` replaces the object of an option, since one class does not have the keys of
    another. As after an option, the other overrides change what it gives, wherever they stand. A key that
    the class of an object takes needs no ``+``.
    """
    for override in sorted(map(_set_place, overrides), key=_names_class, reverse=True):
        if _names_class(override) and _is_object(OmegaConf.select(config, override.key_or_group)):
            OmegaConf.update(config, override.key_or_group, None, merge=False)
        _apply_as_hydra([_open_object(override, config)], config)
    for name in config:
        if name != "hydra":
            refuse_secrets(config._get_node(name), str(name))


def refuse_secrets(node: Any, key: str) -> None:
    """Raise :class:`ConfigError` where a key that ends in ``_env`` holds what is no variable's name.

    Such a value is mostly the secret itself, which Hydra and every record would save. A column of a data set
    may have any name.
    """
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node)
    if isinstance(node, list):
        for index, item in enumerate(node):
            refuse_secrets(item, f"{key}[{index}]")
    elif isinstance(node, Mapping):
        for name, value in node.items() if not key.endswith("dataset") else ():
            refuse_secrets(value, f"{key}.{name}")
    elif key.endswith("_env") and node is not None and not _may_name(str(node)):
        raise ConfigError(f"{key}: must be the name of an environment variable, not the key itself")
    elif INTEGRATION_KEY.search(key) and node not in (None, ""):
        raise ConfigError(
            f"{key}: no key is written in a config; api_key_env names the variable that holds it"
        )


def refuse_typed_secrets(arguments: Sequence[str]) -> None:
    """Raise as :func:`refuse_secrets` for arguments, since a sweep saves them before it composes a point."""
    for argument in arguments:
        if ("_env" in argument or "integrations" in argument) and not argument.startswith("-"):
            for key, value in _list_values(argument):
                refuse_secrets(value, key)


def _list_values(argument: str) -> Iterator[tuple[str, Any]]:
    """The key of an override with each of its values."""
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        yield argument.partition("=")[0].lstrip("+"), argument.partition("=")[2]
        return
    values = override.sweep_iterator() if override.is_discrete_sweep() else [override.value()]
    for value in values:
        yield override.key_or_group, getattr(value, "text", value)


def _may_name(text: str) -> bool:
    return text in ("", "???") or "${" in text or is_variable_name(text)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping | DictConfig) and "_target_" in value


def _names_class(override: Override) -> bool:
    """Whether an override says which class an object has; these come first."""
    if override.is_delete() or override.is_hydra_override():
        return False
    return override.key_or_group.endswith("._target_") or _is_object(override.value())


def _set_place(override: Override) -> Override:
    """``provider@judge.provider={_target_: …}`` is ``judge.provider={_target_: …}``."""
    if override.package is None or not _names_class(override):
        return override
    return replace(override, key_or_group=override.package, package=None)


def _open_object(override: Override, config: DictConfig) -> Override:
    """Turn ``key=value`` into ``++key=value`` for a new key of an object. Raises if its class has none."""
    parent, _, name = override.key_or_group.rpartition(".")
    if not parent or override.is_delete() or override.is_hydra_override():
        return override
    node = OmegaConf.select(config, parent)
    if not _is_object(node) or name in node:
        return override
    check_names(node["_target_"], parent, [name])
    return replace(override, type=OverrideType.FORCE_ADD)
