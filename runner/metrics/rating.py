"""Metrics over ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError
from runner.metrics.base import RowMetric


@dataclass(kw_only=True)
class MeanAbsoluteError(RowMetric):
    """Mean distance between prediction and target (``sklearn.metrics.mean_absolute_error``); lower is better.

    ``minimum`` and ``maximum`` are the ends of the scale. With them an unparsed row counts as the end
    farther from its target; without them there is no strict value if any row is unparsed.
    """

    minimum: float | None = None
    maximum: float | None = None
    default_name: ClassVar[str] = "mean_absolute_error"
    best: ClassVar[float | None] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scale(self.name, self.minimum, self.maximum)

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        check_numeric(self.name, pairs)
        return (pairs["prediction"] - pairs["target"]).abs()

    def unparsed(self, pairs: pl.DataFrame) -> pl.Series:
        return (farthest(pairs["target"], self.minimum, self.maximum) - pairs["target"]).abs()


@dataclass(kw_only=True)
class ExactAgreement(RowMetric):
    """Share of rows whose rating is at most ``tolerance`` from the target: 0 is exact, 1 is adjacent."""

    tolerance: float = 0
    default_name: ClassVar[str] = "exact_agreement"
    proportion: ClassVar[bool] = True

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        if self.tolerance == 0:
            return pairs["prediction"] == pairs["target"]
        check_numeric(self.name, pairs)
        # a difference such as 0.3 - 0.2 may miss a tolerance of 0.1 by rounding alone
        return (pairs["prediction"] - pairs["target"]).abs() <= self.tolerance + 1e-9


@dataclass(kw_only=True)
class Bias(RowMetric):
    """How much predictions lie above the targets on average; 0 is unbiased.

    Of ratings the mean difference; with ``label``, the share of predictions that are this label less the
    share of targets that are. Strict: an unparsed prediction is not ``label``; of ratings there is no strict
    value if any row is unparsed.
    """

    label: Any = None
    default_name: ClassVar[str] = "bias"
    best: ClassVar[float | None] = 0.0

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        if self.label is None:
            check_numeric(self.name, pairs)
            return pl.Series(pairs["prediction"] - pairs["target"])
        return _is(pairs["prediction"], self.label) - _is(pairs["target"], self.label)

    def unparsed(self, pairs: pl.DataFrame) -> pl.Series:
        if self.label is None:
            return pl.repeat(None, pairs.height, dtype=pl.Float64, eager=True)
        return -_is(pairs["target"], self.label)


def _is(labels: pl.Series, label: Any) -> pl.Series:
    return pl.Series((labels == label).cast(pl.Float64))


def check_scale(name: str, minimum: float | None, maximum: float | None) -> None:
    """A scale has two ends or none."""
    if (minimum is None) != (maximum is None):
        raise ConfigError(f"metric {name}: set both ends of the scale, minimum and maximum, or neither")
    if minimum is not None and maximum is not None and minimum >= maximum:
        raise ConfigError(f"metric {name}: minimum {minimum} is not below maximum {maximum}")


def check_numeric(name: str, pairs: pl.DataFrame) -> None:
    """Refuse columns that cannot be subtracted."""
    for which in ("prediction", "target"):
        if not pairs[which].dtype.is_numeric():
            raise DataError(
                f"metric {name}: {which}s are {pairs[which].dtype}, not numbers; "
                "the parser runner.parse.Number gives numbers"
            )


def farthest(target: pl.Series, minimum: float | None, maximum: float | None) -> pl.Series:
    """The end of the scale farther from each target: the worst rating there is. Nulls without a scale."""
    if minimum is None or maximum is None:
        return pl.repeat(None, len(target), dtype=pl.Float64, eager=True)
    gold = target.cast(pl.Float64).to_numpy()
    return pl.Series(np.where(gold - minimum >= maximum - gold, float(minimum), float(maximum)))
