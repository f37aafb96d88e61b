"""The confusion matrix, for figures and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.metrics.classification import Accuracy
from runner.metrics.labels import codes, labels_of


@dataclass(frozen=True)
class Confusion:
    """How often each label was predicted for each target.

    ``counts[i][j]`` are rows with target ``labels[i]`` predicted as ``labels[j]``; the last column, one more
    than there are labels, holds the unparsed.
    """

    labels: list[Any]
    counts: NDArray[np.int64]


def confusion(frame: pl.DataFrame, prediction: str = "prediction", target: str = "target") -> Confusion:
    """The confusion matrix of two columns; labels are those of both, sorted."""
    pairs = Accuracy(prediction=prediction, target=target, name="confusion").pairs(frame)
    labels = labels_of(pairs)
    cells = pairs.group_by("target", "prediction").len()
    counts = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    counts[codes(labels, cells["target"]), codes(labels, cells["prediction"])] = cells["len"].to_numpy()
    return Confusion(labels, counts)
