"""What holds for every reply: a parser never raises and never chooses between two readings."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runner.core.types import Reading
from runner.parse import Cases, Clean, Json, Label, Multi, Number, Regex, Text

LABELS = [
    "A",
    "B",
    "I",
    "yes",
    "no",
    "correct",
    "incorrect",
    "partially correct",
    "верно",
    "正确",
    "सही",
    "A+",
]
PIECES = [*LABELS, "a", "b", "not", "is", "better", "answer", "the", "?", ":", ".", ",", "\n", "(", ")", "**"]
replies = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [*PIECES, "5", "3/4", "1,234", "12:30", "%", "-", "8,5", "{", '"rating"', "A>B", "A=B", "İ"]
        ),
        max_size=12,
    ).map(" ".join),
)
PARSERS: list[Any] = [
    Text(),
    Label(LABELS),
    Label(["A", "B"], pick="last"),
    Label([-1, 0, 1]),
    Number(),
    Number(minimum=1, maximum=5),
    Number(integer=False, out_of="share"),
    Number(minimum=0, maximum=100, pick="first"),
    Regex(r"(?i)answer\W+(\w+)?", then=Label(["A", "B"])),
    Json("rating"),
    Json("rating", then=Number()),
    Label(["A>B", "A=B", "B>A"]),
    Cases({"A": [r"A>{1,2}B", "A"], "tie": "A=B", "B": "B"}),
    Cases({1: "(?i)yes", 0: "(?i)no"}, pick="listed"),
    Clean(Label(["a", "b"]), after="answer", before=".", replace={"(": "((", "I": ""}, lower=True),
    Clean(Number(), replace_pattern={r"(\d)/(\d)": r"\2 of \1"}, after=":", required=False, pick="last"),
    Multi({"label": Label(["A", "B"]), "rating": Json("rating")}),
]


@settings(max_examples=60, deadline=None)
@given(replies)
def test_a_parser_never_raises_and_says_what_it_read(text: str) -> None:
    """The value is that of the reading, of the parser's type, and its place lies in the reply."""
    for parser in PARSERS:
        reading = parser.read(text)
        assert isinstance(reading, Reading)
        value = parser(text)
        assert (reading.value, type(reading.value)) == (value, type(value))
        assert isinstance(value, float | int | str | None)
        if value is not None and reading.start is not None:
            assert 0 <= reading.start < reading.end <= len(text)


names = st.text("abcdefghijklmnopqrstuvwxyzäöß", min_size=2, max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.lists(names, min_size=2, max_size=4, unique_by=str.casefold), st.data())
def test_two_labels_are_none(labels: list[str], data: st.DataObject) -> None:
    """Whatever stands before, between and after them."""
    assume(not any(one in other for one in labels for other in labels if one != other))
    filler = st.sampled_from(
        ["", "Answer: ", "\n\n", ". ", " is better than ", ", not ", "The answer is ", " or ", "!"]
    )
    first, second = data.draw(st.permutations(labels))[:2]
    text = data.draw(filler) + first + " " + data.draw(filler) + " " + second + " " + data.draw(filler)
    assert Label(labels)(text) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(names, min_size=1, max_size=4, unique_by=str.casefold), st.data())
def test_a_label_alone_is_it(labels: list[str], data: st.DataObject) -> None:
    """Also in marks, in capitals and in an answer statement."""
    label = data.draw(st.sampled_from(labels))
    shape = data.draw(
        st.sampled_from(["{}", " {}.\n", "**{}**", "({})", "Answer: {}", "The answer is {}.", '"{}"'])
    )
    said = data.draw(st.sampled_from([label, label.upper()])) if label.upper().lower() == label else label
    assume(all(word not in labels for word in ("answer", "the", "is")))
    assert Label(labels)(shape.format(said)) == label


@settings(max_examples=150, deadline=None)
@given(st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_written_is_read(number: float) -> None:
    """As Python and JSON write it. Whole numbers below 2 to the 53 keep every digit."""
    assume(isinstance(number, float) or abs(number) < 2**53)
    text = json.dumps(number)
    assert Number(integer=False)(text) == number
    assert Json("v")(f'{{"v": {text}}}') == number
    whole = Number()(text)
    assert whole is None or whole == number
    if isinstance(number, int):
        assert Number()(f"{number:,}") == number


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([" ", "/", "-", ",", ":", " or ", ". Rating: ", "\n"]),
)
def test_two_numbers_of_a_scale_are_none(one: int, other: int, between: str) -> None:
    """Unless they are equal, or the second is the end of the scale."""
    assume(one != other and not (between == "/" and other == 5))
    assert Number(minimum=1, maximum=5)(f"Rating: {one}{between}{other}") is None


@pytest.mark.parametrize("text", ["nan", "inf", "Infinity", "-inf", '{"v": Infinity}', '{"v": 1e999}'])
def test_what_is_no_number(text: str) -> None:
    """Python's float() would read some of them."""
    assert Number(integer=False)(text) is None
    value = Json("v")(text)
    assert value is None or math.isfinite(value)
