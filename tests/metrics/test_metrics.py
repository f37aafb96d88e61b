"""Metrics over labels, ratings and text: values against scikit-learn, the two readings, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import sklearn.metrics as sk

from runner import metrics
from runner.core.errors import ConfigError, DataError
from runner.core.types import Score


def frame(target: list[Any], prediction: list[Any], **more: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"target": target, "prediction": prediction, **more})


@pytest.fixture
def many() -> pl.DataFrame:
    """400 rows of three unequal classes, a tenth unparsed, in documents of 8 rows."""
    random = np.random.default_rng(3)
    gold = random.choice(["a", "b", "c"], 400, p=[0.6, 0.3, 0.1])
    said = np.where(random.random(400) < 0.6, gold, random.choice(["a", "b", "d"], 400))
    prediction = [
        None if lost else str(label) for lost, label in zip(random.random(400) < 0.1, said, strict=True)
    ]
    return frame(gold.tolist(), prediction, document=[row // 8 for row in range(400)])


def parsed_rows(rows: pl.DataFrame) -> tuple[list[str], list[str]]:
    kept = rows.drop_nulls("prediction")
    return kept["target"].to_list(), kept["prediction"].to_list()


def of_sklearn(name: str, gold: list[str], said: list[str], labels: list[str], **options: Any) -> float:
    """A scikit-learn score over the named labels only; the warning about the others is expected."""
    return float(np.mean(getattr(sk, name)(gold, said, labels=labels, zero_division=0.0, **options)))


CASES = [
    (metrics.BalancedAccuracy(), "recall_score", ["a", "b", "c"], {"average": "macro"}),
    (metrics.Precision(positive="b"), "precision_score", ["b"], {"average": None}),
    (metrics.Recall(positive="b"), "recall_score", ["b"], {"average": None}),
    (metrics.F1(positive="b"), "f1_score", ["b"], {"average": None}),
    (metrics.Precision(average="macro"), "precision_score", ["a", "b", "c", "d"], {"average": "macro"}),
    (metrics.Recall(average="weighted"), "recall_score", ["a", "b", "c", "d"], {"average": "weighted"}),
    (metrics.F1(average="macro"), "f1_score", ["a", "b", "c", "d"], {"average": "macro"}),
    (metrics.F1(average="weighted"), "f1_score", ["a", "b", "c", "d"], {"average": "weighted"}),
]


@pytest.mark.parametrize(("metric", "name", "labels", "options"), CASES, ids=lambda v: getattr(v, "name", ""))
def test_values_are_those_of_scikit_learn(
    many: pl.DataFrame, metric: metrics.Metric, name: str, labels: list[str], options: dict[str, Any]
) -> None:
    """Over all rows with unparsed ones as a class of nobody's, and over the parsed rows alone."""
    scores = metric(many)
    gold, said = many["target"].to_list(), many["prediction"].fill_null("unparsed").to_list()
    assert scores[metric.name].value == pytest.approx(of_sklearn(name, gold, said, labels, **options))
    gold, said = parsed_rows(many)
    assert scores[f"{metric.name}_parsed"].value == pytest.approx(
        of_sklearn(name, gold, said, labels, **options)
    )


@pytest.mark.parametrize("metric", [case[0] for case in CASES], ids=lambda metric: metric.name)
def test_resampled_formula_is_the_formula_of_the_value(many: pl.DataFrame, metric: metrics.Metric) -> None:
    """The vectorised formula behind the interval gives the value itself on the rows as they are."""
    cells = metric.cells(metric.pairs(many)).with_columns(n=1.0)
    counts = cells["n"].to_numpy()
    assert metric.values(cells.drop("n"), counts[None, :])[0] == pytest.approx(metric.value(cells, counts))


def test_unparsed_is_wrong_when_strict_and_left_out_when_parsed() -> None:
    """Accuracy 2 of 4 strict, 2 of 3 parsed; each with its own n."""
    scores = metrics.Accuracy()(frame(["a", "a", "b", "b"], ["a", "b", "b", None]))
    assert (scores["accuracy"].value, scores["accuracy"].n) == (0.5, 4)
    assert scores["accuracy_parsed"].value == pytest.approx(2 / 3)
    assert scores["accuracy_parsed"].n == 3


def test_an_unparsed_row_is_never_a_true_negative() -> None:
    """A lost positive lowers recall; a lost negative neither helps nor hurts precision."""
    rows = frame(["yes", "yes", "no", "no"], ["yes", None, None, "no"])
    assert metrics.Recall(positive="yes")(rows)["recall"].value == 0.5
    assert metrics.Precision(positive="yes")(rows)["precision"].value == 1.0
    assert metrics.F1(positive="yes")(rows)["f1"].value == pytest.approx(2 / 3)


def test_undefined_values_are_none() -> None:
    """No predicted positives, no positives at all, no parsed rows, no rows: None, never 0."""
    rows = frame(["yes", "no"], ["no", None])
    assert metrics.Precision(positive="yes")(rows)["precision"] == Score(None, n=2)
    assert metrics.F1(positive="yes")(frame(["no"], ["no"]))["f1"].value is None
    assert metrics.Accuracy()(frame(["a"], [None]))["accuracy_parsed"] == Score(None, n=0)
    assert metrics.Accuracy()(frame([], []))["accuracy"] == Score(None, n=0)


def test_f1_needs_to_know_the_positive_label() -> None:
    """Binary without ``positive``, or an unknown average, is refused when the config is built."""
    with pytest.raises(ConfigError, match="positive must name the positive label"):
        metrics.F1()
    with pytest.raises(ConfigError, match="did you mean 'macro'"):
        metrics.F1(average="marco")  # type: ignore[arg-type]


def test_a_positive_label_that_never_occurs_is_explained() -> None:
    """A null has its reason."""
    score = metrics.F1(positive="consistnt")(frame(["consistent"], ["consistent"]))["f1"]
    assert (score.value, score.reason) == (None, "no target and no prediction is 'consistnt'")


def test_share_counts_verdicts() -> None:
    """The share of rows whose column has the value; an unparsed verdict has not."""
    rows = pl.DataFrame({"verdict": ["correct", "incorrect", None, "correct"]})
    scores = metrics.Share(column="verdict", value="correct", name="judged")(rows)
    assert scores["judged"].value == 0.5
    assert scores["judged_parsed"].value == pytest.approx(2 / 3)


def test_mean_absolute_error_charges_the_worst_error_for_unparsed() -> None:
    """On a scale from 1 to 5 a lost row with target 2 costs 3; without a scale there is no strict value."""
    rows = frame([2, 4, 5], [None, 3, 5])
    scores = metrics.MeanAbsoluteError(minimum=1, maximum=5)(rows)
    assert scores["mean_absolute_error"].value == pytest.approx(4 / 3)
    assert scores["mean_absolute_error_parsed"].value == 0.5
    assert metrics.MeanAbsoluteError()(rows)["mean_absolute_error"] == Score(None, n=3)
    assert metrics.MeanAbsoluteError()(rows.drop_nulls())["mean_absolute_error"].value == 0.5


@pytest.mark.parametrize(("tolerance", "value"), [(0, 0.25), (1, 0.5), (2, 0.75)])
def test_agreement_within_a_tolerance(tolerance: float, value: float) -> None:
    """Exact, adjacent and wider agreement; unparsed never agrees."""
    rows = frame([1, 2, 3, 4], [1, 3, 5, None])
    metric = metrics.ExactAgreement(tolerance=tolerance, name="agreement")
    assert metric(rows)["agreement"].value == value


@pytest.mark.parametrize("options", [{"minimum": 1}, {"minimum": 5, "maximum": 1}])
def test_half_a_scale_is_refused(options: dict[str, Any]) -> None:
    """A scale needs both ends, in order."""
    with pytest.raises(ConfigError, match="minimum"):
        metrics.MeanAbsoluteError(**options)


def test_ratings_as_text_are_refused() -> None:
    """A rating that was not parsed to a number cannot have a distance."""
    with pytest.raises(DataError, match="String, not numbers"):
        metrics.MeanAbsoluteError()(frame(["1"], ["2"]))


def test_exact_match_normalises_as_squad_does() -> None:
    """Articles, case and punctuation do not matter, unless asked for."""
    rows = frame(["The Eiffel Tower", "Rome"], ["eiffel tower.", "Paris"])
    assert metrics.ExactMatch()(rows)["exact_match"].value == 0.5
    assert metrics.ExactMatch(normalised=False)(rows)["exact_match"].value == 0.0


@pytest.mark.parametrize(
    ("text", "gold", "value"),
    [
        ("the cat sat", "a cat sat down", 0.8),
        ("cat cat", "cat", 2 / 3),
        ("the", "a", 1.0),
        ("the", "cat", 0.0),
    ],
)
def test_token_f1_counts_shared_words(text: str, gold: str, value: float) -> None:
    """Repeats count as often as both have them; two texts without words are equal."""
    assert metrics.TokenF1()(frame([gold], [text]))["token_f1"].value == pytest.approx(value)


def test_the_best_of_several_gold_answers_counts() -> None:
    """A list of acceptable answers is scored by its best."""
    rows = frame([["Rome", "Roma"], ["Paris"]], ["roma", None])
    assert metrics.ExactMatch()(rows)["exact_match"].value == 0.5
    assert metrics.ExactMatch()(rows)["exact_match_parsed"].value == 1.0


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    """Four shared words in order, of 5 and 6: F = 2·4 / 11."""
    rows = frame(["the cat sat on the mat"], ["the cat was on mat"])
    assert metrics.RougeL()(rows)["rouge_l"].value == pytest.approx(8 / 11)


def test_confusion_has_a_column_for_the_unparsed() -> None:
    """Rows are targets, columns predictions, the last one the unparsed."""
    matrix = metrics.confusion(frame(["a", "a", "b", "b"], ["a", "c", None, None]))
    assert matrix.labels == ["a", "b", "c"]
    assert matrix.columns == ["a", "b", "c", "(unparsed)"]
    assert matrix.counts.tolist() == [[1, 0, 1, 0], [0, 0, 0, 2], [0, 0, 0, 0]]


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 200 samples from a known rate, about 95 % of the intervals hold it."""
    random = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        right = random.random(150) < 0.7
        score = metrics.Accuracy(seed=seed)(frame([1] * 150, right.astype(int).tolist()))["accuracy"]
        held += bool(score.low is not None and score.high is not None and score.low <= 0.7 <= score.high)
    assert 180 <= held <= 198


def test_interval_by_group_is_wider_where_rows_of_a_group_are_alike() -> None:
    """20 documents of 20 equal rows tell as much as 20 rows do."""
    right = (np.random.default_rng(1).random(20) < 0.5).astype(int).tolist()
    rows = frame([1] * 400, np.repeat(right, 20).tolist(), document=np.repeat(range(20), 20).tolist())
    by_row = metrics.Accuracy()(rows)["accuracy"]
    by_document = metrics.Accuracy(group="document")(rows)["accuracy"]
    single = metrics.Accuracy()(frame([1] * 20, right))["accuracy"]
    assert width(by_document) > 3 * width(by_row)
    assert width(by_document) == pytest.approx(width(single), rel=0.15)


def width(score: Score) -> float:
    assert score.low is not None
    assert score.high is not None
    return score.high - score.low


def test_intervals_repeat_and_do_not_depend_on_the_order_of_rows(many: pl.DataFrame) -> None:
    """The same rows in any order and the same seed give the same interval; another seed another one."""
    metric = metrics.F1(average="macro")
    assert metric(many) == metric(many.reverse())
    assert metric(many) != metrics.F1(average="macro", seed=1)(many)


def test_all_right_still_has_an_uncertainty() -> None:
    """20 of 20: the exact bounds of Clopper and Pearson, 0.025 ** (1 / 20) to 1; by group from the groups."""
    rows = frame([1] * 20, [1] * 20, document=[row // 4 for row in range(20)])
    assert metrics.Accuracy()(rows)["accuracy"].low == pytest.approx(0.025 ** (1 / 20))
    assert metrics.Accuracy(group="document")(rows)["accuracy"].low == pytest.approx(0.025 ** (1 / 5))
    assert metrics.F1(positive=1)(rows)["f1"] == Score(1.0, None, None, n=20)


def test_as_many_values_as_rows_resample_as_rows_do() -> None:
    """The path for distinct scores gives the textbook interval of a mean."""
    scores = np.random.default_rng(2).random(2000)
    score = metrics.MeanAbsoluteError()(frame([0.0] * 2000, scores.tolist()))["mean_absolute_error"]
    assert width(score) == pytest.approx(2 * 1.96 * scores.std() / np.sqrt(2000), rel=0.1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pl.DataFrame({"predicton": [1], "target": [1]}), "did you mean 'predicton'"),
        (frame([1, None], [1, 1], id=["r1", "r2"]), r"'target' has no value in 1 row \(r2\)"),
        (frame(["1"], [1]), "'prediction' is Int64 and 'target' is String"),
    ],
)
def test_unusable_columns_are_errors(rows: pl.DataFrame, message: str) -> None:
    """A missing column, a missing gold value, or types that can never agree."""
    with pytest.raises(DataError, match=message):
        metrics.Accuracy()(rows)


def test_whole_numbers_and_fractions_compare() -> None:
    """5 and 5.0 are one rating; a column without any prediction takes the target's type."""
    assert metrics.Accuracy()(frame([5.0], [5]))["accuracy"].value == 1.0
    assert metrics.Accuracy()(frame(["a"], [None]))["accuracy"].n == 1


def test_scores_carry_the_name_from_the_config() -> None:
    """The key in the config replaces the metric's own name; a user's metric may be a plain function."""
    rows = frame([1, 2], [1, 1])
    scores = metrics.evaluate({"right": metrics.Accuracy(), "rows": lambda frame: frame.height}, rows)
    assert {name: score.value for name, score in scores.items()} == {
        "right": 0.5,
        "right_parsed": 0.5,
        "rows": 2.0,
    }


def test_two_metrics_cannot_share_a_name() -> None:
    """A score never silently replaces another."""
    plain = lambda frame: {"accuracy": Score(1.0)}  # noqa: E731
    with pytest.raises(ConfigError, match="'accuracy'"):
        metrics.evaluate({"accuracy": metrics.Accuracy(), "mine": plain}, frame([1], [1]))


def test_a_value_that_resampling_pushes_aside_has_no_interval() -> None:
    """Macro F1 over many rare classes falls in every resample, which says nothing about its value."""
    random = np.random.default_rng(4)
    gold = random.integers(0, 300, 900)
    said = np.where(random.random(900) < 0.5, gold, random.integers(0, 300, 900))
    score = metrics.F1(average="macro")(frame(gold.tolist(), said.tolist()))["f1_macro"]
    assert (score.low, score.high) == (None, None)
    assert score.value == pytest.approx(0.4547, abs=1e-4)


def test_without_any_answer_read_nothing_is_scored() -> None:
    """Not 0.000 but null with its reason, in both readings and for every metric."""
    rows = frame([1, 2, 2], [None] * 3).with_columns(prediction=pl.lit(None, pl.Int64))
    for metric in (metrics.Accuracy(), metrics.F1(average="macro"), metrics.CohenKappa(), metrics.Pearson()):
        for score in metric(rows).values():
            assert (score.value, score.low, score.reason) == (None, None, "no answer was read")
    assert metrics.Accuracy()(rows)["accuracy"].n == 3
    own = {"share": metrics.Share("verdict", "correct"), "accuracy": metrics.Accuracy()}
    scores, _ = metrics.try_all(own, rows.with_columns(verdict=pl.lit(None, pl.String)))
    reasons = {name: score.reason for name, score in scores.items()}
    assert (reasons["share"], reasons["accuracy"]) == ("no verdict was read", "no answer was read")


@pytest.mark.parametrize(
    ("metric", "gold", "said", "reason"),
    [
        (metrics.CohenKappa(), ["a", "a"], ["a", "a"], "every target is 'a'"),
        (metrics.Precision(positive="b"), ["a", "b"], ["a", "a"], "no prediction is 'b'"),
        (metrics.Recall(positive="b"), ["a", "a"], ["a", "b"], "no target is 'b'"),
        (metrics.Pearson(), [1, 2, 3], [2, 2, 2], "every prediction is 2.0"),
        (metrics.Pearson(), [1, 2, 3], [1, 2, None], "set the ends of the scale"),
        (metrics.MeanAbsoluteError(), [1, 2], [1, None], "an answer that was not read has no value"),
        (metrics.Bias(), [1, 2], [1, None], "an answer that was not read has no value"),
    ],
)
def test_an_undefined_score_says_why(metric: metrics.Metric, gold: Any, said: Any, reason: str) -> None:
    """The reason is that of the strict score."""
    score = metric(frame(gold, said))[metric.name]
    assert score.value is None
    assert reason in score.reason


def test_kappa_of_very_many_labels_needs_no_matrix_of_them() -> None:
    """Above 500 labels the value is computed without scikit-learn, and is the same."""
    random = np.random.default_rng(4)
    gold = random.permutation(600)
    said = np.where(random.random(600) < 0.5, gold, random.integers(0, 600, 600))
    kappa = metrics.CohenKappa()(frame(gold.tolist(), said.tolist()))["kappa"].value
    assert kappa == pytest.approx(sk.cohen_kappa_score(gold, said))


def test_a_score_knows_its_ends():
    """A share is from 0 to 1, an error from 0, a correlation from -1 to 1."""
    frame = pl.DataFrame({"id": ["1", "2", "3"], "prediction": [1, 2, 2], "target": [1, 2, 3]})
    known = [metrics.Accuracy(), metrics.MeanAbsoluteError(), metrics.Pearson(), metrics.F1(average="macro")]
    scores, _ = metrics.try_all({each.name: each for each in known}, frame)
    ends = {name: (one.least, one.most) for name, one in scores.items() if not name.endswith("_parsed")}
    assert list(ends.values()) == [(0.0, 1.0), (0.0, None), (-1.0, 1.0), (0.0, 1.0)]
