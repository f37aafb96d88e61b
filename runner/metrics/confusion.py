"""The confusion matrix, for figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.metrics.base import column
from runner.metrics.classification import Accuracy
from runner.metrics.labels import labels_of

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
    prediction: str = "prediction",
    target: str = "target",
    labels: Sequence[str] = (),
) -> Confusion:
    """The confusion matrix of two columns over ``labels``, or over those of both, sorted.

    With ``labels``, rows whose target is none of them are left out; without, every row needs a target.
    """
    if labels:
        both = {"target": target, "prediction": prediction}
        pairs = pl.DataFrame({name: column(frame, of, "confusion") for name, of in both.items()})
        pairs = pairs.drop_nulls("target")
    else:
        pairs = Accuracy(prediction=prediction, target=target, name="confusion").pairs(frame)
    names = list(labels) or [_name(label) for label in labels_of(pairs)]
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names) + 1), dtype=np.int64)
    for true, predicted, rows in pairs.group_by("target", "prediction").len().rows():
        if (row := place.get(_name(true))) is not None:
            found = None if predicted is None else place.get(_name(predicted))
            counts[row, len(names) if found is None else found] += rows
    unparsed = bool(counts[:, -1].any())
    return Confusion(names, names + [UNPARSED] * unparsed, counts if unparsed else counts[:, :-1])


def _name(value: Any) -> str:
    """How a value is written as a label: 3.0 is ``3``."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
