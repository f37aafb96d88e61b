"""Facts about the rows, without intervals: how many there are, and whether two sets are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from runner.core.identity import digest
from runner.core.types import Score
from runner.metrics.base import get_column


@dataclass(kw_only=True)
class Count:
    """Number of rows whose ``column`` is ``value``, or has any value where ``value`` is null."""

    column: str = "target"
    value: Any = None
    name: str = "count"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        values = get_column(frame, self.column, self.name)
        chosen = values.is_not_null() if self.value is None else values.cast(pl.String) == str(self.value)
        return {self.name: Score(float(chosen.sum()), n=frame.height)}


@dataclass(kw_only=True)
class Fingerprint:
    """A number that two sets of rows share only if ``columns`` hold the same values in the same order.

    The first 12 hexadecimal digits of the SHA-256 of the rows: a whole number below 2 to the 48, which a
    float holds exactly.
    """

    columns: Sequence[str]
    name: str = "fingerprint"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        rows = pl.DataFrame([get_column(frame, name, self.name) for name in self.columns]).rows()
        return {self.name: Score(float(int(digest(rows)[:12], 16)), n=frame.height)}
