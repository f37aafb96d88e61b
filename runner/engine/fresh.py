"""``fresh=true`` asks again what the ledger has. The new answers are kept, too, under a name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from runner.core.errors import ConfigError

TYPED = ("fresh=true", "+fresh=true", "++fresh=true")


def name_fresh(overrides: Sequence[str]) -> list[str]:
    """Replace a typed ``fresh=true`` by a name, so that all points share it and the same command goes on."""
    return [f"fresh={make_name()}" if one.lower() in TYPED else one for one in overrides]


def read_fresh(value: Any) -> str | None:
    """The name of the set of answers that a run uses; None is the set without a name.

    Raises :class:`ConfigError` for a value that is no name.
    """
    if value is None or value is False:
        return None
    if value is True:
        return make_name()
    if isinstance(value, str | int) and (name := str(value).strip()):
        return name
    raise ConfigError(f"fresh: {value!r} must be true, false or a name, such as second")


def make_name() -> str:
    """The time now, to the microsecond: two starts never share a name."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
