"""JSON and JSON lines: numbers, keys and letters as the file has them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.data.json_file import Digits, read_json, read_lines, write_json

QUICK = settings(max_examples=40, deadline=None, database=None, derandomize=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def mended(value: Any) -> Any:
    """A value as it is in UTF-8, with U+FFFD for what that cannot hold."""
    return json.loads(
        json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


@QUICK
@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_any_object_is_read_back(row: dict[str, Any]) -> None:
    """What a JSON writer writes comes back; numbers beyond 64 bits keep their digits."""
    read = read_json(json.dumps(row))
    assert json.loads(write_json(read)) == mended(row)


@pytest.mark.parametrize("text", ["1.50", "0.10", "1e5", "1E400", "-0", "12345678901234567890", "9" * 5000])
def test_a_number_that_python_writes_in_another_way_keeps_its_text(text: str) -> None:
    """1.50 is not 1.5."""
    read = read_json(f"[{text}]")
    assert isinstance(read[0], Digits)
    assert write_json(read) == f"[{text}]"


def test_half_a_surrogate_pair_is_the_replacement_character() -> None:
    """A whole pair is its letter, and NUL is NUL."""
    assert read_json(r'["\ud83d", "\ud83d\ude00\udc00\u0000"]') == ["�", "😀�\0"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "line 1: an object has the key 'a' twice"),
        ('{"x": [{"a": 1, "a": 1}]}', "line 1: an object has the key 'a' twice"),
        ('{"a": 1}\n\n{"a":1}{"a":2}', "line 3: Extra data"),
        ('{"a": 1}\n[1]', "line 2 is not an object"),
        ('{"a": ' + "[" * 100_000, "line 1: it is nested too deeply"),
    ],
)
def test_what_is_no_json_names_its_line(text: str, said: str) -> None:
    """Python's own JSON takes of a key that is there twice the last value."""
    with pytest.raises(ValueError, match=said):
        list(read_lines(text))


def test_nan_is_null_and_infinity_is_text() -> None:
    """Python writes both; NaN is an empty cell, as in Parquet, and no number stands for what is infinite."""
    assert read_json('["NaN", NaN, -Infinity]') == ["NaN", None, "-Infinity"]
    assert list(read_lines('{"a": Infinity}')) == [{"a": "Infinity"}]
