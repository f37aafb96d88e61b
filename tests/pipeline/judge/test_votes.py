"""How several verdicts become one."""

from __future__ import annotations

from collections import Counter
from statistics import mean, median

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import ConfigError
from runner.pipeline.judge.votes import Rule

LABELS = ["good", "fair", "bad"]


def vote(values, kind, rule):
    """What the rule makes of a group of verdicts."""
    frame = pl.DataFrame({"row": [0] * len(values), "verdict": pl.Series(values, dtype=kind)})
    return frame.group_by("row").agg(rule.apply(pl.col("verdict"), kind).alias("one"))["one"][0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.integers(1, 5), min_size=1, max_size=7))
def test_numbers(values):
    """Mean, median, largest and smallest of those that are there; the most frequent, of several the first."""
    given = [value for value in values if value is not None]
    counts = Counter(given)
    rules = {
        "mean": mean,
        "median": median,
        "any": max,
        "all": min,
        "majority": lambda _: max(counts, key=counts.get),
    }
    for name, function in rules.items():
        expected = function(given) if given else None
        assert vote(values, pl.Int64, Rule(name)) == (None if expected is None else pytest.approx(expected))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.sampled_from(LABELS), min_size=1, max_size=7))
def test_labels(values):
    """Any gives the best and all the worst label; null has no vote."""
    places = [LABELS.index(value) for value in values if value is not None]
    for name, pick in (("any", min), ("all", max)):
        assert vote(values, pl.String, Rule(name, LABELS)) == (LABELS[pick(places)] if places else None)


def test_two_sides():
    """Where no column has the most votes the verdict is a tie, in whatever order they came."""
    rule = Rule("majority", sides=True)
    for values, verdict in (
        (["completion", "target"], "tie"),
        (["tie", "target"], "tie"),
        (["target", "completion", "target"], "target"),
        ([None, "completion"], "completion"),
        ([None, None], None),
    ):
        assert vote(values, pl.String, rule) == verdict


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule("mean", LABELS), "the verdicts are no numbers"),
        (Rule("any"), "it is not known which verdict is the better one"),
        (Rule("all", ["completion", "target", "tie"], sides=True), "of two sides none is the better verdict"),
    ],
)
def test_refused(rule, said):
    """A rule that would have to guess is an error that names its key."""
    with pytest.raises(ConfigError, match=f"judge.vote={rule.vote}: {said}"):
        rule.check(pl.Series(["good"]))
    rule.check(pl.Series([1.0]))
