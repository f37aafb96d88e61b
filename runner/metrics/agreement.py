"""Agreement of two beyond chance: Cohen's kappa."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.core.errors import ConfigError, DataError, nearest
from runner.metrics.base import Metric, defined
from runner.metrics.bootstrap import Floats
from runner.metrics.labels import codes, labels_of, ratio
from runner.metrics.rating import check_scale, farthest


@dataclass(kw_only=True)
class CohenKappa(Metric):
    """Cohen's kappa (Cohen 1960), plain or weighted (Cohen 1968); ``sklearn.metrics.cohen_kappa_score``.

    ``weights`` null: labels agree or do not. ``linear`` and ``quadratic``: they disagree by their distance,
    or its square; labels must then be whole numbers, and the distance is their difference (so a rating
    that nobody gave does not bring its neighbours closer).

    Strict: an unparsed prediction is a label of its own that agrees with nothing; if weighted, it counts as
    the end of the scale (``minimum``, ``maximum``) farther from the target, and without a scale there is
    no strict value if any row is unparsed. Undefined (None) where both give one and the same label always.
    """

    weights: Literal["linear", "quadratic"] | None = None
    minimum: float | None = None
    maximum: float | None = None
    default_name: ClassVar[str] = "kappa"

    def __post_init__(self) -> None:
        if self.weights not in (None, "linear", "quadratic"):
            hint = nearest(str(self.weights), ("linear", "quadratic"))
            raise ConfigError(f"metric {self.name or 'kappa'}: weights {self.weights!r}{hint}")
        if self.weights:
            self.name = self.name or f"kappa_{self.weights}"
        super().__post_init__()
        check_scale(self.name, self.minimum, self.maximum)

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        parsed = pairs["prediction"].is_not_null()
        if not self.weights:
            return pairs.select("target", "prediction", parsed=parsed)
        if not pairs["target"].dtype.is_numeric() or not _whole(pairs):
            raise DataError(f"metric {self.name}: weights need labels that are whole numbers")
        filled = pairs["prediction"].fill_null(farthest(pairs["target"], self.minimum, self.maximum))
        return pairs.select(pl.col("target").cast(pl.Int64), prediction=filled.cast(pl.Int64), parsed=parsed)

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        from sklearn.metrics import cohen_kappa_score

        one, other, labels = self._codes(cells)
        if one is None or len(np.union1d(one, other)) < 2:
            return None
        if len(labels) > 500:  # scikit-learn would fill a matrix of all labels by all labels
            return super().value(cells, counts)
        kappa = cohen_kappa_score(one, other, labels=labels, weights=self.weights, sample_weight=counts)
        return defined(float(kappa))

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        one, other, labels = self._codes(cells)
        if one is None:
            return np.full(len(counts), np.nan)
        return kappas(one, other, counts, len(labels), self.weights)

    def _codes(self, cells: pl.DataFrame) -> tuple[Any, Any, range]:
        """Targets and predictions as codes; None where there is no strict value."""
        labels = labels_of(cells)
        if self.weights and cells["prediction"].has_nulls():
            return None, None, range(0)
        if self.weights:
            labels = list(range(labels[0], labels[-1] + 1))
        one, other = codes(labels, cells["target"]), codes(labels, cells["prediction"])
        unparsed = other < 0
        other[unparsed] = len(labels)
        return one, other, range(len(labels) + int(unparsed.any()))


def _whole(pairs: pl.DataFrame) -> bool:
    return all((c.drop_nulls() % 1 == 0).all() for c in (pairs["target"], pairs["prediction"]))


def distances(size: int, weights: str | None) -> Floats:
    """How much two labels disagree, by their places."""
    place = np.arange(size, dtype=float)
    apart = np.abs(place[:, None] - place[None, :])
    return {None: (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]


def kappas(one: NDArray[Any], other: NDArray[Any], counts: Floats, size: int, weights: str | None) -> Floats:
    """Kappa for each resample: 1 - observed / expected disagreement.

    ``one`` and ``other`` are label codes below ``size`` per cell, ``counts`` (resamples, cells).
    """
    n = counts.sum(axis=1)
    given, meant = counts @ _members(one, size), counts @ _members(other, size)
    if weights is None:
        observed = counts @ (one != other)
        expected = n * n - (given * meant).sum(axis=1)
    else:
        apart = distances(size, weights)
        observed = counts @ apart[one, other]
        expected = ((given @ apart) * meant).sum(axis=1)
    return 1 - ratio(observed * n, expected)


def _members(codes: NDArray[Any], size: int) -> Any:
    """Sparse matrix from cells to labels."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)), shape=(len(codes), size))
