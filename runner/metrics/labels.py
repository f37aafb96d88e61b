"""Labels as numbers, and how often each was given and meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.metrics.bootstrap import Floats


@dataclass(frozen=True)
class ClassCounts:
    """Per class (last axis): rows of it predicted right, rows of it, rows predicted to be it."""

    hits: Floats
    gold: Floats
    predicted: Floats


def labels_of(cells: pl.DataFrame) -> list[Any]:
    """All labels of targets and predictions, sorted."""
    both = pl.concat([cells["target"], cells["prediction"].rename("target")])
    return both.drop_nulls().unique().sort().to_list()


def codes(labels: list[Any], column: pl.Series) -> NDArray[np.int64]:
    """Labels as their index, -1 for null."""
    index = {label: code for code, label in enumerate(labels)}
    return np.array([-1 if v is None else index[v] for v in column.to_list()], dtype=np.int64)


def class_counts(cells: pl.DataFrame, counts: Floats, labels: list[Any]) -> ClassCounts:
    """Sums per class of cell counts: (resamples, cells) to (resamples, labels) each."""
    gold, predicted = cells["target"].to_list(), cells["prediction"].to_list()
    return ClassCounts(
        hits=_summed(counts, [g if g == p else None for g, p in zip(gold, predicted, strict=True)], labels),
        gold=_summed(counts, gold, labels),
        predicted=_summed(counts, predicted, labels),
    )


def _summed(counts: Floats, of_cell: list[Any], labels: list[Any]) -> Floats:
    from scipy.sparse import csr_array

    index = {label: code for code, label in enumerate(labels)}
    where = [(cell, index[label]) for cell, label in enumerate(of_cell) if label in index]
    rows, columns = zip(*where, strict=True) if where else ((), ())
    chosen = csr_array((np.ones(len(where)), (rows, columns)), shape=(len(of_cell), len(labels)))
    return np.asarray(counts @ chosen)


def ratio(numerator: Floats, denominator: NDArray[Any]) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator == 0, np.nan, numerator / denominator)
