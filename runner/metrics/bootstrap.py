"""Bootstrap intervals, fast because rows are counted before they are resampled.

Rows that are equal to a metric (the same gold label and the same prediction) form one *cell*. To draw n rows
with replacement is to draw the counts of the cells from a multinomial distribution. So a resample of 100,000
rows costs no more than the metric has cells. With groups, whole groups are drawn and their counts added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.core.types import Score

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Cell counts of shape (resamples, cells) to values of shape (resamples,), NaN where undefined."""

Bounds = tuple[float, float] | tuple[None, None]
"""Low and high end, or none."""
Ends = tuple[float | None, float | None]
"""The least and the most that a number can be; None where there is no end, or it is not known."""
SHARE: Ends = (0.0, 1.0)

_BLOCK = 4_000_000
"""How many numbers are in memory at a time: 32 MB."""
_DELETIONS = 200
"""How many different parts a jackknife leaves out at most. The acceleration then errs by 0.003, which moves a
bound by less than one percent of the interval's width."""
_EQUAL = 1e-12


@dataclass(frozen=True)
class Measure:
    """One number over counted cells.

    value        takes cells and their counts of shape (cells,); None where undefined
    values       takes cells and counts of shape (resamples, cells), gives (resamples,); NaN where undefined
    proportion   whether it is a share of rows; 0 and 1 then have exact bounds
    ends         the least and the most that it can be; of a share they are 0 and 1
    """

    value: Callable[[pl.DataFrame, Floats], float | None]
    values: Callable[[pl.DataFrame, Floats], Floats]
    proportion: bool = False
    ends: Ends = (None, None)


@dataclass(frozen=True)
class Tally:
    """Counted rows. ``counts`` has one number per cell.

    ``groups`` is a sparse matrix of shape (groups, cells), or None without groups.
    """

    cells: pl.DataFrame
    counts: Floats
    groups: Any = None

    @property
    def units(self) -> int:
        """How many units are drawn at random: groups, or rows without groups."""
        return int(self.counts.sum()) if self.groups is None else int(self.groups.shape[0])


def tally(rows: pl.DataFrame, groups: pl.Series | None = None) -> Tally:
    """Count equal rows. Cells are sorted, so an interval does not depend on the order of the rows."""
    names = rows.columns
    cells = rows.group_by(names).len("_count").sort(names, nulls_last=True)
    counts = cells["_count"].to_numpy().astype(np.float64)
    if groups is None:
        return Tally(cells.drop("_count"), counts)
    return Tally(cells.drop("_count"), counts, _count_by_group(rows, groups, cells))


def _count_by_group(rows: pl.DataFrame, groups: pl.Series, cells: pl.DataFrame) -> Any:
    from scipy.sparse import csr_array

    numbered = cells.drop("_count").with_row_index("_cell")
    cell = rows.join(numbered, on=rows.columns, nulls_equal=True, how="left", maintain_order="left")["_cell"]
    group = groups.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    group -= group.min(initial=1)
    shape = (int(group.max(initial=-1)) + 1, cells.height)
    return csr_array((np.ones(len(group)), (group, cell.to_numpy())), shape=shape)


def draw_resamples(sample: Tally, resamples: int, seed: int) -> Iterator[Floats]:
    """Cell counts of bootstrap resamples, in blocks of shape (some resamples, cells)."""
    random = np.random.default_rng(seed)
    units = sample.units
    size = max(1, _BLOCK // max(units, len(sample.counts), 1))
    for start in range(0, resamples, size):
        some = min(size, resamples - start)
        if sample.groups is None:
            yield _draw_multinomial(random, sample.counts, some)
        else:
            yield _draw_multinomial(random, np.ones(units), some) @ sample.groups


def _draw_multinomial(random: np.random.Generator, counts: Floats, resamples: int) -> Floats:
    """Counts of n draws with replacement for each resample; n is the sum of ``counts``."""
    n, cells = int(counts.sum()), len(counts)
    if cells * 8 < n or n < 200:
        return random.multinomial(n, counts / n, size=resamples).astype(np.float64)
    # with almost as many cells as rows, it is several times faster to draw rows than a binomial per cell
    cell_of_row = None if cells == n else np.repeat(np.arange(cells), counts.astype(np.int64))
    drawn = np.empty((resamples, cells))
    for row in drawn:
        places = random.integers(0, n, size=n)
        row[:] = np.bincount(places if cell_of_row is None else cell_of_row[places], minlength=cells)
    return drawn


def bootstrap_intervals(
    sample: Tally, statistics: Sequence[Statistic], confidence: float, resamples: int, seed: int
) -> list[Bounds]:
    """BCa intervals of several statistics over the same resamples; see :func:`find_bca_interval`."""
    if sample.units < 2 or resamples < 1:
        return [(None, None) for _ in statistics]
    drawn = draw_statistics(sample, statistics, resamples, seed)
    return find_intervals(sample, statistics, drawn, confidence, seed)


def score_mean(
    sample: Tally, values: Floats, confidence: float, resamples: int, seed: int, share: bool = False
) -> Score:
    """The mean over rows of ``values``, one for each cell, with its BCa interval.

    A ``share`` of 0 or 1, of which all resamples are equal, has exact bounds (:func:`clopper_pearson`).
    """
    mean: Statistic = lambda counts: counts @ values / counts.sum(axis=1)  # noqa: E731
    low, high = bootstrap_intervals(sample, [mean], confidence, resamples, seed)[0]
    value, n = float(np.average(values, weights=sample.counts)), int(sample.counts.sum())
    if share and low is None and value in (0.0, 1.0):
        low, high = clopper_pearson(value, n, confidence)
    return Score(value, low, high, n)


def draw_statistics(
    sample: Tally, statistics: Sequence[Statistic], resamples: int, seed: int
) -> list[Floats]:
    """The values of several statistics over the same resamples, of shape (resamples,) each."""
    blocks = [
        [statistic(block) for statistic in statistics] for block in draw_resamples(sample, resamples, seed)
    ]
    return [np.concatenate(values) for values in zip(*blocks, strict=True)]


def find_intervals(
    sample: Tally, statistics: Sequence[Statistic], drawn: Sequence[Floats], confidence: float, seed: int
) -> list[Bounds]:
    """BCa intervals of statistics whose values over resamples are ``drawn``."""
    if not any(_vary(values) for values in drawn):
        return [(None, None) for _ in drawn]
    whole = sample.counts[None, :]
    left, weights = _list_deletions(sample, seed)
    size = max(1, _BLOCK // max(len(sample.counts), 1))
    bounds: list[Bounds] = []
    for statistic, values in zip(statistics, drawn, strict=True):
        if not _vary(values):
            bounds.append((None, None))
            continue
        parts = [statistic(whole - left[at : at + size]) for at in range(0, len(left), size)]
        bend = find_acceleration(np.concatenate(parts), weights)
        bounds.append(find_bca_interval(values, float(statistic(whole)[0]), bend, confidence))
    return bounds


def _vary(values: Floats) -> bool:
    """Whether more than half of the values are defined, and they are not all equal."""
    defined = values[np.isfinite(values)]
    return 2 * len(defined) > len(values) and bool(np.ptp(defined) >= _EQUAL)


def _list_deletions(sample: Tally, seed: int) -> tuple[Floats, Floats]:
    """What a jackknife leaves out: counts of shape (deletions, cells), and how often each deletion occurs.

    Equal units are left out once, with their number as weight. If there are more than :data:`_DELETIONS`
    different ones, units are left out in as many random parts of equal size: the sums over units in the
    formula of the acceleration are then sums over parts, which have the same expected value.
    """
    cells = len(sample.counts)
    if sample.groups is None and cells <= _DELETIONS:
        return np.eye(cells), sample.counts
    units = sample.units
    parts = min(units, _DELETIONS)
    part = np.random.default_rng(seed).permutation(units) % parts
    if sample.groups is None:
        owner = np.repeat(np.arange(cells), sample.counts.astype(np.int64))
        left = np.zeros((parts, cells))
        np.add.at(left, (part, owner), 1)
    else:
        from scipy.sparse import csr_array

        chosen = csr_array((np.ones(units), (part, np.arange(units))), shape=(parts, units))
        left = np.asarray((chosen @ sample.groups).todense())
    return left, np.ones(parts)


def find_acceleration(jackknife: Floats, weights: Floats) -> float:
    """How fast the standard error changes with the value; the source is that of :func:`find_bca_interval`.

    ``jackknife`` has a value for each deletion, NaN where undefined; it may be shorter than ``weights``.
    """
    total = weights.sum()
    known = np.isfinite(jackknife)
    values, weights = jackknife[known], weights[: len(jackknife)][known]
    if not len(values):
        return 0.0
    distance = np.average(values, weights=weights) - values
    spread = np.average(distance**2, weights=weights)
    if spread < _EQUAL**2:
        return 0.0
    return float(np.average(distance**3, weights=weights) / (6 * spread**1.5 * np.sqrt(total)))


def find_bca_interval(drawn: Floats, value: float, acceleration: float, confidence: float) -> Bounds:
    """The bias-corrected and accelerated (BCa) interval of a value.

    Source: Efron 1987, "Better Bootstrap Confidence Intervals"; section 14.3 of Efron and Tibshirani
    1993, "An Introduction to the Bootstrap"; as ``scipy.stats.bootstrap(method="BCa")``. A resample
    in which the statistic is undefined is left out. There is no interval if half of them or more are
    undefined, if all are equal, or if the value lies so far to one side of them that the interval would not
    hold it: resamples say nothing about such a value, like an average over very many rare classes.
    """
    from scipy.special import ndtr, ndtri  # scipy.stats takes a second to import

    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not _vary(drawn):
        return None, None
    close = np.abs(defined - value) < _EQUAL
    bias = ndtri(((defined < value) & ~close).mean() + close.mean() / 2)
    if not np.isfinite(bias):
        return None, None
    tails = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    bent = 1 - acceleration * tails
    if (bent <= 0).any():
        return None, None
    low, high = np.quantile(defined, ndtr(bias + tails / bent))
    inside = low <= value + _EQUAL and value - _EQUAL <= high
    return (float(low), float(high)) if inside else (None, None)


def clopper_pearson(value: float, n: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson bounds of a proportion (SciPy), for 0 and 1, where resamples do not vary."""
    from scipy.stats import binomtest

    bounds = binomtest(round(value * n), n).proportion_ci(confidence, method="exact")
    return float(bounds.low), float(bounds.high)


def nan_to_none(value: float) -> float | None:
    """The value, or None if it is NaN."""
    return None if np.isnan(value) else value


def keep_finite(numbers: pl.Series) -> pl.Series:
    """The column with null in place of NaN and infinity, which are no numbers to compare."""
    return numbers.set(~numbers.is_finite().fill_null(True), None) if numbers.dtype.is_float() else numbers
