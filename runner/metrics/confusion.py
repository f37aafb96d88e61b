"""How often each label was predicted for each target: counts per class, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.core.types import write_value
from runner.metrics.base import align_types, get_column, require_values
from runner.metrics.bootstrap import Floats


@dataclass(frozen=True)
class ClassCounts:
    """Per class (last axis): true positives, rows with this target, rows with this prediction."""

    hits: Floats
    gold: Floats
    predicted: Floats


def collect_labels(cells: pl.DataFrame) -> list[Any]:
    """All labels of targets and predictions, sorted."""
    both = pl.concat([cells["target"], cells["prediction"].rename("target")])
    return both.drop_nulls().unique().sort().to_list()


def encode_labels(labels: list[Any], column: pl.Series) -> NDArray[np.int64]:
    """The index of each label in ``labels``, -1 for null."""
    index = {label: code for code, label in enumerate(labels)}
    return np.array([-1 if v is None else index[v] for v in column.to_list()], dtype=np.int64)


def count_classes(cells: pl.DataFrame, counts: Floats, labels: list[Any]) -> ClassCounts:
    """Sum the counts of cells per class: (resamples, cells) to three times (resamples, labels)."""
    gold, predicted = cells["target"].to_list(), cells["prediction"].to_list()
    return ClassCounts(
        hits=_sum_by_label(
            counts, [g if g == p else None for g, p in zip(gold, predicted, strict=True)], labels
        ),
        gold=_sum_by_label(counts, gold, labels),
        predicted=_sum_by_label(counts, predicted, labels),
    )


def _sum_by_label(counts: Floats, of_cell: list[Any], labels: list[Any]) -> Floats:
    from scipy.sparse import csr_array

    index = {label: code for code, label in enumerate(labels)}
    where = [(cell, index[label]) for cell, label in enumerate(of_cell) if label in index]
    rows, columns = zip(*where, strict=True) if where else ((), ())
    chosen = csr_array((np.ones(len(where)), (rows, columns)), shape=(len(of_cell), len(labels)))
    return np.asarray(counts @ chosen)


def divide(numerator: Floats, denominator: NDArray[Any]) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator == 0, np.nan, numerator / denominator)


UNPARSED = "(unparsed)"


@dataclass(frozen=True)
class Confusion:
    """How often each label was predicted for each target.

    ``counts[i, j]`` is the number of rows with target ``labels[i]`` and prediction ``columns[j]``. The
    columns are the labels and, if an answer was not parsed or is no label, ``(unparsed)``.
    """

    labels: list[str]
    columns: list[str]
    counts: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each count as a share of the rows with its target; 0 if there are none."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))


def confusion(
    frame: pl.DataFrame,
    prediction: str = "prediction",
    target: str = "target",
    labels: Sequence[str] = (),
) -> Confusion:
    """The confusion matrix of two columns over ``labels``, or over all labels that they hold, sorted.

    With ``labels``, rows with another target are left out. Without, every row needs a target.
    """
    said, gold = (get_column(frame, name, "confusion") for name in (prediction, target))
    if not labels:
        require_values(frame, gold, "confusion")
        said, gold = align_types(said, gold, "confusion")
    pairs = pl.DataFrame({"target": gold, "prediction": said}).drop_nulls("target")
    names = list(labels) or [_format_label(label) for label in collect_labels(pairs)]
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names) + 1), dtype=np.int64)
    for true, predicted, rows in pairs.group_by("target", "prediction").len().rows():
        if (row := place.get(_format_label(true))) is not None:
            found = None if predicted is None else place.get(_format_label(predicted))
            counts[row, len(names) if found is None else found] += rows
    unparsed = bool(counts[:, -1].any())
    return Confusion(names, names + [UNPARSED] * unparsed, counts if unparsed else counts[:, :-1])


def _format_label(value: Any) -> str:
    """A value as a label; 3.0 becomes ``3``."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else write_value(value)
