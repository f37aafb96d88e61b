"""Correlations of predicted and gold scores. SciPy computes the values."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.metrics.base import Metric
from runner.metrics.bootstrap import Ends, Floats, nan_to_none
from runner.metrics.confusion import divide
from runner.metrics.rating import check_numeric, check_scale, find_farthest


@dataclass(kw_only=True)
class Correlation(Metric):
    """A correlation coefficient of two columns of numbers.

    Strict: an unparsed prediction counts as the end of the scale (``minimum``, ``maximum``) that is farther
    from its target. Without a scale there is no strict value if any row is unparsed. Undefined (None) if one
    side is constant. It is taken over all rows; with ``per`` it is the mean over documents.
    """

    minimum: float | None = None
    maximum: float | None = None
    ends: ClassVar[Ends] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scale(self.name, self.minimum, self.maximum)

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        check_numeric(self.name, pairs)
        worst = find_farthest(pairs["target"], self.minimum, self.maximum)
        return pairs.select(
            pl.col("target").cast(pl.Float64),
            prediction=pairs["prediction"].cast(pl.Float64).fill_null(worst),
            parsed=pairs["prediction"].is_not_null(),
        )

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        times = counts.astype(np.int64)
        x, y = (np.repeat(cells[name].to_numpy(), times) for name in ("prediction", "target"))
        if len(x) < 2 or np.isnan(x).any() or np.ptp(x) == 0 or np.ptp(y) == 0:
            return None
        return nan_to_none(self.correlate(x, y))

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        x, y = (cells[name].to_numpy() for name in ("prediction", "target"))
        if np.isnan(x).any():
            return np.full(len(counts), np.nan)
        return self.correlate_weighted(x, y, counts)

    @abstractmethod
    def correlate(self, x: Floats, y: Floats) -> float:
        """The coefficient of two arrays, neither of them constant."""

    @abstractmethod
    def correlate_weighted(self, x: Floats, y: Floats, counts: Floats) -> Floats:
        """The coefficient for counts of the points (x, y): (resamples, points) to (resamples,)."""


class Pearson(Correlation):
    """Pearson's r, linear correlation (``scipy.stats.pearsonr``)."""

    default_name: ClassVar[str] = "pearson"

    def correlate(self, x: Floats, y: Floats) -> float:
        from scipy.stats import pearsonr

        return float(pearsonr(x, y).statistic)

    def correlate_weighted(self, x: Floats, y: Floats, counts: Floats) -> Floats:
        x, y = x - x.mean(), y - y.mean()  # keeps the sums of squares small
        n, sx, sy, xx, yy, xy = (counts @ np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)).T
        with np.errstate(invalid="ignore"):
            return divide(xy - sx * sy / n, np.sqrt((xx - sx**2 / n) * (yy - sy**2 / n)))


class Spearman(Correlation):
    """Spearman's rho, Pearson's r of the ranks, ties sharing theirs (``scipy.stats.spearmanr``)."""

    default_name: ClassVar[str] = "spearman"

    def correlate(self, x: Floats, y: Floats) -> float:
        from scipy.stats import spearmanr

        return float(spearmanr(x, y).statistic)

    def correlate_weighted(self, x: Floats, y: Floats, counts: Floats) -> Floats:
        n = counts.sum(axis=1, keepdims=True)
        u, v = (rank_weighted(side, counts) - (n + 1) / 2 for side in (x, y))  # less their mean
        uu, vv, uv = ((counts * product).sum(axis=1) for product in (u * u, v * v, u * v))
        return divide(uv, np.sqrt(uu * vv))


class KendallTau(Correlation):
    """Kendall's tau-b: concordant less discordant pairs, corrected for ties (``scipy.stats.kendalltau``).

    With more than 2,000 different points the interval uses fewer resamples: as many as ten million points
    allow, and at least 100.
    """

    default_name: ClassVar[str] = "kendall"

    def correlate(self, x: Floats, y: Floats) -> float:
        from scipy.stats import kendalltau

        return float(kendalltau(x, y).statistic)

    def correlate_weighted(self, x: Floats, y: Floats, counts: Floats) -> Floats:
        if len(x) > 2000:
            return self._correlate_each(x, y, counts)
        n = counts.sum(axis=1)
        both = _compare_pairs(x) * _compare_pairs(y)
        pairs = n * n
        difference = ((counts @ both) * counts).sum(axis=1)
        untied = [pairs - (_count_by_value(side, counts) ** 2).sum(axis=1) for side in (x, y)]
        return divide(difference, np.sqrt(untied[0] * untied[1]))

    def _correlate_each(self, x: Floats, y: Floats, counts: Floats) -> Floats:
        share = max(100, 10_000_000 // int(counts[0].sum())) / self.resamples
        some = max(1, min(len(counts), round(share * len(counts))))
        result = np.full(some, np.nan)
        for row in range(some):
            times = counts[row].astype(np.int64)
            result[row] = self.correlate(np.repeat(x, times), np.repeat(y, times))
        return result


def _compare_pairs(x: Floats) -> Floats:
    return np.sign(x[:, None] - x[None, :])


def _count_by_value(x: Floats, counts: Floats) -> Floats:
    """Counts of points with equal x: (resamples, points) to (resamples, different x)."""
    order, starts = _find_ties(x)
    return np.add.reduceat(counts[:, order], starts, axis=1)


def _find_ties(x: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices that sort x, and where each different value starts among them."""
    order = np.argsort(x, kind="stable")
    new = np.concatenate([[True], np.diff(x[order]) > 0])
    return order, np.flatnonzero(new)


def rank_weighted(x: Floats, counts: Floats) -> Floats:
    """Average ranks of points that occur ``counts`` times: (resamples, points)."""
    order, starts = _find_ties(x)
    in_tie = np.add.reduceat(counts[:, order], starts, axis=1)
    rank = np.cumsum(in_tie, axis=1) - (in_tie - 1) / 2
    lengths = np.diff(np.append(starts, len(x)))
    result = np.empty_like(counts)
    result[:, order] = np.repeat(rank, lengths, axis=1)
    return result
