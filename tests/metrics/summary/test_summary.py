"""Means, standard errors, quantiles and ratios against NumPy and formulas written out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import ConfigError, DataError
from runner.metrics import Count
from runner.metrics.summary import Mean, Quantile, Ratio, StdErr

FRAME = pl.DataFrame(
    {
        "id": list("abcde"),
        "prediction": [1.0, 2.0, 2.0, 5.0, None],
        "w": [1, 3, 0, 1, 2],
        "cost": [0.5, 0.5, 1.0, 2.0, 1.0],
        "right": [True, False, True, True, False],
        "said": list("xyxyx"),
    }
)
READ = FRAME.head(4)
numbers = st.lists(st.integers(-5, 5), min_size=2, max_size=12)


def test_a_row_without_a_value_has_no_strict_mean():
    """Unless the config says what it counts as."""
    scores = Mean(resamples=50)(FRAME)
    assert (scores["mean"].value, scores["mean"].n) == (None, 5)
    assert "set missing" in scores["mean"].reason
    assert (scores["mean_parsed"].value, scores["mean_parsed"].n) == (2.5, 4)
    assert Mean(missing=0, resamples=50)(FRAME)["mean"].value == 2.0


def test_a_mean_may_have_a_direction():
    """Which the table of a sweep needs to say which point is best; by default it has none."""
    assert [Mean().direction, Mean(direction="higher").direction] == ["none", "higher"]


def test_rows_are_weighted():
    """Three times 2 and once 1 and 5."""
    assert Mean(weight="w", resamples=50)(READ)["mean"].value == (1 + 6 + 0 + 5) / 5
    assert Ratio(prediction="prediction", over="cost", resamples=50)(READ)["ratio"].value == 10 / 4
    assert Ratio(prediction="cost", over="right", resamples=50)(FRAME)["ratio"].value == 5 / 3


@settings(max_examples=40, deadline=None)
@given(numbers, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]))
def test_numbers_are_those_of_numpy(values, q):
    """In any order, with equal values or without."""
    frame = pl.DataFrame({"prediction": values})
    found = Quantile(q=q, resamples=0)(frame)["quantile"].value
    assert found == pytest.approx(np.quantile(values, q), abs=1e-9)
    assert Mean(resamples=0)(frame)["mean"].value == pytest.approx(np.mean(values), abs=1e-9)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert StdErr(resamples=0)(frame)["standard_error"].value == pytest.approx(error, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 4)), min_size=2, max_size=8))
def test_a_weighted_quantile_is_that_of_repeated_rows(pairs):
    """With whole weights it is the inverse of the distribution function."""
    values, weights = zip(*pairs, strict=True)
    frame = pl.DataFrame({"prediction": values, "w": weights})
    repeated = np.repeat(values, weights)
    found = Quantile(q=0.3, weight="w", resamples=0)(frame)["quantile"].value
    assert found == np.quantile(repeated, 0.3, method="inverted_cdf")


def test_the_weighted_standard_error_is_the_linearised_one():
    """Written out for three rows."""
    frame = pl.DataFrame({"prediction": [1.0, 2.0, 6.0], "w": [1.0, 2.0, 1.0]})
    mean, total = 11 / 4, 4
    spread = (1 - mean) ** 2 + 4 * (2 - mean) ** 2 + (6 - mean) ** 2
    value = StdErr(weight="w", resamples=0)(frame)["standard_error"].value
    assert value == pytest.approx(np.sqrt(3 / 2 * spread) / total)


def test_a_mean_has_an_interval_that_holds_it():
    """It is near to that of the normal distribution."""
    values = np.random.default_rng(0).normal(3, 2, 400)
    score = Mean()(pl.DataFrame({"prediction": values}))["mean"]
    error = values.std(ddof=1) / 20
    assert score.low == pytest.approx(values.mean() - 1.96 * error, abs=0.05)
    assert score.high == pytest.approx(values.mean() + 1.96 * error, abs=0.05)


def test_a_mean_of_equal_values_says_why_it_has_no_interval():
    """Or has that of a proportion, if it is a share of rows that are all right or all wrong."""
    ones, twos = (pl.DataFrame({"prediction": [value] * 8}) for value in (1.0, 2.0))
    share = Mean(share=True, resamples=50)
    assert (share(ones)["mean"].low, share(ones)["mean"].high) == (pytest.approx(0.025 ** (1 / 8)), 1.0)
    for score in (share(twos)["mean"], Mean(resamples=50)(ones)["mean"]):
        assert (score.low, score.reason) == (None, "all rows have the same value, so it has no interval")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("cost >= 1", 3.0),
        ("prediction > 1", 3.0),
        ("said = 'x' AND REGEXP_EXTRACT(id, '([a-c])') IS NOT NULL", 2.0),
    ],
)
def test_rows_are_counted_by_a_condition(where, value):
    """A row for which it is not known is not counted."""
    assert Count(column="id", where=where)(FRAME)["count"].value == value


def test_mistakes_name_the_metric():
    """Text is no number, a weight is not below 0, and a condition is true or false."""
    with pytest.raises(DataError, match="metric mean: column 'said' is String, not numbers"):
        Mean(prediction="said")(FRAME)
    with pytest.raises(DataError, match=r"'w' is no weight \(a number from 0\) in 1 row \(b\)"):
        Mean(weight="w")(FRAME.with_columns(w=pl.Series([1, -1, 1, 1, 1])))
    with pytest.raises(ConfigError, match="q 2 is not between"):
        Quantile(q=2)
    with pytest.raises(ConfigError, match="not true or false"):
        Count(column="id", where="cost + 1")(FRAME)
    with pytest.raises(DataError, match="metric count: where='prce > 1'"):
        Count(column="id", where="prce > 1")(FRAME)
