"""JSON pointers, record by record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import ConfigError, DataError
from runner.data.pick import pick_fields
from runner.data.pointer import Miss, find_rows, follow, join_pointer, split_pointer

QUICK = settings(max_examples=80, deadline=None, database=None, derandomize=True)
NAMES = st.text(alphabet="ab/~01-", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
MIXED = [
    {"id": 1, "steps": [["plan", "stop"], {"text": "a", "by": {"x/y~z": 1}}]},
    {"id": "1", "steps": [{"text": "b"}]},
    {"id": 3, "steps": None},
]


def list_places(value: Any, tokens: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Each value inside of one, with the way to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [place for name, item in items for place in list_places(item, (*tokens, str(name)))]
    return [(tokens, value), *inner]


@QUICK
@given(VALUES)
def test_each_value_is_found_by_its_pointer(value: Any) -> None:
    """Whatever letters the names have, and from the end of a list, too."""
    for tokens, there in list_places(value):
        assert split_pointer(join_pointer(tokens)) == list(tokens)
        assert follow(value, tokens) == there
        if isinstance(there, list) and there:
            assert follow(value, [*tokens, "-1"]) == there[-1]


@QUICK
@given(VALUES, st.lists(NAMES | st.integers(-3, 3).map(str), max_size=3))
def test_a_pointer_finds_what_is_there_or_says_that_it_misses(value: Any, tokens: list[str]) -> None:
    """No pointer is an error of Python, and what it finds is in the value."""
    found = follow(value, tokens)
    inside = [there for _, there in list_places(value)]
    assert isinstance(found, Miss) or found is None or found in inside


def test_records_of_mixed_shapes_are_looked_up_one_by_one() -> None:
    """A list of a list and an object has no type as a column, but its last item has a text."""
    frame = pick_fields(MIXED, {"text": "/steps/-1/text", "deep": "/steps/1/by/x~1y~0z", "id": "id"})
    assert frame.rows() == [("a", 1, "1"), ("b", None, "1"), (None, None, "3")]


def test_first_takes_what_a_record_has() -> None:
    """The first source that is not null in this record, whatever the shapes of the others are."""
    records = [{"m": "x"}, {"m": [{"text": "y"}]}, {"n": 3}]
    names = {"said": {"first": ["/m/0/text", "/n", "/gone"]}, "m": {"first": ["m"]}}
    assert pick_fields(records, names)["said"].to_list() == [None, "y", "3"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/steps/0/txt", "no 'txt' in /steps/0; did you mean 'text'"),
        ("/steps/5", "no item 5 in /steps, which has at most 2 items; this is so in every record"),
        ("/steps/1/by/x~1y~0z/q", r"record 1: /steps/1/by/x~1y~0z is a number, which has no 'q'"),
        ("/steps/0/text", r"record 1: /steps/0 is a list, which has no 'text'; \{first: "),
        ("/id/0", "record 1: /id is a number, which has no '0'"),
        ("step", "no 'step'; did you mean 'steps'"),
        ("/a~b", "write ~0"),
        ({"first": "a"}, "expected a column, a list of columns, or"),
        ({"first": []}, "expected at least one column"),
        ({"first": ["/nope", "/no"]}, "no 'nope'"),
    ],
)
def test_a_pointer_that_leads_nowhere_names_record_and_field(source: object, said: str) -> None:
    """Missing in every record is a mistake, and so is what no value of its type could have."""
    records = MIXED[:2] if source != "/steps/0/txt" else [{"steps": [{"text": 1}]}]
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        pick_fields(records, {"c": source})
    assert str(caught.value).startswith("dataset.columns.c")


@pytest.mark.parametrize(
    ("content", "rows", "found"),
    [
        ({"a": {"x": 1}, "b": {"x": 2}}, "/*", [{"x": 1, "*": "a"}, {"x": 2, "*": "b"}]),
        ({"r": [[{"x": 1}], [{"x": 2}]]}, "/r/*/*", [{"x": 1, "*": "0/0"}, {"x": 2, "*": "1/0"}]),
        ({"r": [[{"x": 1}], [{"x": 2}]]}, "/r/-1", [{"x": 2}]),
        (["p", ["q"]], "/*", [{"value": "p", "*": "0"}, {"value": ["q"], "*": "1"}]),
        ({"x": [1, 2]}, "", [{"x": [1, 2]}]),
    ],
)
def test_rows_may_be_each_value_of_something(content: Any, rows: str, found: list[dict[str, Any]]) -> None:
    """Objects by key, lists of lists, lists of texts, and one object that is one row."""
    assert find_rows(content, rows, "dataset.rows") == found


@pytest.mark.parametrize(
    ("content", "rows", "said"),
    [
        ({"a": {"x": 1}}, None, r"rows is not set, .* /\* in dataset\.rows makes a row of each"),
        ({"a": 1}, None, "if this object is one row, say dataset.rows: ''"),
        ({"a": [1]}, "/a", r"item 0 of the list .* is none; dataset\.rows=/a/\* makes"),
        ({"a": 1}, "/a/*", "/a is no list and no object"),
        ({"a": 1}, "a", "begins with /"),
    ],
)
def test_rows_that_are_none_say_what_takes_them(content: Any, rows: str | None, said: str) -> None:
    """Nothing is taken for a row unless the config says so."""
    with pytest.raises(ConfigError, match=said):
        find_rows(content, rows, "dataset.rows")


def test_a_star_in_a_column_is_the_only_value() -> None:
    """Of an object, of a list, and of an empty one, which has none; a choice is never made."""
    records: list[dict[str, Any]] = [{"s": {"a": {"v": 1}}}, {"s": [{"v": 2}]}, {"s": {}}, {"s": None}]
    assert pick_fields(records, {"v": "/s/*/v"})["v"].to_list() == [1, 2, None, None]
    assert pick_fields([{"s": {"*": 5, "a": 6}}], {"v": "/s/*"})["v"].to_list() == [5]
    several = [*records, {"s": {"a": {"v": 1}, "b": {"v": 2}}}]
    for source in ("/s/*/v", {"first": ["/s/*/v", None]}):
        with pytest.raises(DataError, match=r"record 5: /s has 2 values, .* name one of them: a, b$"):
            pick_fields(several, {"v": source})
    with pytest.raises(DataError, match="there is nothing in /s; this is so in every record"):
        pick_fields([{"s": {}}], {"v": "/s/*/v"})


def test_a_null_among_the_first_is_no_error_where_nothing_is() -> None:
    """Every row is then null; without it, it is an error."""
    assert pick_fields(MIXED, {"v": {"first": ["nothing", None]}})["v"].to_list() == [None] * 3
    assert pick_fields(MIXED, {"v": {"first": ["nothing", "id", None]}})["v"].to_list() == ["1", "1", "3"]
    with pytest.raises(DataError, match="there is no 'nothing'"):
        pick_fields(MIXED, {"v": {"first": ["nothing"]}})
