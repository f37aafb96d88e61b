"""The confusion matrix, for figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

UNPARSED = "(unparsed)"


@dataclass(frozen=True)
class Confusion:
    """How often each label was predicted for each target.

    ``counts[i, j]`` are the rows with target ``labels[i]`` predicted as ``columns[j]``. The columns are the
    labels and, where an answer was not parsed or is no label, ``(unparsed)``.
    """

    labels: list[str]
    columns: list[str]
    counts: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each count as a share of the rows with its target; 0 where there is none."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))


def confusion(
    frame: pl.DataFrame,
    labels: Sequence[str] = (),
    prediction: str = "prediction",
    target: str = "target",
) -> Confusion:
    """The confusion matrix of two columns over ``labels``, or over all of both columns in their order.

    Rows whose target is no label are left out.
    """
    names = list(labels) or _names(frame[target], frame[prediction])
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names) + 1), dtype=np.int64)
    for true, predicted, rows in frame.drop_nulls(target).group_by(target, prediction).len().rows():
        if (row := place.get(_name(true))) is not None:
            column = None if predicted is None else place.get(_name(predicted))
            counts[row, len(names) if column is None else column] += rows
    unparsed = bool(counts[:, -1].any())
    return Confusion(names, names + [UNPARSED] * unparsed, counts if unparsed else counts[:, :-1])


def _names(*columns: pl.Series) -> list[str]:
    values = set().union(*(column.drop_nulls().unique() for column in columns))
    return [_name(value) for value in sorted(values)]


def _name(value: Any) -> str:
    """How a value is written as a label: 3.0 is ``3``."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
