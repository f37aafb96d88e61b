"""A sweep as a table."""

from __future__ import annotations

import polars as pl
import tracked

from runner.core.types import Score
from runner.records.sweep import column_names, main_score_names, shared_params, summarize


def points(**swept):
    """One record per value of each swept key, given as lists of the same length."""
    rows = zip(*swept.values(), strict=True)
    return [
        tracked.record(str(job), job=job, swept=dict(zip(swept, values, strict=True)))
        for job, values in enumerate(rows)
    ]


def test_one_row_per_point_in_job_order():
    """The order of the jobs is kept, whatever order they ended in."""
    frame = summarize(points(n_shot=[0, 1, 3, 9])[::-1])
    assert frame.select("job", "n_shot", "accuracy", "accuracy_low", "n", "parse_rate").rows()[1:3] == [
        (1, 1, 0.75, 0.6, 8, 0.875),
        (2, 3, 0.75, 0.6, 8, 0.875),
    ]


def test_numbers_stay_numbers_and_mixtures_become_text():
    """A swept number can be plotted; ``base,1,last`` is text."""
    frame = summarize(points(rate=[0.1, 1], checkpoint=["base", 1]))
    assert frame["rate"].to_list() == [0.1, 1.0]
    assert frame["checkpoint"].to_list() == ["base", "1"]


def test_keys_with_the_same_ending_are_told_apart():
    """A column is called by the last part of its key, unless two keys share it."""
    records = points(**{"dataset.name": ["a"], "prompt.name": ["b"], "hyperparameter.n_shot": [1]})
    assert list(column_names(records).values()) == ["dataset.name", "prompt.name", "n_shot"]


def test_a_failed_point_has_its_reason():
    """The first line of the error stands beside the status; the scores are null."""
    good, bad = points(n_shot=[0, 1])
    bad.status, bad.error, bad.scores = "failed", "404 no such model\nTraceback", {}
    row = summarize([good, bad]).row(1, named=True)
    assert (row["status"], row["reason"], row["accuracy"]) == ("failed", "404 no such model", None)


def test_published_figures_stand_beside_measured_ones():
    """A paper's figure of a point is in the point's row."""
    records = points(n_shot=[0, 1])
    records[1].reference = [{"metric": "accuracy", "published": 0.87, "agrees": False}]
    frame = summarize(records)
    assert frame["accuracy_published"].to_list() == [None, 0.87]
    assert frame["accuracy_agrees"].to_list() == [None, False]


def test_a_key_that_only_some_points_have():
    """Points of different shapes make one table with gaps."""
    records = [*points(a=[1]), tracked.record("1", job=1, swept={"b": "x"}, scores={"f1": Score(0.5)})]
    frame = summarize(records)
    assert frame.select("a", "b", "accuracy", "f1").rows() == [(1, None, 0.75, None), (None, "x", None, 0.5)]


def test_an_empty_sweep_is_an_empty_table():
    """No point, no row."""
    assert isinstance(summarize([]), pl.DataFrame)
    assert summarize([]).is_empty()


def test_headlines_leave_out_the_parsed_twins():
    """A score over parsed rows only is not plotted beside the one over all rows."""
    record = tracked.record(scores={"f1": Score(0.5), "f1_parsed": Score(0.6)})
    assert main_score_names([record]) == ["f1"]


def test_common_params():
    """What all points share, and nothing that one of them lacks."""
    first, second = tracked.record(params={"a": 1, "b": 2, "c": 3}), tracked.record(params={"a": 1, "b": 0})
    assert shared_params([first, second]) == {"a": 1}
    assert shared_params([]) == {}
