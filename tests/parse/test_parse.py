"""Parsers: what they read, and above all what they refuse to read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from runner import parse
from runner.config.schema import ShotChoice
from runner.core.errors import ConfigError, DataError
from runner.parse import Json, Label, Number, Regex, Text, apply, describe, parse_target, read_column


def test_text_strips_and_takes_an_empty_reply_for_none() -> None:
    """A reply of white space is no answer."""
    assert Text()("  Rome \n") == "Rome"
    assert Text()(" \n ") is None


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("5: Excellent response", 5),
        ("5. Covers all points", 5),
        ("Rating: 4", 4),
        ("**Rating:** 3 because 2 facts are wrong", 3),
        ("4/5", 4),
        ("I would say 4 out of 5", 4),
        ("Rating (1-5): 4", 4),
        ("On a scale of 1 to 5, I give 4", 4),
        ("1. Clear. 2. Short. Score: 4", 4),
        ('{"rating": 4}', 4),
        ("Rating: [[4]]", 4),
        ("5\n\n5", 5),
        ("GPT4 earns a 2", 2),
        ("4.0", 4),
    ],
)
def test_number_reads_a_clear_rating(reply: str, value: int) -> None:
    """The only, the leading or the marked number counts; mentions of the scale do not."""
    assert Number(minimum=1, maximum=5)(reply) == value


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "five",
        "7",
        "0",
        "-3",
        "4.5",
        "3-4",
        "4 or 5",
        "4/10",
        "3 and 4",
        "5: good. Score: 3",
        "of 3 or 4 points",
    ],
)
def test_number_gives_none_where_the_rating_is_in_doubt(reply: str) -> None:
    """Out of range, a fraction, a range, or several numbers: unparsed, never rounded, clipped or guessed."""
    assert Number(minimum=1, maximum=5)(reply) is None


def test_number_reads_fractions_thousands_and_exponents_where_wanted() -> None:
    """Without ``integer`` any number is read as it is written."""
    read = Number(integer=False)
    assert [read("1,234.5"), read("2e3"), read("about −0.5"), read("1/2")] == [1234.5, 2000.0, -0.5, None]
    assert read("1e999") is None


def test_number_takes_only_declared_choices() -> None:
    """On a scale of 1, 3 and 5 a 4 is not a rating."""
    read = Number(choices=[1, 3, 5])
    assert [read("3"), read("4")] == [3, None]


def test_number_refuses_an_impossible_scale() -> None:
    """A scale whose minimum is above its maximum is a config error."""
    with pytest.raises(ConfigError, match="minimum 5 is above maximum 1"):
        Number(minimum=5, maximum=1)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("consistent", "consistent"),
        ("**INCONSISTENT.**", "inconsistent"),
        ("Answer: consistent. So consistent!", "consistent"),
        ("I find it in part_consistent", None),
        ("not consistent", None),
        ("It isn't entirely consistent", None),
        ("consistent or inconsistent?", None),
        ("non-consistent", None),
        ("inconsistently", None),
        ("", None),
        ("no idea", None),
    ],
)
def test_label_needs_one_whole_word_that_is_not_negated(reply: str, value: str | None) -> None:
    """Case and mark-up do not matter; parts of words, negations and two labels give None."""
    assert Label(["consistent", "inconsistent"])(reply) == value


def test_label_prefers_the_longest_name_and_an_exact_reply() -> None:
    """Overlapping names do not count as two labels."""
    read = Label({"right": ["correct"], "half": ["partially correct"], "wrong": ["not correct", "incorrect"]})
    assert read("It is partially correct.") == "half"
    assert read("Not correct!") == "wrong"
    assert read("this is not correct") == "wrong"


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("a", 1),
        ("(B)", 2),
        ("Output (a)", 1),
        ("**Output (b)** is better", 2),
        ("The answer is A.", 1),
        ("B is better", 2),
        ("It is a tie", None),
        ("A good answer", None),
        ("Output (a) beats Output (b)", None),
    ],
)
def test_label_of_one_letter_is_not_mistaken_for_a_word(reply: str, value: int | None) -> None:
    """The article "a" names no label, and labels may be whole numbers."""
    read = Label({1: ["A", "Output (a)"], 2: ["B", "Output (b)"]})
    assert read(reply) == value


@pytest.mark.parametrize(("reply", "value"), [("-1", -1), ("Score: 1", 1), ("1.5", None), ("10", None)])
def test_label_tells_signed_numbers_apart(reply: str, value: int | None) -> None:
    """A label 1 is not found in -1, 10 or 1.5."""
    assert Label([-1, 0, 1])(reply) == value


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "empty"),
        ([True, False], "put quotes around"),
        (["a", 1], "neither all text"),
        ({"yes": ["y", True]}, "True, a name of 'yes', is no text"),
        ("yes", "expected labels as a list"),
        ({"yes": ["sure"], "no": ["Sure!"]}, "names both 'yes' and 'no'"),
    ],
)
def test_label_refuses_unusable_sets(labels: Any, message: str) -> None:
    """A set that cannot be told apart, or that YAML has turned into truth values, is a config error."""
    with pytest.raises(ConfigError, match=message):
        Label(labels)


def test_regex_takes_the_only_or_the_picked_match() -> None:
    """Several matches count only if they agree, unless the first or the last is asked for."""
    reply = "Output (a) is short. Therefore, Output (b) is better."
    pattern = r"Output \(([ab])\)"
    assert Regex(pattern)(reply) is None
    assert Regex(pattern)("Output (a)! Output (a)!") == "a"
    assert Regex(pattern, pick="first")(reply) == "a"
    assert Regex(pattern, pick="last", then=Label({1: ["a"], 2: ["b"]}))(reply) == 2
    assert Regex(pattern)("neither") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern": "("}, "not valid"),
        ({"pattern": "a"}, "no group 1"),
        ({"pattern": "(a)", "pick": "lst"}, "did you mean 'last'"),
    ],
)
def test_regex_refuses_bad_patterns(arguments: dict[str, Any], message: str) -> None:
    """A pattern, group or pick that cannot work is found before any call."""
    with pytest.raises(ConfigError, match=message):
        Regex(**arguments)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"rating": 4}', 4),
        ('```json\n{"rating": 4.5}\n```', 4.5),
        ('I use {"rating": N}. Here: {"rating": true} as asked', True),
        ('{"rating": " good "}', "good"),
        ('{"rating": 4} and {"rating": 4}', 4),
        ('{"rating": 4} and {"rating": 5}', None),
        ('{"before": {"rating": 2}, "rating": ', None),
        ('{"rating": {"value": 4}}', None),
        ('{"rating": null}', None),
        ('{"rating": NaN}', None),
        ("rating: 4", None),
        ("{" * 5000, None),
        ('{"rating":' * 100_000, None),
    ],
)
def test_json_finds_the_field_wherever_the_object_stands(reply: str, value: object) -> None:
    """Fences and sentences around it do no harm; broken or contradicting objects give None."""
    found = Json("rating")(reply)
    assert found == value
    assert type(found) is type(value)


def test_json_follows_a_path_and_hands_on_text() -> None:
    """Nested fields are reached by a dotted path; truth values reach the next parser as JSON writes them."""
    reply = '{"result": {"ok": true, "marks": [3, 5]}}'
    assert Json("result.marks.1", then=Number())(reply) == 5
    assert Json("result.ok", then=Label({"yes": ["true"], "no": ["false"]}))(reply) == "yes"
    assert Json("result.marks.7")(reply) is None


def test_unparsed_is_null_in_a_column_of_the_parsers_type() -> None:
    """A column of replies keeps the declared type even if nothing parses; no answer stays null."""
    column = apply(Number(), pl.Series("prediction", ["5: fine", "no", None]))
    assert column.to_list() == [5, None, None]
    assert apply(Number(), pl.Series(["no"])).dtype == pl.Int64


def test_a_parser_that_raises_leaves_the_row_unparsed(caplog: pytest.LogCaptureFixture) -> None:
    """A user's bare int() does not end the run, and the log says why rows are missing."""
    column = apply(lambda text: int(text), pl.Series(["3", "three"]))
    assert column.to_list() == [3, None]
    assert "three" in caplog.text


def test_values_of_several_kinds_become_one_column() -> None:
    """Integers and fractions share a number column; anything else becomes text."""
    read = Json("v")
    assert apply(read, pl.Series(['{"v": 1}', '{"v": 1.5}'])).to_list() == [1.0, 1.5]
    assert apply(read, pl.Series(['{"v": 1}', '{"v": "x"}'])).to_list() == ["1", "x"]


@pytest.mark.parametrize(
    ("parser", "target", "values"),
    [
        (Number(minimum=1, maximum=5), ["5: Excellent response", None], [5, None]),
        (Number(), [5.0, 3.0], [5, 3]),
        (Label({1: ["consistent"], 0: ["inconsistent"]}), [0, 1], [0, 1]),
        (Label(["true", "false"]), [True, False], ["true", "false"]),
        (Regex(r"Output \(([ab])\)", then=Label({1: ["a"], 2: ["b"]})), [2, 1], [2, 1]),
        (Json("answer"), ["Rome"], ["Rome"]),
        (Json("answer"), [True], [True]),
    ],
)
def test_gold_values_take_the_type_of_the_predictions(
    parser: Any, target: list[Any], values: list[Any]
) -> None:
    """The gold column goes through the same parser, without the wrapping that only replies have."""
    assert parse_target(parser, pl.Series("target", target)).to_list() == values


def test_a_gold_value_that_does_not_parse_names_its_rows() -> None:
    """Wrong gold data is an error, not a wrong prediction."""
    ids = pl.Series(["r1", "r2", "r3"])
    with pytest.raises(DataError, match=r"'target'.*'great'.*rows r2, r3"):
        parse_target(Number(), pl.Series("target", ["4", "great", "poor"]), ids)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ('{"rating": 4, "rating": 5}', "twice"),
        ('{"rating": 4} Better: {"rating": 5', "a broken object follows"),
        ('{"rating": 4} {"rating": NaN}', "no object"),
        ('{"rating": [4, 5]}', "neither text nor a number"),
        ('{"Rating": 4}', "no field|no object has a field"),
        ('[{"rating": 4}, {"rating": 5}]', "differ"),
    ],
)
def test_json_that_says_two_things(reply: str, reason: str) -> None:
    """A key given twice, a broken correction and the like are no value."""
    reading = Json("rating").read(reply)
    assert reading.value is None
    assert re.search(reason, reading.rule)
    assert Json("rating", then=Number())(reply) is None


def test_a_group_that_took_no_part_has_no_value() -> None:
    """The last match decides, also if its group is empty: the match before it is not taken instead."""
    pattern = r"Output (?:\((a)\)|\(b\))"
    assert Regex(pattern, pick="last")("Output (a) is short. Output (b) is better.") is None
    assert Regex(pattern)("Output (a), Output (b)") is None


def test_lenient_rules_have_names() -> None:
    """The first or the last label or number, whatever is said about it."""
    text = "A is not bad, but B wins with 4 to 3."
    assert [Label(["A", "B"], pick=rule)(text) for rule in ("first", "last")] == ["A", "B"]
    assert [Number(pick=rule)("first 4, then 3") for rule in ("first", "last")] == [4, 3]
    assert Number(minimum=1, maximum=5, out_of="numerator")("3/10") == 3
    for wrong in ({"pick": "frist"}, {"out_of": "ten"}, {"out_of": "rescale"}):
        with pytest.raises(ConfigError, match=r"did you mean|maximum"):
            Number(**wrong)


def test_labels_that_differ_in_marks_that_matter() -> None:
    """Grades and languages are told apart; a mark-up around them does not matter."""
    read = Label(["A", "A+", "A-", "C", "C++"])
    assert [read(text) for text in ("A", "**A+**", "A-", "Answer: C++", "A*")] == [
        "A",
        "A+",
        "A-",
        "C++",
        None,
    ]


def test_the_gold_value_may_be_a_list() -> None:
    """Each acceptable answer is parsed; an empty list or one that does not parse names its row."""
    target = pl.Series("target", [["a", "B."], ["b"], None])
    assert parse_target(Label(["A", "B"]), target).to_list() == [["A", "B"], ["B"], None]
    ids = pl.Series(["r1", "r2", "r3"])
    with pytest.raises(DataError, match=r"'target'.*'c'.*rows r2"):
        parse_target(Label(["A", "B"]), pl.Series("target", [["a"], ["b", "c"], ["a"]]), ids)
    with pytest.raises(DataError, match=r"'target'.*empty.*rows r3"):
        parse_target(Text(), pl.Series("target", [["a"], ["b"], []]), ids)


def test_answers_are_of_the_kind_of_the_gold_values() -> None:
    """Where the parser has no type: JSON's 4 and true meet gold text; text does not meet gold numbers."""
    replies = pl.Series(['{"v": 4}', '{"v": "4"}', '{"v": true}'])
    as_text, _ = read_column(Json("v"), replies, pl.String())
    as_number, readings = read_column(Json("v"), replies, pl.Int64())
    assert as_text.to_list() == ["4", "4", "true"]
    assert as_number.to_list() == [4, None, None]
    assert "not of the kind" in readings[1].rule


def test_a_reading_is_described_for_its_row() -> None:
    """The text that was read, its place and the rule, or why nothing was; null if the parser cannot say."""
    texts = pl.Series(["The answer is B.", "A or B", None])
    _, readings = read_column(Label(["A", "B"]), texts)
    assert describe(readings, texts) == [
        '"B" at 14-15: the only label named',
        "two labels are named: A, B",
        None,
    ]
    _, readings = read_column(lambda text: text, texts)
    assert describe(readings, texts) == [None] * 3


def break_on(text):
    """A parser of a user's own that copes with one text only."""
    if text == "3":
        return 3
    return {"list": [1], "object": object(), "enum": ShotChoice.first}[text]


def test_a_parser_that_fails_is_told(caplog):
    """Its rows have no value; the warning names them, and the reading says why and where."""
    texts = pl.Series("completion", ["3", "no", "object", "no"])
    values, readings = parse.read_column(break_on, texts, pl.Int64(), pl.Series(["a", "b", "c", "d"]))
    assert values.to_list() == [3, None, None, None]
    assert readings[1].rule.startswith("the parser failed: KeyError: 'no' (")
    assert "in break_on)" in readings[1].rule
    assert "it gave <object object" in readings[2].rule
    odd = pl.Series("completion", ["nan", "1.5", "inf"])
    values, readings = parse.read_column(float, odd)
    assert values.to_list() == [None, 1.5, None]
    assert "it gave inf" in readings[2].rule
    caplog.clear()
    values, readings = parse.read_column(break_on, texts, pl.Int64(), pl.Series(["a", "b", "c", "d"]))
    assert (
        "prompt.parser (break_on) failed for 3 answers, which have no value: rows b, c, d; the" in caplog.text
    )
    with pytest.raises(
        DataError, match=r"'no' cannot be read by .*\(break_on: KeyError: 'no' \(.*; rows b, d"
    ):
        parse.parse_target(
            break_on, pl.Series("target", ["3", "no", "3", "no"]), pl.Series(["a", "b", "c", "d"])
        )


def test_what_a_parser_may_give(caplog):
    """Plain values; those of a subclass become plain ones, and a value that its own type cannot hold none."""
    assert parse.apply(break_on, pl.Series(["enum"])).to_list() == ["first"]
    assert parse.apply(lambda text: np.int64(4), pl.Series(["x"])).to_list() == [4]
    typed = type("Typed", (), {"dtype": pl.Int64, "__call__": lambda self, text: text})()
    assert parse.apply(typed, pl.Series(["x"])).to_list() == [None]
    for odd in ({"dtype": "int"}, {"labels": 5}, {"choices": "ab"}):
        with pytest.raises(ConfigError, match=r"x: (dtype|labels|choices) "):
            parse.check_parser(type("Odd", (), odd)(), "x")
    with pytest.raises(DataError, match=r"NameError: .*row 0"):
        parse.parse_target(lambda text: undefined, pl.Series("target", [1]))  # noqa: F821
