"""Metrics over labels. scikit-learn computes the values; the intervals use the same formulas, vectorised.

An unparsed prediction belongs to no class. A positive target is then missed, a negative target is neither a
true negative nor a false positive, and no class counts the row as predicted.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, suggest
from runner.core.types import Direction
from runner.metrics.base import LabelOption, Metric
from runner.metrics.bootstrap import SHARE, Ends, Floats, nan_to_none
from runner.metrics.confusion import ClassCounts, collect_labels, count_classes, divide, encode_labels
from runner.metrics.rows import RowMetric


@dataclass(kw_only=True)
class Accuracy(RowMetric):
    """Share of rows whose prediction equals the target (``sklearn.metrics.accuracy_score``).

    A target may be a list of acceptable answers, of which the prediction must be one.
    """

    default_name: ClassVar[str] = "accuracy"
    proportion: ClassVar[bool] = True

    def align_types(self, prediction: pl.Series, target: pl.Series) -> tuple[pl.Series, pl.Series]:
        if not isinstance(target.dtype, pl.List):
            return super().align_types(prediction, target)
        prediction, golds = super().align_types(prediction, target.explode())
        return prediction, target.cast(pl.List(golds.dtype))

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        if isinstance(pairs["target"].dtype, pl.List):
            return pairs.select(pl.col("target").list.contains(pl.col("prediction"))).to_series()
        return pairs["prediction"] == pairs["target"]


class Share(Accuracy):
    """Share of rows whose ``column`` is ``value``, such as verdicts that are "correct".

    ``direction`` says whether a ``higher`` or a ``lower`` share is better; by default ``none`` is.
    """

    default_name: ClassVar[str] = "share"

    def __init__(self, column: str, value: Any, direction: Direction = "none", **options: Any) -> None:
        super().__init__(prediction=column, expected=value, **options)
        self.__dict__["direction"] = direction

    def named_labels(self) -> list[LabelOption]:
        return [("value", self.expected, (self.prediction,), None)]


@dataclass(kw_only=True)
class LabelMetric(Metric):
    """A metric that is computed from how often each label was predicted for each target."""

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        parsed = pairs["prediction"].is_not_null()
        return pairs.select("target", "prediction").with_columns(parsed.alias("parsed"))


@dataclass(kw_only=True)
class BalancedAccuracy(LabelMetric):
    """Mean of the recalls of the classes among the targets (``sklearn.metrics.balanced_accuracy_score``)."""

    default_name: ClassVar[str] = "balanced_accuracy"
    ends: ClassVar[Ends] = SHARE

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        from sklearn.metrics import recall_score

        labels = collect_labels(cells)
        gold, predicted = encode_labels(labels, cells["target"]), encode_labels(labels, cells["prediction"])
        return float(
            recall_score(gold, predicted, labels=np.unique(gold), average="macro", sample_weight=counts)
        )

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        classes = count_classes(cells, counts, collect_labels(cells))
        present = classes.gold > 0
        recall = divide(classes.hits, classes.gold)
        return divide(np.where(present, recall, 0).sum(axis=1), present.sum(axis=1))


@dataclass(kw_only=True)
class _Averaged(LabelMetric):
    """Precision, recall or F1, of one class or averaged over classes.

    average   ``binary``: of the class ``positive`` alone; ``macro``: plain mean over the classes;
              ``weighted``: mean weighted by how many targets each class has
    positive  the label that counts as positive, in ``binary``

    In the averages a class that was never predicted (precision) or was never a target (recall) counts as 0,
    as in scikit-learn. In ``binary`` such a value is None.
    """

    average: Literal["binary", "macro", "weighted"] = "binary"
    positive: Any = None
    ends: ClassVar[Ends] = SHARE
    position: ClassVar[int]
    """Place in the result of ``sklearn.metrics.precision_recall_fscore_support``."""

    def __post_init__(self) -> None:
        if self.average != "binary":
            self.name = self.name or f"{self.default_name}_{self.average}"
        super().__post_init__()
        averages = ("binary", "macro", "weighted")
        if self.average not in averages:
            raise ConfigError(
                f"metric {self.name}: average {self.average!r}{suggest(self.average, averages)}"
            )
        if self.average == "binary" and self.positive is None:
            raise ConfigError(
                f"metric {self.name}: average is binary, so positive must name the positive label "
                "(set it or dataset.params.positive, or choose average macro or weighted)"
            )

    def named_labels(self) -> list[LabelOption]:
        if self.average != "binary":
            return super().named_labels()
        return [("positive", self.positive, (self.prediction, self.target), self.target)]

    def explain(self, cells: pl.DataFrame) -> str:
        """Say whether the positive label has no targets, no predictions, or neither."""
        absent = [name for name in ("target", "prediction") if self.positive not in cells[name].to_list()]
        return f"no {' and no '.join(absent)} is {self.positive!r}" if absent else super().explain(cells)

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        from sklearn.metrics import precision_recall_fscore_support

        labels = collect_labels(cells)
        wanted, average, empty = list(range(len(labels))), self.average, 0.0
        if self.average == "binary":
            if self.positive not in labels:
                return None
            wanted, average, empty = [labels.index(self.positive)], "macro", np.nan
        result = precision_recall_fscore_support(
            encode_labels(labels, cells["target"]),
            encode_labels(labels, cells["prediction"]),
            labels=wanted,
            average=average,
            sample_weight=counts,
            zero_division=empty,
        )
        return nan_to_none(float(result[self.position]))

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        labels = [self.positive] if self.average == "binary" else collect_labels(cells)
        classes = count_classes(cells, counts, labels)
        each = self.score_classes(classes)
        if self.average == "binary":
            return each[:, 0]
        present = (classes.gold + classes.predicted) > 0
        weight = present.astype(float) if self.average == "macro" else classes.gold
        return divide((np.nan_to_num(each) * weight).sum(axis=1), weight.sum(axis=1))

    @abstractmethod
    def score_classes(self, classes: ClassCounts) -> Floats:
        """The value per class, NaN where undefined."""


class Precision(_Averaged):
    """Share of the rows predicted positive that are positive (``sklearn.metrics.precision_score``)."""

    default_name: ClassVar[str] = "precision"
    position: ClassVar[int] = 0

    def score_classes(self, classes: ClassCounts) -> Floats:
        return divide(classes.hits, classes.predicted)


class Recall(_Averaged):
    """Share of the positive rows that are predicted positive (``sklearn.metrics.recall_score``)."""

    default_name: ClassVar[str] = "recall"
    position: ClassVar[int] = 1

    def score_classes(self, classes: ClassCounts) -> Floats:
        return divide(classes.hits, classes.gold)


class F1(_Averaged):
    """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN) (``sklearn.metrics.f1_score``)."""

    default_name: ClassVar[str] = "f1"
    position: ClassVar[int] = 2

    def score_classes(self, classes: ClassCounts) -> Floats:
        return divide(2 * classes.hits, classes.gold + classes.predicted)
