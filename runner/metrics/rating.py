"""Metrics over ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError
from runner.core.types import Direction
from runner.metrics.base import LabelOption
from runner.metrics.bootstrap import Ends
from runner.metrics.rows import RowMetric


@dataclass(kw_only=True)
class MeanAbsoluteError(RowMetric):
    """Mean distance between prediction and target (``sklearn.metrics.mean_absolute_error``); lower is better.

    ``minimum`` and ``maximum`` are the ends of the scale. With them an unparsed row counts as the end that is
    farther from its target. Without them there is no strict value if any row is unparsed.
    """

    minimum: float | None = None
    maximum: float | None = None
    default_name: ClassVar[str] = "mean_absolute_error"
    best: ClassVar[float | None] = 0.0
    ends: ClassVar[Ends] = (0.0, None)
    direction: ClassVar[Direction] = "lower"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scale(self.name, self.minimum, self.maximum)

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        check_numeric(self.name, pairs)
        return (pairs["prediction"] - pairs["target"]).abs()

    def unparsed(self, pairs: pl.DataFrame) -> pl.Series:
        return (find_farthest(pairs["target"], self.minimum, self.maximum) - pairs["target"]).abs()


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
    """How much higher predictions are than targets on average; 0 is unbiased.

    For ratings it is the mean difference, and there is no strict value if any row is unparsed. With ``label``
    it is the share of predictions with this label less the share of targets with it; strict, an unparsed
    prediction counts as another label. It has no direction: what counts is how near it is to 0.
    """

    label: Any = None
    default_name: ClassVar[str] = "bias"
    best: ClassVar[float | None] = 0.0
    direction: ClassVar[Direction] = "none"

    def named_labels(self) -> list[LabelOption]:
        if self.label is None:
            return super().named_labels()
        return [("label", self.label, (self.prediction, self.target), self.target)]

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        if self.label is None:
            check_numeric(self.name, pairs)
            return pl.Series(pairs["prediction"] - pairs["target"])
        return _mark_label(pairs["prediction"], self.label) - _mark_label(pairs["target"], self.label)

    def unparsed(self, pairs: pl.DataFrame) -> pl.Series:
        if self.label is None:
            return pl.repeat(None, pairs.height, dtype=pl.Float64, eager=True)
        return -_mark_label(pairs["target"], self.label)


def _mark_label(labels: pl.Series, label: Any) -> pl.Series:
    return pl.Series((labels == label).cast(pl.Float64))


def check_scale(name: str, minimum: float | None, maximum: float | None) -> None:
    """Refuse a scale with one end, or with its ends in the wrong order."""
    if (minimum is None) != (maximum is None):
        raise ConfigError(f"metric {name}: set both ends of the scale, minimum and maximum, or neither")
    if minimum is not None and maximum is not None and minimum >= maximum:
        raise ConfigError(f"metric {name}: minimum {minimum} is not below maximum {maximum}")


def check_numeric(name: str, pairs: pl.DataFrame) -> None:
    """Refuse columns that are not numbers."""
    for which in ("prediction", "target"):
        if not pairs[which].dtype.is_numeric():
            raise DataError(
                f"metric {name}: {which}s are {pairs[which].dtype}, not numbers; "
                "the parser runner.parse.Number gives numbers"
            )


def find_farthest(target: pl.Series, minimum: float | None, maximum: float | None) -> pl.Series:
    """The end of the scale that is farther from each target: the worst rating. Nulls without a scale."""
    if minimum is None or maximum is None:
        return pl.repeat(None, len(target), dtype=pl.Float64, eager=True)
    gold = target.cast(pl.Float64).to_numpy()
    return pl.Series(np.where(gold - minimum >= maximum - gold, float(minimum), float(maximum)))
