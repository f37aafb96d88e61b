"""Parsers of cases, parsers after cleaning, and parsers of several fields."""

from __future__ import annotations

import polars as pl
import pytest

from runner.core.errors import ConfigError, DataError
from runner.parse import (
    Cases,
    Clean,
    Json,
    Label,
    Multi,
    Number,
    Regex,
    check_parser,
    parse_target,
    read_fields,
)

ARENA = Cases(
    {
        "A": [r"\[\[A>>B\]\]", r"\[\[A>B\]\]"],
        "tie": r"\[\[A=B\]\]",
        "B": [r"\[\[B>A\]\]", r"\[\[B>>A\]\]"],
    }
)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("My final verdict is: [[A>B]]", "A"),
        ("[[A>>B]]", "A"),
        ("**[[A=B]]**", "tie"),
        ("First I thought [[A>B]]. Now: [[A=B]]", None),
        ("[[A>B]], to be clear [[A>>B]]", "A"),
        ("[[A≥B]]", None),
        ("A > B", None),
        ("［［A>B］］", None),
        ("", None),
    ],
)
def test_a_case_is_found_by_its_patterns_only(reply, value):
    """Several patterns of one case agree; two different cases are no answer."""
    assert ARENA(reply) == value


def test_a_match_within_a_longer_one_does_not_count():
    """ "incorrect" names one case, although "correct" stands in it; a part of a word names none."""
    parser = Cases({1: "correct", 0: ["incorrect", "not correct"]})
    assert [parser(text) for text in ("It is incorrect.", "not correct", "correct")] == [0, 0, 1]
    assert parser("correct and incorrect") is None
    assert [parser(text) for text in ("Incorrect.", "correctly", "(correct)", "correct2")] == [
        None,
        None,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("pick", "value"), [("listed", "A"), ("first", "B"), ("last", "tie"), ("only", None)]
)
def test_which_of_several_cases_counts_is_an_option(pick, value):
    """By default none of them does."""
    parser = Cases({"A": "good a", "B": "good b", "tie": "same"}, pick=pick)
    assert parser("good b, good a, same") == value
    assert parser("same") == "tie"


@pytest.mark.parametrize(
    "given",
    [{}, {"A": "("}, {"A": ""}, {"A": []}, {"A": "a*"}, {"A": "a", 1: "b"}, {True: "a"}, {"A": 5}, ["a"]],
)
def test_wrong_cases_are_refused(given):
    """A pattern that matches nothing at all would be found in every reply."""
    with pytest.raises(ConfigError, match="parser Cases: "):
        Cases(given)


def test_a_gold_value_is_a_case_by_its_name():
    """The target of a row is the case, not a text in which the pattern is found."""
    assert parse_target(ARENA, pl.Series("target", ["A", "tie"])).to_list() == ["A", "tie"]
    with pytest.raises(DataError, match="'A>B' cannot be read by"):
        parse_target(ARENA, pl.Series("target", ["A>B"]))


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("A>B", "A>B"),
        ("A > B", "A>B"),
        ("Answer: **A = B**", "A=B"),
        ("<answer>A > B</answer>", "A>B"),
        ("[[B>A]]", "B>A"),
        ("A>>B", None),
        ("A>=B", None),
        ("A≥B", None),
        ("A>B>C", None),
        ("C > A > B", None),
        ("not A>B", None),
        ("A>B or A=B", None),
    ],
)
def test_labels_of_comparisons_are_told_apart(reply, value):
    """Spaces around a sign do not matter, the sign does."""
    assert Label(["A>B", "A=B", "B>A"])(reply) == value


def test_a_reply_is_cut_and_changed_before_it_is_read():
    """The place that was read is that in the reply as it was."""
    parser = Clean(
        Label(["a", "b"]), after="answer is", before="\n", replace={"(": "((", "No. ": ""}, lower=True
    )
    reply = "İt is (B)? No. So the answer is No. (A).\nThe answer: B"
    found = parser.read(reply)
    assert found.value == "a"
    assert reply[found.start : found.end] == "A"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, None),
        ({"pick": "first"}, "A"),
        ({"pick": "last"}, "B"),
        ({"before": "\n", "pick": "first"}, "A"),
    ],
)
def test_an_answer_that_is_given_twice_must_be_the_same(options, value):
    """Unless the options say which counts."""
    parser = Clean(Label(["A", "B"], pick="first"), after="answer is ", **options)
    assert parser("The answer is A.\nThe answer is B.") == value
    assert parser("The answer is A.\nThe answer is A.") == "A"
    assert parser("A") is None


def test_a_reply_without_the_text_may_be_kept():
    """As the scripts of many papers do."""
    assert Clean(Label(["A", "B"]), after="answer is ", required=False)("A") == "A"


def test_a_pattern_is_replaced_with_its_groups():
    """As with re.sub, and the place is that of the whole match."""
    found = Clean(Number(maximum=5), replace_pattern={r"(\d) stars": r"Rating: \1"}).read("I give 4 stars")
    assert (found.value, found.start, found.end) == (4.0, 7, 14)


@pytest.mark.parametrize(
    "given",
    [
        {"after": ""},
        {"before": 5},
        {"replace": ["a"]},
        {"replace": {"": "x"}},
        {"replace": {"a": None}},
        {"replace_pattern": {"(": ""}},
        {"replace_pattern": {"a": r"\1"}},
        {"pick": "lst"},
    ],
)
def test_wrong_cleaning_is_refused(given):
    """Before any reply."""
    with pytest.raises(ConfigError, match="parser Clean: "):
        Clean(**given)


FIELDS = Multi(
    {
        "winner": Json("winner", then=Label(["A", "B"])),
        "score": Json("scores.a", then=Number(maximum=5)),
    }
)


def test_each_field_has_a_column_and_its_own_nulls():
    """A field that cannot be read says why, and the others stay."""
    texts = pl.Series(['{"winner": "A", "scores": {"a": 4}}', '{"winner": "B", "scores": {}}', None])
    winner, score = read_fields(FIELDS, texts, None, "prompt.parser", [], "prediction")
    assert winner.values.name == "prediction_winner"
    assert winner.values.to_list() == ["A", "B", None]
    assert score.values.to_list() == [4.0, None, None]
    assert score.read[1] == "no object has a field 'scores.a'"
    with pytest.raises(DataError, match="'prediction_score', which the rows have"):
        read_fields(FIELDS, texts, None, "prompt.parser", ["prediction_score"], "prediction")


def test_a_reply_may_be_cleaned_before_its_fields_are_read():
    """Every field reads the cleaned reply."""
    parser = Clean(FIELDS, after="JSON:")
    assert {
        name: each('{} JSON: {"winner": "A", "scores": {"a": 1}}') for name, each in parser.fields.items()
    } == {
        "winner": "A",
        "score": 1.0,
    }
    assert parse_target(parser, pl.Series("target", ["A"])).to_list() == ["A"]


def test_fields_inside_another_parser_are_refused():
    """They would be lost."""
    with pytest.raises(ConfigError, match="Multi inside Regex would lose its fields"):
        check_parser(Regex("(.*)", then=FIELDS), "prompt.parser")
    check_parser(Clean(FIELDS), "prompt.parser")


@pytest.mark.parametrize(
    "given",
    [{}, {"a b": Number()}, {"a": None}, {"a": FIELDS}],
)
def test_wrong_fields_are_refused(given):
    """A name must be part of a column's name."""
    with pytest.raises(ConfigError, match="parser Multi: "):
        Multi(given)
