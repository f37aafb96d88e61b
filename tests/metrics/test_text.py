"""Metrics over text: every script, numbers, and several acceptable answers."""

from __future__ import annotations

import string

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.tokenizers import DefaultTokenizer

from runner import metrics
from runner.core.errors import ConfigError, DataError
from runner.metrics.text import normalise, normalise_squad, split_words, token_f1

TEXTS = [
    "Всё хорошо.",
    "一切都很好。",
    "كُلُّ شَيْءٍ عَلَى مَا يُرَامُ",
    "Όλα καλά!",
    "सब ठीक है",
    "ทุกอย่างดี",
    "모두 좋다",
    "👍",
    "?!",
]


def compare(metric: metrics.Metric, text: str, gold: str | list[str]) -> float | None:
    frame = pl.DataFrame({"prediction": [text], "target": [gold]})
    return metric(frame)[metric.name].value


@pytest.mark.parametrize("text", TEXTS)
def test_equal_texts_of_any_script_are_equal(text: str) -> None:
    """Also texts without a letter; a text of another script shares nothing."""
    for metric in (metrics.RougeL(), metrics.RougeL(stem=True), metrics.TokenF1(), metrics.ExactMatch()):
        assert compare(metric, text, text) == 1.0
        assert compare(metric, text, "Gut") == 0.0


def test_words_of_scripts_without_spaces_are_their_letters() -> None:
    """With their marks. Part of a Chinese answer scores in part; punctuation of any script does not count."""
    assert split_words("我爱北京。") == ["我", "爱", "北", "京"]
    assert split_words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert split_words("วัน") == ["วั", "น"]
    assert token_f1("我爱北京！", "北京。") == pytest.approx(2 / 3)
    assert compare(metrics.RougeL(), "北京", "我爱北京") == pytest.approx(2 / 3)
    assert compare(metrics.ExactMatch(), "«Привет», мир…", "привет мир") == 1.0


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("1.5", "15"),
        ("-5", "5"),
        ("8,5", "85"),
        ("12:30", "1230"),
        ("1/2", "12"),
        ("C++", "C"),
        ("A+", "A-"),
        ("+", "-"),
        ("2024-01-02", "20240102"),
        ("<5", "5"),
        ("C#", "C"),
        ("सही", "सहा"),
        ("A", "the"),
        ("!", "?"),
    ],
)
def test_values_that_marks_tell_apart_do_not_match(text: str, gold: str) -> None:
    """SQuAD's rule takes the marks away, and then they would be equal."""
    assert compare(metrics.ExactMatch(), text, gold) == 0.0


@pytest.mark.parametrize(
    "same", [("1,000", "1000"), ("Paris.", "the Paris"), ("don’t", "don't"), ("**A**", "a")]
)
def test_marks_that_do_not_matter(same: tuple[str, str]) -> None:
    """Thousands, mark-up, case, articles, the forms of an apostrophe."""
    assert compare(metrics.ExactMatch(), *same) == 1.0


def test_the_original_rules_are_options() -> None:
    """The tokenizer of rouge-score knows a to z only; SQuAD's rule takes 1.5 for 15."""
    assert compare(metrics.RougeL(tokenizer="rouge_score"), "привет", "привет") == 0.0
    assert compare(metrics.ExactMatch(normaliser="squad"), "1.5", "15") == 1.0
    with pytest.raises(ConfigError, match=r"tokenizer 'rouge'.*did you mean 'rouge_score'"):
        metrics.RougeL(tokenizer="rouge")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"normaliser 'squat'.*did you mean 'squad'"):
        metrics.TokenF1(normaliser="squat")  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from(string.printable), max_size=30))
def test_in_ascii_the_words_are_the_original_ones(text: str) -> None:
    """Those of rouge-score, and those of SQuAD's script where no number or trailing mark is in the text."""
    original = DefaultTokenizer(use_stemmer=False).tokenize(text)
    assert split_words(text) == (original or text.lower().split())
    if not any(mark in text for mark in "0123456789+#-<>") and normalise_squad(text):
        assert normalise(text) == normalise_squad(text)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_text_metrics_take_any_text(text: str, gold: str) -> None:
    """A score from 0 to 1, and 1 for equal texts."""
    for metric in (metrics.RougeL(), metrics.TokenF1(), metrics.ExactMatch()):
        score = metric.get_similarity()
        assert 0 <= score(text, gold) <= 1
        assert score(text, text) == 1.0 or not text.strip()


def test_the_best_of_several_gold_answers_counts_for_accuracy() -> None:
    """Numbers, too."""
    rows = pl.DataFrame({"target": [["a", "b"], ["c"], ["a"]], "prediction": ["b", "a", None]})
    scores = metrics.Accuracy()(rows)
    assert scores["accuracy"].value == pytest.approx(1 / 3)
    assert metrics.score_rows({"mine": metrics.Accuracy()}, rows)["mine"].to_list() == [1.0, 0.0, None]
    numbers = pl.DataFrame({"target": [[1, 2], [3]], "prediction": [2.0, 3.5]})
    assert metrics.Accuracy()(numbers)["accuracy"].value == 0.5


@pytest.mark.parametrize(
    "metric", [metrics.CohenKappa(), metrics.F1(average="macro"), metrics.ExactAgreement()]
)
def test_a_metric_that_needs_one_gold_value_refuses_a_list(metric: metrics.Metric) -> None:
    """Also while no row has an answer, so before the first call."""
    rows = pl.DataFrame({"target": [["a", "b"], ["c"]], "prediction": [None, None]})
    with pytest.raises(DataError, match="'target' has several values per row"):
        metric(rows)


@pytest.mark.parametrize(
    ("one", "other"), [("p<0.05", "p>0.05"), ("p < 0.05", "p > 0.05"), (".5", "5"), ("-.5", ".5")]
)
def test_marks_that_tell_values_apart(one: str, other: str) -> None:
    """A comparison sign and a point before the first digit are part of a value."""
    assert normalise(one) != normalise(other)


def test_wide_letters() -> None:
    """Chinese and Japanese texts may write Latin letters and digits wide."""
    assert normalise("２０ＫＭ。") == normalise("20km") == "20km"
    assert split_words("ＰＣ　２台") == split_words("PC 2台")
