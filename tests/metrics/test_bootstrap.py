"""BCa intervals: those of SciPy on the same resamples; where there is none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from runner.metrics.bootstrap import (
    Floats,
    bootstrap_intervals,
    draw_statistics,
    find_intervals,
    tally,
)


def mean_of(values: Floats):
    """The mean over cells that hold these values."""
    return lambda counts: counts @ values / counts.sum(axis=1)


def scipy_interval(rows: Floats, drawn: Floats) -> tuple[float, float]:
    """SciPy's BCa interval of the mean from resamples that are drawn already."""
    before = SimpleNamespace(bootstrap_distribution=drawn)
    found = bootstrap((rows,), np.mean, n_resamples=0, bootstrap_result=before, method="BCa")
    return found.confidence_interval.low, found.confidence_interval.high


@pytest.mark.parametrize("rows", [40, 200])
@pytest.mark.parametrize("distinct", [2, 5, None])
def test_intervals_are_those_of_scipy(rows: int, distinct: int | None) -> None:
    """On the same resamples, for skewed values, whether rows are equal or all different."""
    values = np.random.default_rng(rows).exponential(size=rows)
    if distinct:
        values = np.floor(values * 2).clip(max=distinct - 1)
    sample = tally(pl.DataFrame({"value": values}))
    mean = mean_of(sample.cells["value"].to_numpy())
    drawn = draw_statistics(sample, [mean], 999, 0)
    (bounds,) = find_intervals(sample, [mean], drawn, 0.95, 0)
    assert bounds == pytest.approx(scipy_interval(values, drawn[0]), abs=1e-9)


def test_deletions_in_parts_come_close_to_those_one_by_one() -> None:
    """With more rows than deletions the bounds differ by a hundredth of the width at most."""
    values = np.random.default_rng(1).exponential(size=3000)
    sample = tally(pl.DataFrame({"value": values}))
    mean = mean_of(sample.cells["value"].to_numpy())
    drawn = draw_statistics(sample, [mean], 999, 0)
    (bounds,) = find_intervals(sample, [mean], drawn, 0.95, 0)
    exact = scipy_interval(values, drawn[0])
    assert bounds == pytest.approx(exact, abs=0.01 * (exact[1] - exact[0]))


def test_groups_are_drawn_and_left_out_as_one() -> None:
    """Two equal rows per group say no more than one: the interval is that of single rows."""
    values = np.random.default_rng(2).exponential(size=60)
    single = tally(pl.DataFrame({"value": values}), pl.Series(range(60)))
    double = tally(pl.DataFrame({"value": np.repeat(values, 2)}), pl.Series(range(120)) // 2)
    bounds = [
        bootstrap_intervals(sample, [mean_of(sample.cells["value"].to_numpy())], 0.95, 500, 0)[0]
        for sample in (single, double)
    ]
    assert bounds[0] == pytest.approx(bounds[1])
    assert bounds[0][0] is not None


@given(st.lists(st.integers(0, 3), min_size=0, max_size=12))
@settings(max_examples=40, deadline=None)
def test_an_interval_holds_its_value_or_there_is_none(values: list[int]) -> None:
    """Also for few rows, for one row, and for rows that are all equal."""
    sample = tally(pl.DataFrame({"value": pl.Series(values, dtype=pl.Float64)}))
    (bounds,) = bootstrap_intervals(sample, [mean_of(sample.cells["value"].to_numpy())], 0.95, 100, 0)
    if bounds[0] is None or bounds[1] is None:
        assert bounds == (None, None)
    else:
        assert bounds[0] <= np.mean(values) + 1e-9
        assert bounds[1] >= np.mean(values) - 1e-9
    assert len(set(values)) > 1 or bounds == (None, None)
