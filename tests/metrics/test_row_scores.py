"""Every row has its score: what a column holds, and that the scores of a run are made of it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from runner import metrics
from runner.core.errors import ConfigError

RATINGS = pl.DataFrame({"target": [1, 2, 3, 5, 4], "prediction": [1, 3, 3, None, 1]})
TEXTS = pl.DataFrame({"target": ["a cat", "Rome", "x y"], "prediction": ["cat", None, "y z"]})
CHANCES = pl.DataFrame({"target": [1, 0, 1], "probability": [0.5, 0.25, None]})
CASES: list[tuple[metrics.Metric, pl.DataFrame, str, list[float | None]]] = [
    (metrics.Accuracy(), RATINGS, "right", [1, 0, 1, None, 0]),
    (metrics.ExactAgreement(tolerance=1), RATINGS, "right", [1, 1, 1, None, 0]),
    (metrics.MeanAbsoluteError(), RATINGS, "value", [0, 1, 0, None, 3]),
    (metrics.Bias(), RATINGS, "value", [0, 1, 0, None, -3]),
    (metrics.Bias(label=3), RATINGS, "value", [0, 1, 0, None, 0]),
    (metrics.Share(column="prediction", value=3), RATINGS, "right", [0, 1, 1, None, 0]),
    (metrics.ExactMatch(), TEXTS, "right", [1, None, 0]),
    (metrics.TokenF1(), TEXTS, "value", [1, None, 0.5]),
    (metrics.RougeL(), TEXTS, "value", [2 / 3, None, 0.5]),
    (metrics.Brier(), CHANCES, "value", [0.25, 0.0625, None]),
]


@pytest.mark.parametrize(("metric", "rows", "kind", "expected"), CASES, ids=lambda v: getattr(v, "name", ""))
def test_rows_have_the_scores_that_the_parsed_reading_averages(
    metric: metrics.Metric, rows: pl.DataFrame, kind: str, expected: list[float | None]
) -> None:
    """Each row's own value, null without a prediction; their mean is the score over parsed rows."""
    scored = metrics.score_rows({"mine": metric}, rows)
    assert scored.columns == [*rows.columns, "mine"]
    assert scored["mine"].dtype == pl.Float64
    assert scored["mine"].to_list() == [None if e is None else pytest.approx(e) for e in expected]
    assert scored["mine"].mean() == pytest.approx(
        metrics.evaluate({"mine": metric}, rows)["mine_parsed"].value
    )
    assert metrics.row_score_kinds({"mine": metric}) == {"mine": kind}


@pytest.mark.parametrize("name", ["Accuracy", "ExactAgreement", "MeanAbsoluteError", "Bias"])
def test_a_row_without_a_gold_value_has_no_score(name: str) -> None:
    """The score of the run refuses such rows; a single row is merely null."""
    rows = RATINGS.with_columns(target=pl.Series([1, None, 3, 5, None]))
    scored = metrics.score_rows({"mine": getattr(metrics, name)()}, rows)
    assert scored["mine"].is_null().to_list() == [False, True, False, True, True]


@pytest.mark.parametrize("name", ["Accuracy", "MeanAbsoluteError", "ExactAgreement"])
def test_rows_of_which_none_is_parsed_have_no_score(name: str) -> None:
    """Also where the column of predictions has no type."""
    rows = RATINGS.with_columns(prediction=pl.Series([None] * 5))
    assert metrics.score_rows({"mine": getattr(metrics, name)()}, rows)["mine"].to_list() == [None] * 5


def test_a_verdict_on_a_pair_is_right_in_its_own_order() -> None:
    """The winning position is that of the target; over both orders the mean is the accuracy."""
    rows = pl.DataFrame(
        {
            "pair": [1, 1, 2, 2, 3, 3],
            "order": ["ab", "ba"] * 3,
            "target": ["a", "b", "b", "a", "a", "b"],
            "prediction": ["a", "a", "tie", "tie", "a", "b"],
        }
    )
    for rule, expected in {"keep": [1, 0, 0, 0, 1, 1], "first": [1, 0, 0, 1, 1, 1]}.items():
        metric = metrics.Pairwise(tie=rule)  # type: ignore[arg-type]
        scored = metrics.score_rows({"pairs": metric}, rows)["pairs"]
        assert scored.to_list() == expected
        assert scored.mean() == pytest.approx(metric(rows)["pairwise"].value)
    unread = rows.with_columns(prediction=pl.Series([None] * 6))
    assert metrics.score_rows({"pairs": metrics.Pairwise()}, unread)["pairs"].to_list() == [None] * 6


def test_rates_over_many_rows_give_no_column() -> None:
    """A single row has no F1, no kappa and no correlation; one rating of two says nothing of its pair."""
    without: dict[str, Any] = {
        "f1": metrics.F1(average="macro"),
        "kappa": metrics.CohenKappa(),
        "pearson": metrics.Pearson(),
        "area": metrics.RocAuc(),
        "pairs": metrics.PairwiseRating(),
        "rows": metrics.Count(),
        "plain": lambda frame: 1.0,
    }
    assert metrics.row_score_kinds(without) == {}
    assert metrics.score_rows(without, RATINGS).columns == RATINGS.columns


class Own:
    """A user's metric whose row scores are what it is told."""

    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def __call__(self, frame: pl.DataFrame) -> float:
        return 0.0

    def score_rows(self, frame: pl.DataFrame) -> Any:
        if isinstance(self.scores, Exception):
            raise self.scores
        return self.scores


def test_a_metric_of_ones_own_may_score_rows() -> None:
    """Whatever can be a column of numbers; NaN is no score."""
    scored = metrics.score_rows({"own": Own([1, 0.5, None, float("nan"), 0])}, RATINGS)
    assert scored["own"].to_list() == [1.0, 0.5, None, None, 0.0]
    assert metrics.row_score_kinds({"own": Own([])}) == {"own": "value"}


@pytest.mark.parametrize("scores", [[1.0], ["high"] * 5, ValueError("no")])
def test_a_metric_that_fails_on_rows_is_left_out(scores: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Too few scores, words, or an error: a warning, and the other columns."""
    scored = metrics.score_rows({"own": Own(scores), "accuracy": metrics.Accuracy()}, RATINGS)
    assert scored.columns == [*RATINGS.columns, "accuracy"]
    assert "metric.own: " in caplog.text


@pytest.mark.parametrize("function", [metrics.score_rows, metrics.rehearse])
def test_a_column_of_the_rows_is_not_replaced(function: Any) -> None:
    """A metric and a column of one name are refused, before anything is paid."""
    with pytest.raises(ConfigError, match=r"metric\.target: the rows already have a column 'target'"):
        function({"target": metrics.Accuracy()}, RATINGS)


def test_texts_that_change_are_scored_anew() -> None:
    """A metric that has scored texts before gives the scores of the texts it is given now."""
    metric = metrics.TokenF1()
    both = [metric(rows)["token_f1_parsed"].value for rows in (TEXTS, TEXTS.head(1), TEXTS)]
    assert both == [0.75, 1.0, 0.75]
