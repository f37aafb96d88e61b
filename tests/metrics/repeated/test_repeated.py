"""Scores of rows that were asked several times."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f_oneway

from runner.core.errors import ConfigError
from runner.metrics import F1, Accuracy, Brier, KrippendorffAlpha, MeanAbsoluteError, Pairwise, Recall, RocAuc
from runner.metrics.repeated import (
    Consistency,
    PassAtK,
    PassHatK,
    check_repeats,
    find_spreads,
    measure_each,
    over_repeats,
    reduce_rows,
)
from runner.metrics.repeated.spread import split_variance, split_verdicts
from runner.metrics.statistics import compare

LABELS = st.sampled_from(["a", "b", "c", None])
TABLES = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(LABELS, min_size=k, max_size=k), min_size=2, max_size=8)
)
FEW = settings(max_examples=40, deadline=None)


def make_frame(answers: list[list[str | None]], target: str = "a") -> pl.DataFrame:
    """A line for each answer; ``answers`` has a list for each row."""
    lines = [
        (f"r{row}", place, said)
        for row, all_said in enumerate(answers)
        for place, said in enumerate(all_said)
    ]
    schema = {"id": pl.String, "repeat": pl.Int64, "prediction": pl.String}
    return pl.DataFrame(lines, schema=schema, orient="row").with_columns(target=pl.lit(target))


@FEW
@given(TABLES)
def test_pass_counts_all_choices(answers):
    """Both estimates are the shares of all choices of k answers of a row, as counted one by one."""
    k, frame = 2, make_frame(answers)
    for metric, rule in ((PassAtK(k=k, resamples=2), any), (PassHatK(k=k, resamples=2), all)):
        shares = [
            np.mean([rule(one == "a" for one in some) for some in combinations(row, k)]) for row in answers
        ]
        assert metric(frame)[f"{metric.name}_{k}"].value == pytest.approx(np.mean(shares))


@FEW
@given(TABLES)
def test_majority(answers):
    """The reduced row has the most frequent value that was read; of several, the one that came first."""
    reduced = reduce_rows(make_frame(answers), "majority", Accuracy())
    expected = [
        next(iter(Counter(one for one in row if one is not None).most_common(1)), (None,))[0]
        for row in answers
    ]
    assert reduced["prediction"].to_list() == expected
    assert reduced["id"].to_list() == [f"r{row}" for row in range(len(answers))]


@FEW
@given(TABLES)
def test_best_and_worst(answers):
    """A row is right by ``any`` if one answer is, by ``all`` if all are; F1, which scores no rows, agrees."""
    frame = make_frame(answers)
    for rule, count in (("any", any), ("all", all)):
        right = [count(one == "a" for one in row) for row in answers]
        for metric in (Accuracy(), F1(positive="a")):
            reduced = reduce_rows(frame, rule, metric)
            assert (reduced["prediction"] == "a").fill_null(False).to_list() == right


def test_averages():
    """Mean and median are of the numbers that were read, and ``any`` takes the nearest for an error."""
    frame = make_frame([["1", "2", None], [None] * 3]).with_columns(
        pl.col("prediction").cast(pl.Float64), target=2.0
    )
    for rule in ("mean", "median"):
        assert reduce_rows(frame, rule, None)["prediction"].to_list() == [1.5, None]
    error = MeanAbsoluteError(minimum=0, maximum=5)
    assert reduce_rows(frame, "any", error)["prediction"].to_list() == [2, None]
    assert reduce_rows(frame, "all", error)["prediction"].to_list()[1] is None


@FEW
@given(TABLES)
def test_each_is_the_mean_of_repeats(answers):
    """A score is the mean of those of the repeats, in both readings; n counts rows."""
    frame = make_frame(answers)
    parts = [frame.filter(pl.col("repeat") == place) for place in range(len(answers[0]))]
    scores = measure_each(Accuracy(resamples=2), frame)
    single = [Accuracy(resamples=2)(part) for part in parts]
    assert scores["accuracy"].n == len(answers)
    if frame["prediction"].count():
        values = [one["accuracy"].value or 0.0 for one in single]
        assert scores["accuracy"].value == pytest.approx(np.mean(values))
        read = [one["accuracy_parsed"].value for one in single if one["accuracy_parsed"].value is not None]
        assert scores["accuracy_parsed"].value == pytest.approx(np.mean(read))


def test_the_row_is_the_unit():
    """Repeats that are all the same leave the interval as it is; so does a metric that is any callable."""
    once = [["a"]] * 30 + [["b"]] * 20
    frame, thrice = make_frame(once), make_frame([row * 3 for row in once])
    one, three = Accuracy()(frame)["accuracy"], measure_each(Accuracy(), thrice)["accuracy"]
    assert (three.value, three.n) == (one.value, one.n)
    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=0.02)
    wrapped = over_repeats({"own": lambda rows: Accuracy()(rows)}, thrice)["own"](thrice)["accuracy"]
    assert (wrapped.low, wrapped.high) == pytest.approx((one.low, one.high))
    assert over_repeats({"own": lambda rows: float(rows.height)}, thrice)["own"](thrice) == 50


def test_consistency():
    """Unanimous rows are counted; alpha is that of the repeats as annotators."""
    frame = make_frame([["a", "a"], ["a", "b"], ["b", None], ["b", "b"]])
    scores = Consistency()(frame)
    assert scores["consistency"].value == 0.5
    assert scores["consistency_parsed"].value == pytest.approx(2 / 3)
    wide = pl.DataFrame({"one": ["a", "a", "b", "b"], "other": ["a", "b", None, "b"]})
    expected = KrippendorffAlpha(annotators=["one", "other"])(wide)["alpha"].value
    assert scores["consistency_alpha"].value == pytest.approx(expected)


def test_one_of_one_answer_is_the_accuracy():
    """pass@1 has the interval of the accuracy; of answers of which none was read there is neither."""
    frame = make_frame([["a", "b"], ["a", None], ["b", "b"], ["a", "a"]] * 5)
    expected = measure_each(Accuracy(), frame)["accuracy"]
    assert PassAtK()(frame)["pass_at_1"] == PassHatK()(frame)["pass_hat_1"] == expected
    unread = make_frame([[None, None]] * 3)
    scores = PassAtK(k=[1, 2])(unread) | Consistency()(unread)
    assert {score.value for score in scores.values()} == {None}
    assert {score.reason for score in scores.values()} == {"no answer was read"}
    alone = Consistency()(make_frame([["a", None], [None, "b"]]))
    assert (alone["consistency"].value, alone["consistency"].n) == (0, 2)
    assert alone["consistency_alpha"].reason == "no row has two answers that were read"


def test_variances_are_those_of_an_anova():
    """Both variances follow from SciPy's F test; F1, no mean of rows, has them by pseudo-values."""
    values = np.random.default_rng(0).normal(size=(40, 1)) + np.random.default_rng(1).normal(size=(40, 4))
    found = split_variance(values)
    statistic = f_oneway(*values).statistic
    assert found["repeats"] == pytest.approx(values.var(axis=1, ddof=1).mean())
    assert found["rows"] == pytest.approx((statistic - 1) * found["repeats"] / 4)
    frame = make_frame([["a", "b"], ["a", "a"], ["b", "b"], ["b", "b"]] * 5)
    spreads, _ = find_spreads({"accuracy": Accuracy(), "f1": F1(positive="a")}, frame)
    assert spreads["accuracy"] == pytest.approx(
        {"rows": split_variance(np.array([[1, 0], [1, 1], [0, 0], [0, 0]] * 5))["rows"], "repeats": 0.125}
    )
    assert set(spreads) == {"accuracy", "f1"}


SPREAD = {
    "rows": Accuracy(),
    "group": Accuracy(group="document"),
    "per": Accuracy(per="document"),
    "pairs": Pairwise(),
    "pairs in groups": Pairwise(group="document"),
}


@pytest.mark.parametrize("name", SPREAD)
def test_both_variances_give_the_width_of_the_interval(name):
    """(rows + repeats / k) / n is the squared standard error, also of groups and pairs."""
    random, metric, k, n = np.random.default_rng(3), SPREAD[name], 3, 240
    ease = np.clip(np.repeat(random.random(n // 8), 8) + random.normal(0, 0.1, n), 0, 1)
    right = random.random((n, k)) < ease[:, None]
    frame = make_frame([["a" if one else "b" for one in row] for row in right])
    place = pl.col("id").str.slice(1).cast(pl.Int64)
    frame = frame.with_columns(
        document=place // 8,
        pair=place // 2,
        order=pl.when(place % 2 == 0).then(pl.lit("ab")).otherwise(pl.lit("ba")),
    )
    if "pairs" in name:  # the same output wins in both orders, which show it in different places
        swap = pl.col("order") == "ba"
        frame = frame.with_columns(
            pl.when(swap).then(pl.col(side).replace({"a": "b", "b": "a"})).otherwise(side).alias(side)
            for side in ("prediction", "target")
        )
    spreads, reasons = find_spreads({metric.name: metric}, frame)
    score, spread = measure_each(metric, frame)[metric.name], spreads[metric.name]
    error = ((spread["rows"] + spread["repeats"] / k) / score.n) ** 0.5
    assert (score.high - score.low) / 2 / 1.96 == pytest.approx(error, rel=0.12)
    assert not reasons


def test_why_a_variance_is_not_known():
    """A callable, an unread answer without a value, and a group without the score are told apart."""
    frame = make_frame([["a", None], ["a", "b"]]).with_columns(document=pl.col("id"))
    numbers = frame.with_columns(pl.col("prediction").replace_strict({"a": 1, "b": 2}), target=1)
    metrics = {
        "own": lambda rows: float(rows.height),
        "error": MeanAbsoluteError(),
        "recall": Recall(positive=2, per="document"),
        "pass_at_k": PassAtK(),
    }
    spreads, reasons = find_spreads(metrics, numbers)
    assert (spreads, [*reasons]) == ({}, ["own", "error", "recall"])
    assert reasons["recall"] == "it is not defined in each document"


def test_a_single_verdict():
    """Its variance is the sum of that between rows, answers to a row, and verdicts on an answer."""
    random = np.random.default_rng(5)
    rows, answers, judge = (
        random.normal(0, size, shape)
        for size, shape in ((3, (4000, 1, 1)), (2, (4000, 3, 1)), (1, (4000, 3, 2)))
    )
    found = split_verdicts(rows + answers + judge)
    assert found == pytest.approx({"judge": 1, "verdict": 14}, rel=0.05)
    assert split_verdicts((rows + judge)[:, :1])["verdict"] == pytest.approx(10, rel=0.05)


def to_series(columns):
    return {name: pl.Series(values) for name, values in columns.items()}


def test_a_panel_is_no_judge_that_repeats():
    """Only a judge that is asked again has a share of the variance, alone or as a member of a panel."""
    said = [["a", "b"], ["a", "a"], ["b", "b"], ["b", "b"]]
    columns = {"id": ["1", "2", "3", "4"], "verdict": ["a", "a", "b", "b"], "judge_verdicts": said}
    alone, panel = pl.DataFrame(columns), {"judge_short_verdict": columns["verdict"]}
    share = {
        name: Accuracy(prediction=name, expected="a", name=name)
        for name in ("verdict", "judge_short_verdict")
    }
    one = find_spreads({"share": share["verdict"]}, alone)[0]["share"]
    assert one["judge"] == pytest.approx(1 / 8)
    assert find_spreads(share, alone.with_columns(**to_series(panel)))[0] == {}
    again = alone.with_columns(**to_series(panel | {"judge_short_verdicts": said}))
    assert find_spreads(share, again)[0]["judge_short_verdict"] == one


def test_a_score_without_a_value_has_no_variance():
    """Nothing was read, so that every row is as wrong as any other: this says nothing about rows."""
    frame = make_frame([[None, None], [None, None]])
    scores = measure_each(Accuracy(), frame)
    assert find_spreads({"accuracy": Accuracy()}, frame, scores) == ({}, {"accuracy": "no answer was read"})


def test_runs_with_repeats_are_compared():
    """Runs are compared by their means over repeats, also with one that was asked once."""
    better = make_frame([["a", "a"]] * 20 + [["a", "b"]] * 10)
    worse = make_frame([["b", "a"]] * 20 + [["b", "b"]] * 10)
    found = compare(Accuracy(), better, worse)["accuracy"]
    assert (found.n, found.test, found.difference) == (30, "permutation", pytest.approx(0.5))
    assert found.p < 0.01
    once = compare(Accuracy(), better, worse.filter(pl.col("repeat") == 0).drop("repeat"))["accuracy"]
    assert once.difference == pytest.approx(5 / 6)


@pytest.mark.parametrize("settings", [{"k": 0}, {"k": [1, 1.5]}, {"k": []}, {"metric": MeanAbsoluteError()}])
def test_settings_are_checked(settings):
    """k is whole numbers from 1, and the metric one that says right or wrong."""
    with pytest.raises(ConfigError):
        PassAtK(**settings)


def test_probabilities_have_no_majority():
    """They can be averaged; the best one is known only where a metric scores single rows."""
    frame = pl.DataFrame({"id": ["a"], "target": ["yes"], "probability": [0.5]})
    area, brier = {"auc": RocAuc(positive="yes")}, {"brier": Brier(positive="yes")}
    for metric, rule in ((area, "majority"), (area, "any"), (brier, "majority")):
        with pytest.raises(ConfigError, match="reads probabilities"):
            check_repeats(metric, frame, rule, 2)
    for metric, rule in ((area, "each"), (area, "mean"), (brier, "any")):
        check_repeats(metric, frame, rule, 2)
