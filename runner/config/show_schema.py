"""The schema of the config group ``show``."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ShowConfig:
    """``runner show``: rows before a run, or of a recorded one. ``runner show row=7`` sets ``show.row``.

    ``run`` is the folder of a recorded run or sweep, ``last`` the newest; null shows what a run would send.
    """

    run: str | None = None
    row: str | None = None
    """One row, whole, by its id or its number."""
    rows: int | None = None
    """How many rows are shown at most; null: 3 before a run, 50 of a recorded one."""
    text: str | None = None
    """Only rows in which this text stands, in a value, the chat or the answer; case does not matter."""
    only: list[str] = field(default_factory=list)
    """Only rows that are ``wrong``, ``unparsed``, ``error`` or ``disagreeing``; several mean any of these."""
