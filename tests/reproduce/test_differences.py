"""What counts as a difference between then and now."""

from __future__ import annotations

import polars as pl
import pytest

from runner.cli.reproduce import cut_to_difference
from runner.core.types import Score
from runner.records.record import Record
from runner.reproduce.differences import compare_inputs, compare_rows, compare_settings, is_same_score


def frame(**columns):
    """Two rows that are answered and right; ``columns`` replace whole columns."""
    given = {"id": ["a", "b"], "completion": ["1", "2"], "prediction": [1.0, 2.0], "verdict": [None, "yes"]}
    return pl.DataFrame(given | columns)


@pytest.mark.parametrize(
    ("columns", "changed"),
    [
        ({}, []),
        ({"completion": ["1", "3"]}, [("b", "completion")]),
        ({"prediction": [None, 2.0]}, [("a", "prediction")]),
        ({"prediction": [1.0 + 1e-12, float("nan")]}, [("b", "prediction")]),
        ({"verdict": ["no", "yes"]}, [("a", "verdict")]),
        ({"id": ["a", "c"]}, [("b", "row"), ("c", "row")]),
    ],
)
def test_rows(columns, changed):
    """Each different cell is named by row and column; a rounding error does not count, a missing row does."""
    assert [(change.id, change.column) for change in compare_rows(frame(), frame(**columns), [])] == changed


@pytest.mark.parametrize(
    ("now", "same"),
    [
        (Score(0.5, 0.25, 0.75, 8), True),
        (Score(0.5 + 1e-15, 0.25, 0.75, 8), True),
        (Score(0.51, 0.25, 0.75, 8), False),
        (Score(0.5, 0.26, 0.75, 8), False),
        (Score(0.5, None, None, 8), False),
        (Score(0.5, 0.25, 0.75, 7), False),
        (None, False),
    ],
)
def test_scores(now, same):
    """A score is its value, its interval and its n."""
    assert is_same_score(Score(0.5, 0.25, 0.75, 8), now) is same


def test_splits():
    """Per split: same, changed, gone, new."""
    entry = {"digest": "1", "rows": 2, "source": "rows.csv"}
    then = [entry | {"split": name} for name in ("test", "train", "dev")]
    now = [entry | {"split": "test"}, entry | {"split": "train", "digest": "2"}, entry | {"split": "more"}]
    found = compare_inputs(Record("1", "then", inputs=then), now)
    assert [(check.what, check.state) for check in found] == [
        ("data test", "same"),
        ("data train", "different"),
        ("data dev", "different"),
        ("data more", "different"),
    ]


def test_new_settings_that_say_nothing_are_none():
    """A key that came with a later version is no difference as long as it is empty."""
    assert compare_settings({"a": 1}, {"a": 1, "b": None, "c": False}) == []
    assert compare_settings({"a": 1, "b": 2}, {"a": 1, "c": 3}) == ["b: 2 → gone", "c: new, 3"]


def test_excerpts_show_where_texts_part():
    """Long texts are cut so that the difference is seen."""
    then, now = cut_to_difference("same " * 50 + "left", "same " * 50 + "right")
    assert (then[-4:], now[-5:]) == ("left", "right")
    assert len(then) < 60
