"""Averages over the points of a sweep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tracked
from scipy import stats

from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.records.averages import (
    Average,
    AveragePlan,
    average_points,
    average_scores,
    check_plan,
    describe_averages,
    name_values,
    read_plan,
)
from runner.records.folder import write_notes
from runner.records.ranking import rank
from runner.records.record import Record
from runner.records.sweep import summarize

PLAN = AveragePlan(["seed"], [{"k": k, "seed": seed} for k in (0, 3) for seed in (1, 2, 3)])
FIGURE = {
    "metric": "m",
    "printed": "60%",
    "published": 0.6,
    "half_digit": 0.005,
    "tolerance": 0.0,
    "other": False,
}


def points(values: list[float | None], **changes: Any) -> list[Record]:
    """The finished points of the plan with these scores."""
    return [
        tracked.record(
            str(job),
            sweep="s1",
            job=job,
            swept=dict(swept),
            scores={"m": Score(value, n=8, direction="higher")},
            inputs=[{"ids": "same"}],
            **changes,
        )
        for job, (swept, value) in enumerate(zip(PLAN.points, values, strict=True))
    ]


def averages(values: list[float | None], **changes: Any) -> list[Average]:
    return average_points(points(values, **changes), PLAN)


def test_the_numbers_are_numpys_and_scipys():
    """Mean, standard deviation (n - 1) and Student's interval, for each value of the other keys."""
    values = [0.5, 0.6, 0.9, 0.7, 0.7, 0.8]
    for average, given in zip(averages(values), (values[:3], values[3:]), strict=True):
        score, bounds = average.scores["m"], stats.t.interval(0.95, 2, np.mean(given), stats.sem(given))
        assert (score.value, score.low, score.high) == pytest.approx((np.mean(given), *bounds))
        assert (average.find_sd("m"), score.n) == (pytest.approx(np.std(given, ddof=1)), 3)
    assert [average.swept for average in averages(values)] == [{"k": 0}, {"k": 3}]


def test_an_interval_ends_where_the_score_does():
    """A share is at most 1, an error at least 0; equal points have no interval, and a line says so."""
    share, _ = average_scores([Score(value, least=0.0, most=1.0) for value in (0.8, 1.0)], 2)
    error, _ = average_scores([Score(value, least=0.0) for value in (2.0, 3.0)], 2)
    assert (share.low, share.high) == (0.0, 1.0)
    assert (error.low, error.high) == (0.0, pytest.approx(2.5 + stats.t.ppf(0.975, 1) / 2))
    equal, other = averages([0.5, 0.5, 0.5, 0.7, 0.7, 0.8])
    assert (equal.scores["m"].value, equal.scores["m"].low, equal.find_sd("m")) == (0.5, None, 0)
    assert describe_averages([equal, other])[1:] == [
        "without an interval: all points have the same [mean 1] m, which says too little about other values"
        " of seed"
    ]


def test_an_average_of_fewer_points_says_so():
    """A point that failed, has no value or never began does not count; such an average has no rank."""
    records = points([0.5, 0.7, None, 0.7, 0.7, 0.8])
    records[3].status = "failed"
    first, second = average_points(records[:5], PLAN)
    assert (first.scores["m"].reason, first.scores["m"].value) == ("over 2 of 3 points", pytest.approx(0.6))
    assert (second.size, second.scores["m"].value, second.scores["m"].low) == ("1 of 3", 0.7, None)
    assert second.find_sd("m") is None
    assert describe_averages([first, second])[1:] == ["[mean 2] is over 1 of 3 points"]
    assert rank([first, second]).groups == ()
    assert rank([second]).reason == "no average is over all its points"
    assert set(name_values(second)) == {"mean_of_1_of_3/k=3/m"}


def test_averages_are_ranked_and_not_their_points():
    """The luckiest seed wins nothing; groups of other seeds do not compete."""
    found = averages([0.1, 0.2, 0.9, 0.6, 0.6, 0.6])
    assert rank(found).best == ((1,),)
    other = AveragePlan(["seed"], [*PLAN.points[:3], *({"k": 3, "seed": seed} for seed in (1, 2, 4))])
    records = points([0.5] * 6)
    records[5].swept["seed"] = 4
    assert rank(average_points(records, other)).groups == ()


@pytest.mark.parametrize(
    ("values", "exact", "standing"),
    [
        ([0.5, 0.6, 0.7], True, "met"),
        ([0.5, 0.6, 0.6], True, "missed"),
        ([0.5, 0.6, 0.6], False, "inside"),
        ([0.6, 0.6, None], True, None),
    ],
)
def test_a_published_average_is_compared_with_the_whole_one(values, exact, standing):
    """A replay meets it or not; asked anew it lies in the interval; one of fewer points is not compared."""
    (average, _) = averages([*values, 0, 0, 0], averages=[FIGURE | {"exact": exact}])
    assert [row["standing"] for row in average.reference] == [standing]


def test_averages_are_rows_below_the_points():
    """They have no job, but a size and a deviation; the interval is said to be about the same rows."""
    records = points([0.5, 0.6, 0.7, 0.2, 0.2, 0.2])
    found = average_points(records, PLAN)
    rows = summarize(records, found).select("job", "k", "seed", "m", "m_sd", "n", "points").rows()
    assert rows[5:] == [
        (5, 3, 3, 0.2, None, 8, None),
        (None, 0, None, pytest.approx(0.6), pytest.approx(0.1), None, "3"),
        (None, 3, None, pytest.approx(0.2), pytest.approx(0), None, "3"),
    ]
    assert "on the same rows" in describe_averages(found)[0]
    assert name_values(found[0])["sd/k=0/m"] == pytest.approx(0.1)


def test_only_points_of_one_averaged_sweep_have_averages(tmp_path):
    """The notes of the sweep say how it is averaged, also for a point; other runs have no averages."""
    write_notes(tmp_path, {"average_over": ["seed"], "planned": PLAN.points})
    assert read_plan(tmp_path / "3") == read_plan(tmp_path) == PLAN
    write_notes(tmp_path, {"average_over": ["seed"], "planned": 3})
    assert read_plan(tmp_path) is None
    records = points([0.5] * 6)
    records[0].sweep = "s2"
    assert (
        average_points(records, PLAN) == average_points(records[1:], None) == average_points([], PLAN) == []
    )


def test_a_key_that_is_not_swept_is_named():
    """So are the swept ones."""
    with pytest.raises(
        ConfigError, match=r"average_over: 'sed' is not swept; did you mean 'seed'\? \(k, seed\)"
    ):
        check_plan(AveragePlan(["sed"], PLAN.points))
