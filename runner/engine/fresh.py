"""``fresh=true`` asks again what the ledger has. The new answers are kept, too, under a name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from runner.core.errors import ConfigError

KEY = "fresh"
_made: dict[str, str] = {}
"""The name that ``fresh: true`` in an option file stands for in this command; empty until it is needed."""


def name_fresh(overrides: Sequence[str]) -> list[str]:
    """Replace each ``true`` that is typed for ``fresh`` by a name, so that the same command goes on.

    It begins a command: ``fresh: true`` in an option file is another name from here on.
    """
    _made.clear()
    return [_name_typed(one) if _is_fresh(one) else one for one in overrides]


def _is_fresh(override: str) -> bool:
    return override.lstrip("+").startswith(f"{KEY}=")


def _name_typed(override: str) -> str:
    values = override.lstrip("+").removeprefix(f"{KEY}=").split(",")
    names = [make_name() if value.strip().lower() == "true" else value for value in values]
    return f"{KEY}={','.join(names)}"


def add_name(overrides: Sequence[str]) -> list[str]:
    """The overrides that go on with the answers of this command, where an option file has ``fresh: true``."""
    typed = any(map(_is_fresh, overrides))
    return [*overrides, *(f"{KEY}={name}" for name in _made.values() if not typed)]


def read_fresh(value: Any) -> str | None:
    """The name of the set of answers that a run uses; None is the set without a name.

    Raises :class:`ConfigError` for a value that is no name.
    """
    if value is None or value is False:
        return None
    if value is True:
        return _made.setdefault(KEY, make_name())
    if isinstance(value, str | int) and (name := str(value).strip()):
        return name
    raise ConfigError(f"fresh: {value!r} must be true, false or a name, such as second")


def make_name() -> str:
    """The time now, to the microsecond: two starts never share a name."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
