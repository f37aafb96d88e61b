"""What people would say of all rows, from a judge of all and people of some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.core.errors import ConfigError, DataError
from runner.metrics import evaluate, rehearse
from runner.metrics.calibrated import CalibratedMean, CalibratedShare
from tests.metrics.calibrated.coverage import count_held, list_pandalm

LABELS = {"verdict": ["correct", "incorrect"]}


def cross(counts: dict[tuple[str | None, str | None], int]) -> pl.DataFrame:
    """Rows from counts of (verdict, label)."""
    rows = [pair for pair, count in counts.items() for _ in range(count)]
    return pl.DataFrame(rows, schema=["verdict", "label"], orient="row")


# 100 of 400 rows have a label
ROWS = cross(
    {("y", "y"): 50, ("y", "n"): 5, ("n", "y"): 10, ("n", "n"): 35, ("y", None): 140, ("n", None): 160}
)


def label_as(names: dict[str, Any]) -> pl.DataFrame:
    """The rows with other labels."""
    return ROWS.with_columns(label=pl.Series([names.get(str(label), label) for label in ROWS["label"]]))


def ratings(count: int = 40, labelled: int = 20) -> pl.DataFrame:
    """A judge from 0 to 1, and people from 1 to 5 who mean nearly the same."""
    judge = [(7 * i % 11) / 10 for i in range(count)]
    people = [1 + 4 * judge[i] + (i % 3 - 1) / 2 if i < labelled else None for i in range(count)]
    return pl.DataFrame({"verdict": judge, "label": people})


def test_share_is_that_of_ppi_plus_plus() -> None:
    """The value is what ppi_py 0.2.3 gives here (``ppi_mean_pointestimate``); beside it, its parts."""
    scores = CalibratedShare(value="y", about="population")(ROWS)
    assert scores["calibrated_share"].value == pytest.approx(0.55757974, abs=1e-7)
    human = scores["calibrated_share_human"]
    assert (human.value, human.low, human.high) == pytest.approx((0.6, 0.5008, 0.6917), abs=1e-3)
    assert scores["calibrated_share_judge"].value == pytest.approx(195 / 400)
    assert {name: score.n for name, score in scores.items()} == {
        "calibrated_share": 400,
        "calibrated_share_human": 100,
        "calibrated_share_judge": 400,
        "calibrated_share_rogan_gladen": 400,
        "calibrated_share_weight": 100,
    }
    assert {score.reason for score in scores.values()} == {""}


def test_mean_and_interval_are_those_of_ppi_plus_plus() -> None:
    """The interval is that of ppi_py 0.2.3 (``ppi_mean_ci``) but for Student's t and n - 1 in a variance."""
    judge = [i * i % 7 + 1 for i in range(90)]
    people = [judge[i] // 2 + i % 3 for i in range(30)] + [None] * 60
    rows = pl.DataFrame({"verdict": judge, "label": people})
    score = CalibratedMean(about="population")(rows)["calibrated_mean"]
    value, low, high = 2.158827020279534, 1.818159240771088, 2.49949479978798
    student = 2.045229642 / 1.959963985 * (30 / 29) ** 0.5
    assert score.value == pytest.approx(value, abs=1e-7)
    assert score.high - value == pytest.approx((high - value) * student, abs=1e-6)  # type: ignore[operator]
    assert value - score.low == pytest.approx((value - low) * student, abs=1e-6)  # type: ignore[operator]


def test_judge_may_use_another_scale() -> None:
    """A judge from 0 to 1 about ratings from 1 to 5 helps as much as one from 0 to 100."""
    frame = ratings()
    scaled = frame.with_columns(verdict=pl.col("verdict") * 100)
    one, other = (CalibratedMean()(rows)["calibrated_mean"] for rows in (frame, scaled))
    alone = CalibratedMean()(frame)["calibrated_mean_human"]
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert one.high - one.low < 0.8 * (alone.high - alone.low)  # type: ignore[operator]


def test_rogan_gladen_by_hand() -> None:
    """(0.4875 + 0.875 - 1) / (5/6 + 0.875 - 1), and its interval holds it and lies within 0 to 1."""
    score = CalibratedShare(value="y")(ROWS)["calibrated_share_rogan_gladen"]
    assert score.value == pytest.approx((195 / 400 + 0.875 - 1) / (5 / 6 + 0.875 - 1))
    assert 0 < score.low < score.value < score.high < 1  # type: ignore[operator]


def test_about_these_rows_the_interval_is_narrower() -> None:
    """The variance of a population is that of these rows plus var(label) / rows, whatever the estimate."""
    rows, wide = (CalibratedMean(about=about)(ratings()) for about in ("rows", "population"))  # type: ignore[arg-type]
    for name in ("calibrated_mean", "calibrated_mean_human"):
        assert rows[name].value == pytest.approx(wide[name].value)
        assert rows[name].high - rows[name].low < wide[name].high - wide[name].low  # type: ignore[operator]
    assert (rows["calibrated_mean_judge"].low, wide["calibrated_mean_judge"].low) == (
        None,
        pytest.approx(0.4, abs=0.1),
    )
    complete = ratings(labelled=40)
    known = CalibratedMean(about="rows")(complete)["calibrated_mean"]
    assert known.value == known.low == known.high == pytest.approx(complete["label"].mean())
    assert "every row has" in known.reason


@pytest.mark.parametrize(
    ("counts", "reason", "corrected"),
    [
        ({("y", "y"): 9, ("y", "n"): 9, ("n", "y"): 9, ("n", "n"): 9, ("y", None): 9}, "holds 0", "nothing"),
        ({("y", "y"): 30, ("y", "n"): 10, ("y", None): 99}, "says the same of every row", "tell nothing"),
        ({("n", "y"): 40, ("y", "n"): 40, ("y", None): 99}, "opposite of people", "tell nothing"),
        ({("y", "y"): 20, ("n", "y"): 20, ("n", None): 9}, "holds 0", "people gave only this label"),
        ({(None, "y"): 20, (None, "n"): 20, (None, None): 9}, "no verdict was read", "no verdict was read"),
        ({("y", "y"): 20, ("n", "n"): 20, ("n", "y"): 2, ("n", None): 9}, "", ""),
    ],
)  # fmt: skip
def test_judge_without_information_is_said_to_be_one(
    counts: dict[tuple[str | None, str | None], int], reason: str, corrected: str
) -> None:
    """The score's reason says so; people's labels alone still stand beside it."""
    scores = evaluate({"share": CalibratedShare(value="y")}, cross(counts))
    assert reason in scores["share"].reason
    assert bool(scores["share"].reason) == bool(reason)
    assert corrected in scores["share_rogan_gladen"].reason
    assert scores["share_human"].value is not None
    assert scores["share_weight"].direction == "none"


def test_perfect_agreement_is_no_certainty() -> None:
    """That people and a judge never disagreed in 50 rows does not mean that they never do."""
    frame = cross({("y", "y"): 25, ("n", "n"): 25, ("y", None): 475, ("n", None): 475})
    score = CalibratedShare(value="y", about="rows")(frame)["calibrated_share"]
    assert score.high - score.low > 0.05  # type: ignore[operator]
    all_yes = cross({("y", "y"): 50, ("y", None): 950})
    assert CalibratedShare(value="y")(all_yes)["calibrated_share"].low == pytest.approx(0.92, abs=0.02)


def test_unread_verdict_is_another_value_and_no_rating() -> None:
    """Strict for a label; a rating that was not read counts as the mean, and the judge alone has no score."""
    frame = cross({("y", "y"): 20, (None, "n"): 20, ("y", None): 10, (None, None): 10})
    assert CalibratedShare(value="y")(frame)["calibrated_share_judge"].value == 0.5
    rated = ratings().with_columns(verdict=pl.when(pl.int_range(pl.len()) > 1).then("verdict"))
    scores = CalibratedMean()(rated)
    assert scores["calibrated_mean"].value is not None
    assert scores["calibrated_mean_judge"].reason == "2 rows without a rating to read"


def test_group_is_the_unit() -> None:
    """Rows that are each there four times tell no more than once."""
    frame = ratings().with_columns(document=pl.int_range(pl.len()))
    four = pl.concat([frame] * 4)
    about: Any = {"about": "population"}
    once, grouped = CalibratedMean(**about)(frame), CalibratedMean(group="document", **about)(four)
    for name in ("calibrated_mean", "calibrated_mean_human", "calibrated_mean_judge"):
        assert grouped[name].low == pytest.approx(once[name].low, rel=1e-3)
        assert grouped[name].n == 4 * once[name].n


@pytest.mark.parametrize(
    ("options", "frame", "match"),
    [
        ({}, ROWS.drop("label"), "no column 'label'"),
        ({}, ROWS.with_columns(label=None), "'label' has no label in any row"),
        ({}, cross({("y", "y"): 9, ("n", None): 99}), "labels in 9 rows; an interval needs 10"),
        ({"group": "g"}, ROWS.with_columns(g=pl.lit(1)), r"labels in 1 groups \(column 'g'\)"),
        ({"value": "z"}, ROWS, "nobody gave the value 'z'"),
        ({"value": 1}, ROWS, "value 1, but the labels are String"),
        ({}, label_as({"y": "Y "}), r"label 'Y ' \(0, 1, .* is written 'y'"),
        ({}, label_as({"n": " "}), "label ' ' .* is no label; leave it null"),
        ({}, label_as({"y": "1", "n": "0"}), r"labels \(0, 1\) are none of the judge's values \(n, y\)"),
        ({}, label_as({"y": 1, "n": 0}), "label holds numbers, and the judge's values are text"),
        ({}, label_as({"y": ["y"], "n": ["n"]}), "several values per row"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_compared_are_errors(
    options: dict[str, Any], frame: pl.DataFrame, match: str
) -> None:
    """None of them is counted as another value."""
    with pytest.raises(DataError, match=match):
        CalibratedShare(**{"value": "y", **options})(frame)


def test_mistakes_are_found_before_the_first_call() -> None:
    """A rehearsal has no verdicts, but it knows what the judge can say and what people said."""
    frame = ROWS.with_columns(
        verdict=pl.lit(None, pl.String), label=pl.col("label").replace({"y": "correct", "n": "incorrect"})
    )
    named, complete = rehearse({"share": CalibratedShare(value="correct", direction="higher")}, frame, LABELS)
    assert complete
    assert next(iter(named.items())) == ("share", "higher")
    for metric, rows, match in (
        (CalibratedShare(value="corect"), frame, "metric.share.value: 'corect'.*did you mean 'correct'"),
        (
            CalibratedShare(value="correct"),
            frame.with_columns(label=pl.col("label").replace("incorrect", "wrong")),
            r"label 'wrong' \(50, 51.*is no value of the judge",
        ),
        (CalibratedShare(value="correct"), frame.head(9), "labels in 9 rows"),
    ):
        with pytest.raises((ConfigError, DataError), match=match):
            rehearse({"share": metric}, rows, LABELS)
    with pytest.raises(ConfigError, match="did you mean 'rows'"):
        CalibratedMean(about="row")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"label '3\?' \(1\) is text, and the judge's values are numbers"):
        CalibratedMean()(pl.DataFrame({"verdict": [4, 3], "label": ["4", "3?"]}))
    with pytest.raises(DataError, match="not numbers; calibrated_share counts a label"):
        CalibratedMean()(ROWS)
    with pytest.raises(ConfigError, match="confidence 95"):
        CalibratedMean(confidence=95)


PAIRS = st.tuples(st.sampled_from(["y", "n", None]), st.sampled_from(["y", "n", None]))


@settings(max_examples=60, deadline=None)
@given(st.lists(PAIRS, min_size=10, max_size=60), st.sampled_from(["rows", "population"]))
@example([("y", "y")] * 4 + [("y", "n")] * 5 + [("n", "n")], "rows")
def test_share_has_an_interval_that_holds_it_or_a_reason(rows: list[Any], about: Any) -> None:
    """Whatever was said: within 0 to 1, low <= value <= high, and the order of rows does not matter."""
    frame = pl.DataFrame(rows, schema={"verdict": pl.String, "label": pl.String}, orient="row")
    metric = CalibratedShare(value="y", about=about)
    try:
        scores = metric(frame)
    except DataError:
        return
    turned = metric(frame.reverse())
    for name, score in scores.items():
        assert score.value == pytest.approx(turned[name].value)
        assert score.reason or score.value is not None
        if score.low is not None and not name.endswith("_weight"):
            assert 0 <= score.low <= score.value <= score.high <= 1  # type: ignore[operator]


def test_intervals_hold_the_value_of_all_labels(shared_data: Path) -> None:
    """On PandaLM's 999 rows, over 150 draws of 100 labels; the script in this folder has more of both."""
    _, metric, rows = next(list_pandalm())
    held = count_held(replace(metric, about="rows"), rows, draws=150)
    assert 0.9 <= held[""][0] <= 0.99
    assert held[""][1] < 0.9 * held["_human"][1]
