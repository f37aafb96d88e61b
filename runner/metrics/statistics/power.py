"""Which difference of two models n rows with k repeats can show, before or after they are asked.

The variance of a difference is that of Miller 2024, "Adding Error Bars to Evals" (arXiv 2411.00640), sections
on paired differences and on power analysis: with ω² the variance between rows of the difference of both
models' expected scores, and σ² the variances between the repeats of a row, the squared standard error is
(ω² + σ²/k + σ'²/k) / n. The difference is that of Bloom 1995, "Minimum Detectable Effects", with Student's t
for the number of units; for rows that are right or wrong and are asked once it is that of McNemar's exact
test, which is the test of the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from runner.metrics.base import Metric
from runner.metrics.bootstrap import Floats
from runner.metrics.pairwise import Pairwise
from runner.metrics.repeated.spread import Values, measure_variance, split_variance
from runner.metrics.rows import RowMetric
from runner.metrics.statistics.significance import POWER

LEVEL = 0.05
SHARE, DISCORDANT = 0.5, 0.2
"""The variance of the difference of two shares of right rows, if nothing is known: at most that of unrelated
models that are right on half of the rows (1/4 + 1/4); and that of models of which only one is right on one of
five rows, as in :func:`runner.metrics.statistics.significance.detectable_rate`."""

FEWEST_UNITS = 10
"""With fewer units (rows or groups) a permutation test has too few arrangements for the formula to hold."""

MOST_EXACT = 1000
"""With more rows on which only one model is right, the exact test is taken to be the approximate one."""


@dataclass(frozen=True)
class Variance:
    """The variance of what a row (or pair) adds to a mean or a difference: between rows and repeats.

    ``units`` is how many units vary on their own for each row: 1, or groups / rows.
    """

    rows: float
    repeats: float = 0.0
    units: float = 1.0

    def of(self, repeats: int) -> float:
        """That of a row's mean over so many repeats; divided by n it is a squared standard error."""
        return self.rows + self.repeats / repeats

    def double(self) -> Variance:
        """That of the difference from another model that varies as much and is right on other rows."""
        return Variance(2 * self.rows, 2 * self.repeats, self.units)


def measure_single(values: Values) -> Variance:
    """The variance of a score itself."""
    found = split_variance(values.each, values.groups)
    return Variance(found["rows"], found.get("repeats", 0.0), _count_units(values))


def measure_difference(one: Values, other: Values) -> Variance:
    """The variance of the difference of two runs on the same units, which are in the same order.

    Of a run with one repeat it is not known which part lies between repeats, so that is in ``rows``.
    """
    repeats = [_measure_repeats(side.each) for side in (one, other)]
    known = sum(within / side.each.shape[1] for within, side in zip(repeats, (one, other), strict=True))
    whole = measure_variance(one.each.mean(axis=1) - other.each.mean(axis=1), one.groups)
    return Variance(max(0.0, whole - known), sum(repeats), _count_units(one))


def _count_units(values: Values) -> float:
    return 1.0 if values.groups is None else len(np.unique(values.groups)) / len(values.each)


def _measure_repeats(each: Floats) -> float:
    return float(each.var(axis=1, ddof=1).mean()) if each.shape[1] > 1 else 0.0


def find_detectable(
    variance: Variance, n: int, repeats: int, comparisons: int = 1, are_right: bool = False
) -> float | None:
    """The difference that is found in four of five times at level 5 %, divided by the comparisons; or None.

    Holm's correction of several comparisons is at least as powerful as this division (Bonferroni's). With
    ``are_right`` rows are right or wrong, and with one repeat the difference is that of McNemar's exact test,
    where the variance is the share of rows on which only one model is right. None: none can be found, or the
    variance is 0, or there are fewer than :data:`FEWEST_UNITS` units.
    """
    from scipy.special import stdtrit

    level, whole, units = LEVEL / comparisons, variance.of(repeats), round(n * variance.units)
    if are_right and repeats == 1 and 0 < whole * n <= MOST_EXACT:
        return _find_mcnemar_difference(whole, n, level)
    if whole <= 0 or units < FEWEST_UNITS:
        return None
    found = float(stdtrit(units - 1, [1 - level / 2, POWER]).sum() * np.sqrt(whole / n))
    return None if are_right and found > 1 else found


def _find_mcnemar_difference(discordant: float, n: int, level: float) -> float | None:
    """Where :func:`find_mcnemar_power` is 80 %.

    Models that differ by d agree on fewer rows: unrelated ones that are right on 1/2 + d/2 and 1/2 - d/2 of
    the rows differ on 1/2 + d²/2. And they differ on d of the rows at least.
    """
    low, high = 0.0, 1.0
    if find_mcnemar_power(1.0, 1.0, n, level) < POWER:
        return None
    for _ in range(20):
        middle = (low + high) / 2
        either = min(1.0, max(discordant + middle**2 / 2, middle))
        is_found = find_mcnemar_power(either, middle, n, level) >= POWER
        low, high = (low, middle) if is_found else (middle, high)
    return high


def find_mcnemar_power(discordant: float, difference: float, n: int, level: float = LEVEL) -> float:
    """How often McNemar's exact test finds a difference, if only one model is right on a share of the rows.

    The number of such rows is binomial, and so is that of those on which the better model is right (Connett,
    Smith and McHugh 1987, "Sample size and power for pair-matched case-control studies").
    """
    from scipy.special import bdtr

    around = 6 * np.sqrt(n * discordant * (1 - discordant))
    counts = np.arange(max(1, int(n * discordant - around)), min(n, int(n * discordant + around) + 1) + 1)
    chance = bdtr(counts, n, discordant) - bdtr(counts - 1, n, discordant)
    fewest = _find_critical(counts, level)
    better = min(1.0, (discordant + difference) / (2 * discordant))
    found = bdtr(fewest, counts, better) + bdtr(fewest, counts, 1 - better)
    return float((chance * found)[fewest >= 0].sum())


def _find_critical(counts: Any, level: float) -> Any:
    """Of so many rows the greatest number that is significantly few; -1 if none is."""
    from scipy.special import bdtr, ndtri

    about = counts / 2 + ndtri(level / 2) * np.sqrt(counts) / 2
    fewest, high = np.floor(about - 3).clip(-1), np.ceil(about + 1).clip(-1)
    while (fewest < high).any():
        middle = np.ceil((fewest + high) / 2)
        is_few = 2 * bdtr(middle, counts, 0.5) < level
        fewest, high = np.where(is_few, middle, fewest), np.where(is_few, high, middle - 1)
    return fewest


def find_half_width(variance: Variance, n: int, repeats: int) -> float:
    """Half the width of the normal 95% interval of a score."""
    from scipy.special import ndtri

    return float(ndtri(1 - LEVEL / 2) * np.sqrt(variance.of(repeats) / n)) if n else float("nan")


def is_share(metric: Metric) -> bool:
    """Whether the first number of a metric is a share of rows that are right, or of right orders of pairs."""
    if metric.per:
        return False
    return isinstance(metric, Pairwise) or (isinstance(metric, RowMetric) and metric.proportion)


def bound_difference(pairs: pl.DataFrame, variance: float = SHARE) -> Variance:
    """The variance of a difference of shares, if nothing was measured; repeats are taken to add nothing.

    ``pairs`` are those of the metric. Rows of one ``group`` may all be alike, which multiplies the variance
    by the sum of their squared sizes over n.
    """
    if "group" not in pairs.columns or pairs.is_empty():
        return Variance(variance)
    sizes = pairs.group_by("group").len()["len"].to_numpy().astype(float)
    return Variance(variance * float((sizes**2).sum()) / pairs.height, units=len(sizes) / pairs.height)
