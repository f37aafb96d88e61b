"""How far a scorer of somebody else, whose scores are a column, agrees with a metric of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from runner.core.errors import ConfigError, DataError
from runner.core.types import Direction, Score
from runner.metrics.agreement import CohenKappa
from runner.metrics.base import get_column
from runner.metrics.rating import ExactAgreement
from runner.metrics.rows import RowMetric


@dataclass(kw_only=True)
class ScorerAgreement:
    """Of how many answers another scorer and a metric say the same: right, or wrong.

    ``name`` is the share of rows, ``name_kappa`` Cohen's kappa. An answer that the metric cannot read is
    wrong by it. Rows without a score in ``column`` are left out, and ``n`` says how many are not.

    metric      says which answers are right: a metric whose rows are right or wrong (``row_kind``)
    column      the other scores: numbers, or true and false
    threshold   the least score that means right
    confidence, resamples, seed   of the bootstrap (BCa)
    """

    metric: Any
    column: str = "their_score"
    threshold: float = 1.0
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = "scorers_agree"

    direction: ClassVar[Direction] = "none"

    def __post_init__(self) -> None:
        if not isinstance(self.metric, RowMetric) or self.metric.row_kind != "right":
            raise ConfigError(f"metric {self.name}: metric must be one whose rows are right or wrong")
        shared: dict[str, Any] = {
            "confidence": self.confidence,
            "resamples": self.resamples,
            "seed": self.seed,
        }
        self._share = ExactAgreement(name=self.name, **shared)
        self._kappa = CohenKappa(name=f"{self.name}_kappa", **shared)

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        """``{name}`` and ``{name}_kappa``."""
        theirs = get_column(frame, self.column, self.name)
        if not (theirs.dtype.is_numeric() or theirs.dtype in (pl.Boolean, pl.Null)):
            raise DataError(f"metric {self.name}: column {self.column!r} is {theirs.dtype}, not numbers")
        ours = pl.Series(self.metric.score_rows(frame)).fill_null(0.0) == 1
        both = pl.DataFrame({"prediction": ours, "target": theirs.cast(pl.Float64) >= self.threshold})
        both = both.drop_nulls().cast(pl.Int64)
        if both.is_empty():
            reason = f"no row has a value in {self.column!r}"
            return {one.name: Score(None, n=0, reason=reason) for one in (self._share, self._kappa)}
        scores = {**self._share(both), **self._kappa(both)}
        return {name: score for name, score in scores.items() if not name.endswith("_parsed")}
