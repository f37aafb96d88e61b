"""A metric of the user's own: what it may give, what it must say, and when its mistakes are found."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from runner import metrics
from runner.core.errors import ConfigError, DataError
from runner.core.types import Score

ROWS = pl.DataFrame({"target": [1, 2, 4], "prediction": [1, 3, None], "completion": ["1", "3", None]})
UNANSWERED = ROWS.with_columns(prediction=pl.lit(None), completion=pl.lit(None, pl.String))


def give(result: Any) -> Any:
    """A metric that gives this whatever it gets."""
    return lambda frame: result


def fail(error: Exception) -> Any:
    """A metric that raises this."""

    def metric(frame: pl.DataFrame) -> float:
        raise error

    return metric


@pytest.mark.parametrize("function", [metrics.evaluate, metrics.rehearse])
@pytest.mark.parametrize(
    "result",
    [
        "high",
        True,
        [0.5],
        {"a": 1},
        {"near": Score(0.5), "far": 0.25},
        {1: Score(0.5)},
        {"a": Score("high")},  # type: ignore[arg-type]
        {"a": Score(True)},
        {"a": Score(0.5, low="0")},  # type: ignore[arg-type]
        {"a": Score(0.5, n=None)},  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_what_is_no_score_is_refused(function: Any, result: Any) -> None:
    """Before the first call and after the last one, with the key of the metric and with what it gave."""
    with pytest.raises(ConfigError, match=r"metric\.mine: it gave .*; it must give a number"):
        function({"mine": give(result)}, ROWS)


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (2, 2.0),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (None, None),
        (float("nan"), None),
        (float("-inf"), None),
    ],
)
def test_numbers_become_scores(result: Any, value: float | None) -> None:
    """Also those of NumPy; what is not finite is undefined, and so None."""
    assert metrics.evaluate({"mine": give(result)}, ROWS) == {"mine": Score(value, n=3)}
    given = {"mine": Score(result, result, result, np.int64(2))}  # type: ignore[arg-type]
    (score,) = metrics.evaluate({"mine": give(given)}, ROWS).values()
    assert score == Score(value, value, value, 2)
    assert type(score.n) is int


def test_an_exception_names_the_metric_and_the_line() -> None:
    """Its key in the config, the type and the text of the exception, and the line in the user's code."""
    line = 1 + Path(__file__).read_text().splitlines().index("        raise error")
    place = rf"test_own\.py, line {line}, in fail\.<locals>\.metric\)"
    with pytest.raises(ConfigError, match=rf"metric\.mine: KeyError: 'a' \(.*{place}"):
        metrics.evaluate({"mine": fail(KeyError("a"))}, ROWS)
    with pytest.raises(ConfigError, match=r"ColumnNotFoundError: .*test_own\.py, line \d+"):
        metrics.evaluate({"mine": lambda frame: frame["predicton"].sum()}, ROWS)


def test_one_metric_that_fails_costs_no_other() -> None:
    """The others have their scores; the reasons are given beside them."""
    mine = {"a": fail(ValueError("no")), "right": metrics.Accuracy(), "b": give("x")}
    scores, failures = metrics.try_all(mine, ROWS)
    assert list(scores) == ["right", "right_parsed"]
    assert [str(failure).partition(";")[0] for failure in failures][1] == "metric.b: it gave 'x'"


MISTAKES = {
    "a column": lambda frame: frame["predicton"].mean(),
    "a key": lambda frame: sum(row["predicton"] for row in frame.iter_rows(named=True)),
    "an attribute": lambda frame: frame.groupby("target"),
    "a name": lambda frame: undefined_name,  # type: ignore[name-defined]  # noqa: F821
    "no function": 5,
    "two parameters": lambda frame, other: 0.0,
    "a column of a metric of ours": metrics.Count(column="verdict"),
}


@pytest.mark.parametrize("metric", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_found_before_the_first_call(metric: Any) -> None:
    """What answers cannot change is an error of the rehearsal."""
    with pytest.raises((ConfigError, DataError), match=r"metric[ .](mine|count)"):
        metrics.rehearse({"mine": metric}, UNANSWERED)


def test_what_answers_may_change_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The rehearsal puts gold values in place of the answers, and warns where that is not enough."""
    fine = {
        "mine": lambda frame: float(
            (frame["prediction"] - 1).mean() + frame["completion"].str.len_chars().mean()
        )
    }
    assert metrics.rehearse(fine, UNANSWERED) == ({"mine": "higher"}, False)
    assert not caplog.records
    odd = {"mine": lambda frame: 1 / (frame["prediction"] != frame["target"]).sum()}
    assert metrics.rehearse(odd, UNANSWERED) == ({}, False)
    assert "metric.mine: ZeroDivisionError" in caplog.text
    assert metrics.rehearse({"size": partial(len)}, UNANSWERED) == ({"size": "higher"}, False)


class AnswerSize(metrics.RowMetric):
    """A value per row, and no more than what it must say."""

    worst = 9.0

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        return pairs["prediction"]


class Undecided(metrics.RowMetric):
    """A distance that does not say what an unanswered row counts."""

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        return (pairs["prediction"] - pairs["target"]).abs()


class Far(Undecided):
    """It depends on the target."""

    def unparsed(self, pairs: pl.DataFrame) -> pl.Series:
        return 2 * pairs["target"]


class Near(Undecided):
    """A truth value."""

    proportion = True

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        return super().scores(pairs) < 1


class Without(Undecided):
    """There is no strict value."""

    worst = float("nan")


def test_a_row_metric_needs_little() -> None:
    """Its name is that of its class, or its key; both readings, and a column."""
    assert AnswerSize().name == "answer_size"
    assert [score.value for score in AnswerSize()(ROWS).values()] == [pytest.approx(13 / 3), 2.0]
    assert set(metrics.evaluate({"size": AnswerSize()}, ROWS)) == {"size", "size_parsed"}
    assert metrics.score_rows({"size": AnswerSize()}, ROWS)["size"].to_list() == [1.0, 3.0, None]
    known, are_all = metrics.rehearse({"size": AnswerSize()}, UNANSWERED)
    assert (set(known), are_all) == ({"size", "size_parsed"}, True)


def test_what_an_unanswered_row_counts_must_be_said() -> None:
    """A default of 0 would make a distance perfect; only what is right or wrong has it."""
    with pytest.raises(ConfigError, match="metric undecided: Undecided must say `worst`"):
        Undecided()
    strict = [metric(ROWS)[metric.name].value for metric in (Far(), Near(), Without())]
    assert strict == [pytest.approx(9 / 3), pytest.approx(1 / 3), None]


@pytest.mark.parametrize("base", [metrics.RowMetric, metrics.Metric])
def test_an_unknown_row_kind_is_refused(base: type) -> None:
    """When the metric is made; one without our base class, in the rehearsal."""
    members = {"row_kind": "wrong", "scores": None, "cells": None, "values": None, "worst": 0.0}
    with pytest.raises(ConfigError, match=r"metric own: row_kind 'wrong'.*right, value"):
        type("Own", (base,), members)()
    plain = type("Plain", (), {"__call__": give(1.0), "score_rows": give([]), "row_kind": "wrong"})()
    with pytest.raises(ConfigError, match=r"metric mine: row_kind 'wrong'"):
        metrics.rehearse({"mine": plain}, ROWS)


@pytest.mark.parametrize("scores", [[1.0, 2.0], 1.0, pl.Series([1.0])])
def test_scores_that_do_not_fit_the_rows_are_refused(scores: Any) -> None:
    """A list, a single number, or a value too few."""
    own = type("Own", (AnswerSize,), {"scores": lambda self, pairs: scores, "__module__": __name__})()
    with pytest.raises(ConfigError, match=r"must give a polars Series with a number for each of 2 rows"):
        metrics.evaluate({"mine": own}, ROWS)


def falling(frame: pl.DataFrame) -> float:
    """A plain function that says which end is better."""
    return 1.0


falling.direction = "lower"  # type: ignore[attr-defined]


class Losses:
    """Scores of which each may say it itself."""

    direction = "lower"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        return {
            "loss": Score(1.0),
            "gain": Score(1.0, direction="higher"),
            "rows": Score(3, direction="none"),
        }


@pytest.mark.parametrize(
    ("metric", "directions"),
    [
        (give(1), {"m": "higher"}),
        (falling, {"m": "lower"}),
        (partial(falling), {"m": "lower"}),
        (Losses(), {"loss": "lower", "gain": "higher", "rows": "none"}),
        (metrics.Accuracy(name="m"), {"m": "higher", "m_parsed": "higher"}),
        (metrics.MeanAbsoluteError(name="m"), {"m": "lower", "m_parsed": "lower"}),
        (metrics.Bias(name="m"), {"m": "none", "m_parsed": "none"}),
        (metrics.Count(name="m"), {"m": "none"}),
        (metrics.Share("prediction", 1, name="m"), {"m": "none", "m_parsed": "none"}),
        (metrics.Share("prediction", 1, "lower", name="m"), {"m": "lower", "m_parsed": "lower"}),
    ],
)
def test_each_score_has_a_direction(metric: Any, directions: dict[str, str]) -> None:
    """A score says it, or its metric, or its function; without a word the higher value is better."""
    scores = metrics.evaluate({"m": metric}, ROWS)
    assert {name: score.direction for name, score in scores.items()} == directions
    known, _ = metrics.rehearse({"m": metric}, ROWS)
    assert known == directions


def test_a_derived_score_may_have_no_direction() -> None:
    """How many groups were left out, and the odd kappas of LLMBar, are neither good nor bad."""
    rows = ROWS.with_columns(document=pl.Series(["a", "a", "b"]))
    scores = metrics.evaluate({"m": metrics.Accuracy(per="document")}, rows)
    assert (scores["m"].direction, scores["m_skipped"].direction) == ("higher", "none")
    pairs = pl.DataFrame({"pair": [1, 1], "order": ["ab", "ba"], "target": [1, 2], "prediction": [1, 1]})
    scores = metrics.evaluate({"m": metrics.Pairwise(odd_kappa=True)}, pairs)
    odd = {name for name, score in scores.items() if score.direction == "none"}
    assert odd == {name for name in scores if "odd" in name}


def test_a_direction_is_one_of_three() -> None:
    """Any other is a mistake of the metric's."""
    with pytest.raises(ConfigError, match=r"metric\.m: direction 'highr'; did you mean 'higher'"):
        metrics.evaluate({"m": metrics.Count(direction="highr")}, ROWS)  # type: ignore[arg-type]
