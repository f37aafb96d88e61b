"""Metrics over the probability that a model or a judge gives to one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.core.errors import ConfigError, DataError
from runner.core.types import Direction
from runner.metrics.base import LabelOption, Metric, RowKind, align_types
from runner.metrics.bootstrap import SHARE, Ends, Floats
from runner.metrics.confusion import divide
from runner.metrics.correlation import rank_weighted


@dataclass(kw_only=True)
class Probabilistic(Metric):
    """A metric that compares the column ``probability`` with whether the target is the label ``positive``.

    Strict: a row without a probability counts as if the model had been certain of the wrong label.
    """

    prediction: str = "probability"
    positive: Any = 1
    unread: ClassVar[str] = "no answer has a probability"
    ends: ClassVar[Ends] = SHARE

    def align_types(self, prediction: pl.Series, target: pl.Series) -> tuple[pl.Series, pl.Series]:
        if not (prediction.dtype.is_numeric() or prediction.dtype == pl.Null):
            raise DataError(
                f"metric {self.name}: probabilities in {prediction.name!r} are {prediction.dtype}"
            )
        probability = prediction.cast(pl.Float64)
        if not probability.drop_nulls().is_between(0, 1).all():
            raise DataError(f"metric {self.name}: column {prediction.name!r} has values outside 0 … 1")
        label, target = align_types(pl.Series("positive", [self.positive]), target, self.name)
        return probability, (target == label[0]).cast(pl.Float64)

    def named_labels(self) -> list[LabelOption]:
        return [("positive", self.positive, (self.target,), self.target)]

    def explain(self, cells: pl.DataFrame) -> str:
        """Say that there is only one class."""
        positive = cells["target"][0] == 1
        return f"{'every' if positive else 'no'} target is {self.positive!r}"

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        parsed = pairs["prediction"].is_not_null()
        return pairs.select("target", pl.col("prediction").fill_null(1 - pl.col("target")), parsed=parsed)


@dataclass(kw_only=True)
class CalibrationError(Probabilistic):
    """Expected calibration error: mean distance of probability and frequency over ``bins`` of equal width.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3, for the probability of
    one label (Naeini et al. 2015). Lower is better. A bin includes its upper edge.
    """

    bins: int = 10
    default_name: ClassVar[str] = "calibration_error"
    direction: ClassVar[Direction] = "lower"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins < 1:
            raise ConfigError(f"metric {self.name}: bins {self.bins} is below 1")

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        probability, outcome = cells["prediction"].to_numpy(), cells["target"].to_numpy()
        member = np.eye(self.bins)[assign_bins(probability, self.bins)]
        gaps = np.abs(counts @ (member * (probability - outcome)[:, None]))
        return divide(gaps.sum(axis=1), counts.sum(axis=1))


@dataclass(kw_only=True)
class Brier(Probabilistic):
    """Mean squared difference of probability and outcome (``sklearn.metrics.brier_score_loss``).

    Lower is better.
    """

    default_name: ClassVar[str] = "brier"
    best: ClassVar[float | None] = 0.0
    direction: ClassVar[Direction] = "lower"

    @property
    def row_kind(self) -> RowKind | None:
        return "value"

    def score_rows(self, frame: pl.DataFrame) -> pl.Series:
        """The squared difference of each row, null if the probability or the gold value is missing."""
        pairs = self.read_pairs(frame)
        return (pairs["prediction"] - pairs["target"]) ** 2

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        squares = ((cells["prediction"] - cells["target"]) ** 2).to_numpy()
        return divide(counts @ squares, counts.sum(axis=1))


@dataclass(kw_only=True)
class RocAuc(Probabilistic):
    """Area under the ROC curve (``sklearn.metrics.roc_auc_score``).

    The chance that a positive row has a higher probability than a negative one; equal ones count half.
    Undefined (None) if all targets are positive, or none is.
    """

    default_name: ClassVar[str] = "roc_auc"

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        from sklearn.metrics import roc_auc_score

        if cells["target"].n_unique() < 2:
            return None
        probability, outcome = cells["prediction"].to_numpy(), cells["target"].to_numpy()
        return float(roc_auc_score(outcome, probability, sample_weight=counts))

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        positives = counts * cells["target"].to_numpy()
        n, total = positives.sum(axis=1), counts.sum(axis=1)
        above = (positives * rank_weighted(cells["prediction"].to_numpy(), counts)).sum(axis=1) - n * (
            n + 1
        ) / 2
        return divide(above, n * (total - n))


def assign_bins(probability: Floats, bins: int) -> NDArray[np.int64]:
    """The index of each probability's bin, from 0; an edge belongs to the bin below it."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probability)


def reliability(
    frame: pl.DataFrame,
    probability: str = "probability",
    target: str = "target",
    positive: Any = 1,
    bins: int = 10,
) -> pl.DataFrame:
    """The points of a reliability diagram: one row per bin that holds rows.

    Columns: ``low`` and ``high`` (its edges), ``probability`` (mean), ``frequency`` (share of positive
    targets), ``n``. Rows without a probability are left out. As ``sklearn.calibration.calibration_curve``.
    """
    metric = CalibrationError(prediction=probability, target=target, positive=positive, bins=bins)
    pairs = metric.pairs(frame).drop_nulls("prediction")
    held = pl.Series("bin", assign_bins(pairs["prediction"].to_numpy(), bins), dtype=pl.Int64)
    counted = (
        pairs.with_columns(held)
        .group_by("bin")
        .agg(probability=pl.col("prediction").mean(), frequency=pl.col("target").mean(), n=pl.len())
    )
    return counted.sort("bin").select(
        (pl.col("bin") / bins).alias("low"), ((pl.col("bin") + 1) / bins).alias("high"), pl.exclude("bin")
    )
