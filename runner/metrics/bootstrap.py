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

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Cell counts of shape (resamples, cells) to values of shape (resamples,), NaN where undefined."""

Bounds = tuple[float, float] | tuple[None, None]
"""Low and high end, or none."""

_BLOCK = 4_000_000
"""How many numbers are in memory at a time: 32 MB."""


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
    """Percentile intervals of several statistics over the same resamples.

    A resample in which a statistic is undefined is left out. There is no interval if half of them or more
    are undefined, or if all give the same value: an interval of no width says nothing.
    """
    if sample.units < 2 or resamples < 1:
        return [(None, None) for _ in statistics]
    blocks = [
        [statistic(block) for statistic in statistics] for block in draw_resamples(sample, resamples, seed)
    ]
    return [percentile_interval(np.concatenate(values), confidence) for values in zip(*blocks, strict=True)]


def percentile_interval(values: Floats, confidence: float) -> Bounds:
    """The central part of the defined values; (None, None) if too few are defined or all are equal."""
    defined = values[np.isfinite(values)]
    if 2 * len(defined) <= len(values) or np.ptp(defined) < 1e-12:
        return None, None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def shift_bounds(value: float, bounds: Bounds) -> Bounds:
    """Center the interval on the value if the value lies outside it.

    Repeated rows push some statistics to one side, such as an average over very many rare classes. The width
    of such an interval is right, its place is not.
    """
    low, high = bounds
    if low is None or high is None or low <= value <= high:
        return bounds
    return value - (high - low) / 2, value + (high - low) / 2


def clopper_pearson(value: float, n: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson bounds of a proportion (SciPy), for 0 and 1, where resamples do not vary."""
    from scipy.stats import binomtest

    bounds = binomtest(round(value * n), n).proportion_ci(confidence, method="exact")
    return float(bounds.low), float(bounds.high)
