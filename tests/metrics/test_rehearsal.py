"""What options of metrics name must exist: checked on rows that nobody has answered."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from runner import metrics
from runner.core.errors import ConfigError, DataError

WORDS = {"prediction": ["yes", "no"], "target": ["yes", "no"], "verdict": ["correct", "incorrect"]}


def rows(gold: Any = ("yes", "no"), dtype: Any = pl.String, **columns: Any) -> pl.DataFrame:
    """Rows without answers and verdicts."""
    nothing = {name: pl.Series([None] * len(gold), dtype=dtype) for name in ("prediction", "verdict")}
    return pl.DataFrame({"id": range(len(gold)), "target": gold} | nothing | columns)


@pytest.mark.parametrize(
    ("metric", "option", "hint"),
    [
        (metrics.F1(positive="ja"), "positive", r"\(no, yes\)"),
        (metrics.Recall(positive="yess"), "positive", "did you mean 'yes'"),
        (metrics.Precision(positive=True), "positive", r"\(no, yes\)"),
        (metrics.Bias(label="maybe"), "label", r"\(no, yes\)"),
        (metrics.Share(column="verdict", value="right"), "value", r"\(correct, incorrect\)"),
        (metrics.Count(value="y"), "value", r"\(no, yes\)"),
        (metrics.Accuracy(expected="y"), "expected", r"\(no, yes\)"),
        (metrics.Baseline(metric=metrics.Accuracy(), constant="y"), "constant", r"\(no, yes\)"),
        (metrics.Baseline(metric=metrics.F1(positive="y")), "positive", r"\(no, yes\)"),
    ],
)
def test_a_label_that_no_row_can_have_is_refused(metric: Any, option: str, hint: str) -> None:
    """Of a closed set it must be one; the error names the key."""
    with pytest.raises(ConfigError, match=rf"metric\.m\.{option}: .* is not a label of these rows.*{hint}"):
        metrics.rehearse({"m": metric}, rows(), WORDS)


def test_a_label_of_an_open_set_must_be_a_gold_value() -> None:
    """Where the parser gives anything, the gold column is all there is."""
    metrics.rehearse({"m": metrics.F1(positive="yes")}, rows())
    with pytest.raises(ConfigError, match=r"metric\.m\.positive: 'ja' is not a label"):
        metrics.rehearse({"m": metrics.F1(positive="ja")}, rows())


@pytest.mark.parametrize(("label", "hint"), [("1", "labels are numbers"), (True, "is not a label")])
def test_a_label_has_the_type_of_its_column(label: Any, hint: str) -> None:
    """The text "1" and a truth value never equal the number 1."""
    numbers = rows([1, 0], pl.Int64)
    metrics.rehearse({"m": metrics.F1(positive=1)}, numbers, {"prediction": ["0", "1"]})
    with pytest.raises(ConfigError, match=hint):
        metrics.rehearse({"m": metrics.F1(positive=label)}, numbers, {"prediction": ["0", "1"]})


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (["a", "b", "unsure"], {}),
        (["a", "tie"], {}),
        (["x", "y"], {}),
        (["a", "b"], {"positions": ["x", "y"]}),
        (["0", "1", "2"], {}),
    ],
)
def test_positions_that_the_parser_cannot_give_are_refused(labels: list[str], options: Any) -> None:
    """Both positions must be labels, and no label may be of unknown meaning."""
    gold = ["x", "y"] if options else ["a", "b"]
    frame = rows(gold, pair=[1, 1], order=["ab", "ba"])
    with pytest.raises(ConfigError, match=r"prompt\.parser gives .* set positions"):
        metrics.rehearse({"m": metrics.Pairwise(**options)}, frame, {"prediction": labels})


@pytest.mark.parametrize(
    ("metric", "frame", "error"),
    [
        (metrics.CohenKappa(weights="linear"), rows(), "whole numbers"),
        (
            metrics.CohenKappa(weights="linear"),
            rows([1, 2], pl.Float64),
            r"weights: predictions may be fract",
        ),
        (metrics.Pearson(), rows(), "not numbers"),
        (metrics.Accuracy(group="document"), rows(), "no column 'document'"),
        (metrics.KrippendorffAlpha(annotators="people"), rows(), "no column 'people'"),
    ],
)
def test_what_cannot_be_measured_is_refused(metric: Any, frame: pl.DataFrame, error: str) -> None:
    """Labels without an order, fractions where weights need steps, columns that do not exist."""
    with pytest.raises((ConfigError, DataError), match=error):
        metrics.rehearse({"m": metric}, frame)


ALL: dict[str, Any] = {
    "accuracy": metrics.Accuracy(),
    "balanced": metrics.BalancedAccuracy(),
    "f1": metrics.F1(positive="a"),
    "f1_macro": metrics.F1(average="macro"),
    "per": metrics.F1(average="macro", per="half"),
    "kappa": metrics.CohenKappa(),
    "kappa_linear": metrics.CohenKappa(weights="linear", minimum=1, maximum=5),
    "bias": metrics.Bias(),
    "mae": metrics.MeanAbsoluteError(),
    "pearson": metrics.Pearson(),
    "kendall": metrics.KendallTau(),
    "brier": metrics.Brier(positive="a"),
    "roc_auc": metrics.RocAuc(positive=1),
    "exact_match": metrics.ExactMatch(),
    "pairwise": metrics.Pairwise(),
    "pairwise_rating": metrics.PairwiseRating(),
    "baseline": metrics.Baseline(metric=metrics.MeanAbsoluteError(), choice="median"),
    "count": metrics.Count(value="a"),
    "alpha": metrics.KrippendorffAlpha(annotators=["target", "prediction"], level="interval"),
    "ceiling": metrics.HumanCeiling(
        metric=metrics.CohenKappa(), annotators=["target", "prediction", "half"], against="mean"
    ),
    "upper_bound": metrics.UpperBound(
        metric=metrics.CohenKappa(), annotators=["target", "prediction"], draws=9
    ),
}
GOLD = {
    "labels": ["a", "b", "a", "b"],
    "one class": ["a"] * 4,
    "numbers": [1, 2, 2, 5],
    "fractions": [1.5, 2.0, 3.25, 4.0],
    "no number": [1.0, float("nan"), float("inf"), 2.0],
    "lists": [["a"], ["a", "b"], ["b"], ["b"]],
    "truth values": [True, False, True, True],
    "structs": [{"x": 1}] * 4,
    "some nulls": ["a", None, "b", "a"],
    "nulls": [None] * 4,
    "one row": ["a"],
}


@pytest.mark.parametrize("kind", GOLD)
def test_every_metric_gives_a_number_a_null_with_a_reason_or_an_error(kind: str) -> None:
    """Whatever the gold values and predictions are; nothing else happens, before the calls or after them."""
    gold = GOLD[kind]
    n = len(gold)
    said = ["a", "b", "b", "a"][:n] if kind in ("lists", "nulls") else gold
    for answers in (said, [None] * n, [*said[:1], *[None] * (n - 1)], [said[0]] * n):
        frame = pl.DataFrame(
            {"id": range(n), "target": gold, "half": [0, 0, 1, 1][:n], "pair": [0, 0, 1, 1][:n]}
            | {"order": ["ab", "ba"] * 2, "output": [1, 2] * 2, "probability": [0.25, 0.9, 0.9, 0.4]}
            if n == 4
            else {"id": [0], "target": gold, "half": [0], "probability": [0.5]}
        ).with_columns(prediction=pl.Series(answers, dtype=pl.Series(said).dtype))
        for key, metric in ALL.items():
            metric.resamples = 9
            try:
                metrics.rehearse({key: metric}, frame)
                scores = metrics.evaluate({key: metric}, frame)
            except (ConfigError, DataError) as error:
                if error.__cause__ is not None:  # something was raised that nobody meant to
                    raise
                continue
            assert all(score.value is not None or score.reason for score in scores.values()), (key, scores)
