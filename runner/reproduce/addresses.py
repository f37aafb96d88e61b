"""Which addresses of a record may be used here: servers, files, and variables that hold keys.

A record may come from a stranger, and nothing in a folder tells whose it is. So no address is used because a
record names it. It is used if it is one's own: the command line names it, today's option files have it for
the options that the record chose, it is the default of a provider's class, or it is a file below the current
folder or the data folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.instantiate import find_target
from runner.config.trust import TARGET, is_own_class, list_safe_overrides
from runner.core.errors import ConfigError
from runner.core.paths import ROWS, data_folder
from runner.core.redact import remove_credentials
from runner.data import fetch
from runner.records.record import Record

ADDRESS = re.compile(r"(.*_)?(url|uri|host|endpoint|server|address|proxy|env)")
"""Names of settings that hold an address or the name of a variable."""
PLACE = re.compile(r"://|^[/~\\]|\.\.|\.gguf$", re.IGNORECASE)
"""What a setting holds that is an address whatever its name: a URL, or a file with weights to load."""
GROUPS = ("dataset", "finetune", "provider", "judge")


@dataclass(frozen=True)
class Own:
    """What is one's own: named on the command line, by key, and the config of today's option files."""

    named: Mapping[str, Sequence[str]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    ledger_url: str = ""
    """The ledger of the command line or of one's own config."""

    def check_provider(self, node: Any, key: str) -> None:
        """Raise :class:`ConfigError` for an address or variable of a provider that is not one's own.

        An address that the command line names must be the recorded one, since no other is used.
        """
        target = node.get(TARGET) if isinstance(node, Mapping) else None
        today = _select(self.config, key)
        same = isinstance(today, Mapping) and today.get(TARGET) == target
        for name, value in _list_addresses(node):
            named = self.named.get(f"{key}.{name}", ())
            mine = (_select(today, name) if same else None, _find_default(target, name))
            if not named and value not in mine:
                what = "its value is not sent" if name.endswith("env") else "nothing is sent there"
                raise ConfigError(
                    f"{key}.{name}={remove_credentials(value)}: only the record names it, so {what}; "
                    f"{key}.{name}=… on the command line uses it"
                )
        for place, named in self.named.items():
            name = place.removeprefix(f"{key}.")
            value = _select(node, name) or _find_default(target, name)
            if name != place and value not in named:
                raise ConfigError(f"{place}={named[0]}: the record has {value}, and no other is used")


def guard_files(owns: Sequence[Own], folder: Path) -> AbstractContextManager[None]:
    """Let :mod:`runner.data.fetch` use only one's own paths and addresses in this block.

    ``folder`` is that of the run or export; a file in it must not be a link out of it.
    """
    groups = (own.config.get(group) for own in owns for group in ("dataset", "finetune"))
    known = {value for own in owns for values in own.named.values() for value in values}
    known |= {text for group in groups for text in _list_texts(group)}

    def find_objection(kind: str, written: str, value: str) -> str:
        if written in known or (kind == "path" and _is_near(Path(value), folder)):
            return ""
        return f"only the record names it, so it is not used (dataset.{kind}=… on the command line uses it)"

    return fetch.guard(find_objection)


def read_own(record: Record, named: Sequence[str], ledger_url: str) -> Own:
    """What is one's own for a record; ``named`` are ``key=value`` of the command line."""
    pairs: dict[str, list[str]] = {}
    for key, _, value in (text.lstrip("+").partition("=") for text in named):
        pairs.setdefault(key, []).append(value.strip("'\""))
    try:
        chosen = compose("config", list_safe_overrides(record.overrides, only_options=True))
    except (HydraException, OmegaConfBaseException):  # an option that is not here
        chosen = DictConfig({})
    config = {group: _resolve(chosen.get(group)) for group in GROUPS}
    return Own(pairs, config, ledger_url)


def describe_ledger(record: Record, used: str) -> str:
    """A sentence if the record names another ledger than the one that is used; else empty."""
    ledger = record.config.get("ledger")
    then = str((isinstance(ledger, Mapping) and ledger.get("url")) or used)
    if then == used:
        return ""
    return f"the record's ledger.url={remove_credentials(then)} is not used; ledger.url=… names it"


def _resolve(node: Any) -> Any:
    """A group as plain data; None where it cannot be resolved without the record's values."""
    try:
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException:
        return None


def _is_near(path: Path, folder: Path) -> bool:
    """Whether a file is below the current folder, the data folder, the packaged rows or the run's folder.

    Hidden files, such as ``.env`` and ``.git/config``, are not near: they hold settings and keys.
    """
    absolute = Path(os.path.normpath(path.absolute()))
    home = Path(os.path.normpath(folder.absolute()))
    if absolute.is_relative_to(home):
        return absolute.resolve().is_relative_to(folder.resolve())
    places = [Path(os.path.normpath(place.absolute())) for place in (Path(), data_folder(), ROWS)]
    inner = [absolute.relative_to(place) for place in places if absolute.is_relative_to(place)]
    hidden = any(part.startswith(".") for path in inner[-1:] for part in path.parts)
    return ".." not in path.parts and bool(inner) and not hidden


def _list_addresses(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The addresses in a node, with their keys in it."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        key = f"{prefix}{name}"
        if isinstance(value, str) and (ADDRESS.fullmatch(str(name)) or PLACE.search(value)):
            yield key, value
        else:
            yield from _list_addresses(value, f"{key}.")


def _find_default(target: Any, name: str) -> Any:
    """The default that a class of this package has for a setting."""
    found = find_target(target, "provider") if is_own_class(target) else None
    return getattr(found, name, None) if "." not in name else None


def _select(node: Any, key: str) -> Any:
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _list_texts(node: Any) -> Iterator[str]:
    """All texts in a node."""
    if isinstance(node, str):
        yield node
    for item in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _list_texts(item)
