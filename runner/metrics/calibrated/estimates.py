"""Estimates of the mean of people's labels, each with its interval.

An estimate's error is, but for terms that vanish, a sum over rows; the *parts* are what the rows add to it.
So the variance of every estimate here is the sum of squares of the parts, added up within each unit first
(a unit is a row, or a group of rows). ``k / (k - 1)`` and Student's t with ``k - 1`` degrees of freedom,
for k units with labels, take account of how few these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runner.metrics.bootstrap import Floats

FEW = 10
"""With fewer rows than this of one kind, their variance is taken to be larger than it is in the sample."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval, None where it has none, and what to know about it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """Rows of which all have a judge's value and some, drawn at random, have a person's.

    judge     the judge's values, of shape (rows,)
    label     people's values, of shape (rows,); NaN where there is none
    unit      the number of the unit, counted from 0, that each row belongs to
    only_rows whether the estimates are about these rows only; else these rows are a sample, too
    is_share  whether the values are 0 and 1
    """

    judge: Floats
    label: Floats
    unit: NDArray[np.int64]
    only_rows: bool
    is_share: bool
    confidence: float

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a label."""
        return ~np.isnan(self.label)

    @cached_property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.judge)

    @cached_property
    def labelled(self) -> int:
        """How many rows have a label."""
        return int(self.known.sum())

    @cached_property
    def units(self) -> int:
        """How many units have a label."""
        return len(np.unique(self.unit[self.known]))

    @cached_property
    def missing(self) -> float:
        """The share of rows without a label."""
        return 1 - self.labelled / self.rows

    @cached_property
    def quantile(self) -> float:
        """That of Student's t for this confidence."""
        from scipy.special import stdtrit

        return float(stdtrit(self.units - 1, (1 + self.confidence) / 2))

    @cached_property
    def pairs(self) -> tuple[Floats, Floats]:
        """The values of the judge and of people in the rows with a label."""
        return self.judge[self.known], self.label[self.known]

    def spread(self, labelled: Floats) -> Floats:
        """Parts of rows with labels as parts of all rows."""
        parts = np.zeros(self.rows)
        parts[self.known] = labelled
        return parts

    def covary(self, one: Floats, other: Floats) -> float:
        """The covariance of two estimates from their parts, of shape (rows,) each."""
        sums = (np.bincount(self.unit, weights=parts) for parts in (one, other))
        return float(np.dot(*sums)) * self.units / (self.units - 1)

    def surround(self, value: float, variance: float) -> Estimate:
        """The estimate with the interval that its variance gives; that of a share is :meth:`bound_share`."""
        if self.is_share:
            return self.bound_share(min(max(value, 0.0), 1.0), variance)
        half = self.quantile * sqrt(variance)
        return Estimate(value, value - half, value + half)

    def bound_share(self, value: float, variance: float) -> Estimate:
        """Wilson's interval for as many rows as would give this variance.

        Unlike the symmetric one it holds near 0 and 1, too. Source: Wilson 1927, with the effective sample
        size as in Franco, Little, Louis and Slud 2019, "Comparative study of confidence intervals for
        proportions in complex sample surveys" (J. Survey Statistics and Methodology 7). For that size a share
        is at least half a unit from 0 and 1; if there is no variance it is the number of units.
        """
        edge = 0.5 / (self.units + 1)
        inside = min(max(value, edge), 1 - edge)
        size = inside * (1 - inside) / variance if variance else float(self.units)
        square = self.quantile**2 / size
        middle = (value + square / 2) / (1 + square)
        half = sqrt(square * value * (1 - value) + square**2 / 4) / (1 + square)
        return Estimate(value, min(value, middle - half), max(value, middle + half))


def average_labels(sample: Sample) -> Estimate:
    """The mean of people's labels alone, without the judge."""
    _, label = sample.pairs
    value = float(label.mean())
    if sample.only_rows and not sample.missing:
        return Estimate(value, value, value)
    parts = sample.spread((label - value) / sample.labelled)
    return sample.surround(value, sample.covary(parts, parts) * (sample.missing if sample.only_rows else 1))


def average_verdicts(sample: Sample) -> Estimate:
    """The mean of the judge's values alone. Of these rows it is no estimate, so it has no interval then."""
    value = float(sample.judge.mean())
    if sample.only_rows:
        return Estimate(value)
    parts = (sample.judge - value) / sample.rows
    return sample.surround(value, sample.covary(parts, parts))


def tune_weight(sample: Sample) -> Estimate:
    """How much the judge counts in :func:`predict_mean`: 0 is not at all.

    The weight that makes the variance smallest: cov(judge, label) / var(judge) / (1 + labelled / unlabelled).
    Source: Angelopoulos, Duchi and Zrnic 2023, "PPI++: Efficient Prediction-Powered Inference"
    (arXiv:2311.01453), section 6, as their ``ppi_py`` computes it (the variance is that of all rows), but not
    cut to 0 to 1, since a judge may use another scale than people. The interval is by the delta method.
    """
    if not sample.missing:
        return Estimate(0.0, reason="every row has a person's label, so the judge does not matter")
    if np.ptp(sample.judge) == 0:
        return Estimate(0.0, reason="the judge tells nothing: it says the same of every row")
    judge, label = sample.pairs
    products = (judge - judge.mean()) * (label - label.mean())
    covariance, variance = float(products.mean()), float(sample.judge.var(ddof=1))
    slope = covariance / variance
    squares = (sample.judge - sample.judge.mean()) ** 2
    parts = sample.spread((products - covariance) / (variance * sample.labelled))
    parts -= slope * (squares - squares.mean()) / (variance * sample.rows)
    parts *= sample.missing
    weight, half = slope * sample.missing, sample.quantile * sqrt(sample.covary(parts, parts))
    if abs(weight) <= half:
        reason = "the judge may tell nothing: the interval of its weight holds 0"
    else:
        reason = "" if slope > 0 else "the judge rather says the opposite of people: its weight is below 0"
    return Estimate(weight, weight - half, weight + half, reason)


def predict_mean(sample: Sample, weight: float) -> Estimate:
    """The mean of people's labels over all rows, prediction-powered.

    mean(weight * judge, unlabelled) + mean(label - weight * judge, labelled); its variance is the sum of
    those of the two. Source: Angelopoulos et al. 2023, "Prediction-powered inference" (Science 382), with the
    weight of PPI++ (:func:`tune_weight`). With that weight it is the regression estimator of Cochran 1977,
    "Sampling Techniques", chapter 7, over all rows; its variance there is the one about these rows only.

    If people and the judge disagree in fewer than :data:`FEW` rows of a share, half a row is added to each
    combination for the variance (as Agresti and Min 2005 do for matched pairs), which were 0 or nearly so.
    The interval of a share is :meth:`Sample.bound_share`, that of a mean the published one with Student's t.
    """
    judge, label = sample.pairs
    if not weight:
        return average_labels(sample)
    rest = ~sample.known
    left = label - weight * judge
    other = sample.judge[rest]
    value = float(weight * other.mean() + left.mean())
    if sample.only_rows:
        left = label - weight / sample.missing * judge
        left = left * sqrt(sample.missing)
    parts = sample.spread((left - left.mean()) / sample.labelled)
    if not sample.only_rows:
        parts[rest] = weight * (other - other.mean()) / rest.sum()
    variance = sample.covary(parts, parts) + _find_lost_variance(sample, weight)
    return sample.surround(value, variance)


def _find_lost_variance(sample: Sample, weight: float) -> float:
    """What the variance lacks, since too few rows are of one kind: that with half a row more of each."""
    judge, label = sample.pairs
    differ = (judge != label).sum()
    if not sample.is_share or min(differ, sample.labelled - differ) >= FEW:
        return 0.0
    slope, share = (weight / sample.missing, sample.missing) if sample.only_rows else (weight, 1.0)
    counts = np.array([[((judge == f) & (label == y)).sum() for y in (0, 1)] for f in (0, 1)], dtype=float)
    values = np.array([[y - slope * f for y in (0, 1)] for f in (0, 1)])
    more = _vary(values, counts + 0.5) / (float(counts.sum()) + 2)
    return max(0.0, more - _vary(values, counts) / float(counts.sum())) * share


def _vary(values: Floats, counts: Floats) -> float:
    mean = np.average(values, weights=counts)
    return float(np.average((values - mean) ** 2, weights=counts))


def correct_share(sample: Sample) -> Estimate:
    """The judge's share corrected by its sensitivity and specificity in the rows with a label.

    (q + specificity - 1) / (sensitivity + specificity - 1), with the judge's share q over all rows. Source:
    Rogan and Gladen 1978, "Estimating prevalence from the results of a screening test". The interval is
    Fieller's (1954) for a ratio, which counts that all three are estimates, and partly from the same rows.
    Not defined if the denominator's own interval holds 0: such a judge tells nothing.
    """
    judge, label = sample.pairs
    yes, no = label.sum(), (1 - label).sum()
    if not yes or not no:
        return Estimate(None, reason=f"people gave {'only' if yes else 'never'} this label")
    sensitivity, specificity = float(judge[label == 1].mean()), float(1 - judge[label == 0].mean())
    share = float(sample.judge.mean())
    above, below = share + specificity - 1, sensitivity + specificity - 1
    scale = sqrt(sample.missing) if sample.only_rows else 1.0
    of_yes = sample.spread(scale * label * (judge - sensitivity) / yes)
    of_no = sample.spread(scale * (1 - label) * (1 - judge - specificity) / no)
    of_share = np.zeros(sample.rows) if sample.only_rows else (sample.judge - share) / sample.rows
    lost_yes, lost_no = (
        scale**2 * _find_lost_rate_variance(rate, count)
        for rate, count in ((sensitivity, yes), (specificity, no))
    )
    one, other = of_share + of_no, of_yes + of_no
    square = sample.quantile**2
    a = below**2 - square * (sample.covary(other, other) + lost_yes + lost_no)
    b = above * below - square * (sample.covary(one, other) + lost_no)
    c = above**2 - square * (sample.covary(one, one) + lost_no)
    if below <= 0 or a <= 0:
        rates = f"sensitivity {sensitivity:.2f}, specificity {specificity:.2f}"
        return Estimate(None, reason=f"the judge may tell nothing: {rates}")
    half = sqrt(max(b * b - a * c, 0.0))
    value, low, high = (min(max(end, 0.0), 1.0) for end in (above / below, (b - half) / a, (b + half) / a))
    return Estimate(value, min(low, value), max(high, value))  # without any variance they differ by rounding


def _find_lost_rate_variance(rate: float, count: Any) -> float:
    """As :func:`_find_lost_variance`, for the rate of a count."""
    right = rate * count
    if min(right, count - right) >= FEW:
        return 0.0
    more = (right + 0.5) / (count + 1)
    return float(max(0.0, more * (1 - more) / (count + 1) - rate * (1 - rate) / count))
