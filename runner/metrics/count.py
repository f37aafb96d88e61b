"""How many rows there are of a kind: a fact about the data, without an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from runner.metrics.base import column
from runner.types import Score


@dataclass(kw_only=True)
class Count:
    """Number of rows whose ``column`` is ``value``, or has any value where ``value`` is null."""

    column: str = "target"
    value: Any = None
    name: str = "count"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        values = column(frame, self.column, self.name)
        chosen = values.is_not_null() if self.value is None else values.cast(pl.String) == str(self.value)
        return {self.name: Score(float(chosen.sum()), n=frame.height)}
