"""Which difference rows and repeats can show, known before they are asked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, t

from runner.metrics import Accuracy, MeanAbsoluteError, Pairwise
from runner.metrics.repeated.spread import Values
from runner.metrics.statistics.compare import count_pairs
from runner.metrics.statistics.power import (
    Variance,
    bound_difference,
    find_detectable,
    find_half_width,
    find_mcnemar_power,
    is_share,
    measure_difference,
    measure_single,
)


@pytest.mark.parametrize(
    ("n", "discordant", "difference"), [(40, 0.3, 0.2), (200, 0.5, 0.14), (300, 0.1, 0.05)]
)
def test_power_of_mcnemar(n, discordant, difference):
    """The power is that of all tables, counted one by one with SciPy's binomial distribution."""
    power = 0.0
    for rows in range(n + 1):
        better = np.arange(rows + 1)
        p = 2 * binom.cdf(np.minimum(better, rows - better), rows, 0.5)
        chance = binom.pmf(better, rows, (discordant + difference) / 2 / discordant)
        power += binom.pmf(rows, n, discordant) * chance[p < 0.05].sum()
    assert find_mcnemar_power(discordant, difference, n) == pytest.approx(power, abs=1e-6)


def test_detectable_differences():
    """More rows, repeats or fewer comparisons show less; too few rows show nothing."""
    variance = Variance(0.1, 0.2)
    one, more, thrice = (find_detectable(variance, n, k, 1, True) for n, k in ((200, 1), (400, 1), (200, 3)))
    assert one > thrice > more
    factor = t.ppf(0.975, 199) + t.ppf(0.8, 199)
    assert thrice == pytest.approx(factor * ((0.1 + 0.2 / 3) / 200) ** 0.5)
    assert find_detectable(variance, 200, 1, 3, True) > one
    assert find_mcnemar_power(0.3 + one**2 / 2, one, 200) == pytest.approx(0.8, abs=1e-3)
    assert find_detectable(variance, 5, 1, 1, True) is None
    assert find_detectable(Variance(0.0), 200, 1) is None
    assert find_half_width(Variance(0.25), 100, 1) == pytest.approx(0.098, abs=1e-3)
    assert [count_pairs(runs, are_means=True) for runs in (1, 2, 10, 11)] == [0, 1, 45, 10]


def test_few_units_show_less():
    """Of rows that vary together the groups count, and few of them are too few for the test of the report."""
    random = np.random.default_rng(0)
    one, other = (Values(random.normal(0, 1, (60, 2)), np.arange(60) // 5) for _ in range(2))
    found = measure_difference(one, other)
    assert found.units == found.double().units == measure_single(one).units == 12 / 60
    factor = t.ppf(0.975, 11) + t.ppf(0.8, 11)
    assert find_detectable(found, 60, 2) == pytest.approx(factor * (found.of(2) / 60) ** 0.5)
    assert find_detectable(found, 45, 2) is None
    assert find_detectable(Variance(0.1), 9, 2, are_right=True) is None


def test_the_variance_of_a_difference():
    """What both runs have in common is left out, and repeats are told apart from rows."""
    random = np.random.default_rng(0)
    hard, own = random.normal(0, 3, (6000, 1)), random.normal(0, 1, (6000, 1))
    one, other = (Values(hard + part + random.normal(0, 2, (6000, 4))) for part in (own, 0))
    found = measure_difference(one, other)
    assert (found.rows, found.repeats) == (pytest.approx(1, rel=0.15), pytest.approx(8, rel=0.05))
    assert found.of(4) == pytest.approx(3, rel=0.06)
    once = measure_difference(Values(one.each[:, :1]), Values(other.each[:, :1]))
    assert (once.rows, once.repeats) == (pytest.approx(9, rel=0.06), 0)


def test_bounds_of_shares():
    """Shares have a bound before anything is known; rows of a group may all be alike."""
    groups = pl.DataFrame({"group": ["a"] * 4 + ["b"] * 4})
    assert bound_difference(pl.DataFrame({"prediction": [1] * 8})) == Variance(0.5)
    assert bound_difference(groups) == Variance(2.0, units=0.25)
    metrics = Accuracy(), Pairwise(), MeanAbsoluteError(), Accuracy(per="document")
    assert [is_share(metric) for metric in metrics] == [True, True, False, False]
