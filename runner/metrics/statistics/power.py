"""Which difference of two models n rows with k repeats can show, before or after they are asked.

The variance of a difference is that of Miller 2024, "Adding Error Bars to Evals" (arXiv 2411.00640), sections
on paired differences and on power analysis: with ω² the variance between rows of the difference of both
models' expected scores, and σ² the variances between the repeats of a row, the squared standard error is
(ω² + σ²/k + σ'²/k) / n. The difference is that of
:func:`runner.metrics.statistics.significance.detectable_difference`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from runner.metrics.base import Metric
from runner.metrics.bootstrap import Floats
from runner.metrics.pairwise import Pairwise
from runner.metrics.repeated.spread import Values, measure_variance, split_variance
from runner.metrics.rows import RowMetric
from runner.metrics.statistics.significance import detectable_difference

LEVEL = 0.05
SHARE, DISCORDANT = 0.5, 0.2
"""The variance of the difference of two shares of right rows, if nothing is known: at most that of unrelated
models that are right on half of the rows (1/4 + 1/4); and that of models of which only one is right on one of
five rows, as in :func:`runner.metrics.statistics.significance.detectable_rate`."""


@dataclass(frozen=True)
class Variance:
    """The variance of what a row (or pair) adds to a mean or a difference: between rows and repeats."""

    rows: float
    repeats: float = 0.0

    def of(self, repeats: int) -> float:
        """That of a row's mean over so many repeats; divided by n it is a squared standard error."""
        return self.rows + self.repeats / repeats

    def double(self) -> Variance:
        """That of the difference from another model that varies as much and is right on other rows."""
        return Variance(2 * self.rows, 2 * self.repeats)


def measure_single(values: Values) -> Variance:
    """The variance of a score itself."""
    found = split_variance(values.each, values.groups)
    return Variance(found["rows"], found.get("repeats", 0.0))


def measure_difference(one: Values, other: Values) -> Variance:
    """The variance of the difference of two runs on the same units, which are in the same order.

    Of a run with one repeat it is not known which part lies between repeats, so that is in ``rows``.
    """
    repeats = [_measure_repeats(side.each) for side in (one, other)]
    known = sum(within / side.each.shape[1] for within, side in zip(repeats, (one, other), strict=True))
    whole = measure_variance(one.each.mean(axis=1) - other.each.mean(axis=1), one.groups)
    return Variance(max(0.0, whole - known), sum(repeats))


def _measure_repeats(each: Floats) -> float:
    return float(each.var(axis=1, ddof=1).mean()) if each.shape[1] > 1 else 0.0


def find_detectable(
    variance: Variance, n: int, repeats: int, comparisons: int = 1, are_shares: bool = False
) -> float | None:
    """The difference that is found in four of five times at level 5 %, divided by the comparisons; or None.

    Holm's correction of several comparisons is at least as powerful as this division (Bonferroni's). With
    ``are_shares`` and one repeat, rows are right or wrong: two models cannot differ on fewer rows than the
    difference says, which makes the variance at least the difference. None: no difference can be found.
    """
    level = LEVEL / comparisons
    found = detectable_difference(float(np.sqrt(variance.of(repeats) / n)), level) if n else None
    if found is None or not are_shares:
        return found
    if repeats == 1 and found > variance.of(1):
        found = (detectable_difference(1.0, level) or 0.0) ** 2 / n
    return found if found <= 1 else None


def find_half_width(variance: Variance, n: int, repeats: int, confidence: float = 0.95) -> float:
    """Half the width of the normal interval of a score."""
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2) * np.sqrt(variance.of(repeats) / n)) if n else float("nan")


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
    return Variance(variance * float((sizes**2).sum()) / pairs.height)
