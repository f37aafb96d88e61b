"""Columns: each value, written back, is the text of the file."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import ConfigError, DataError
from runner.core.types import write_column
from runner.data import columns, pick
from runner.data.json_file import read_json, write_json

QUICK = settings(max_examples=80, deadline=None, database=None, derandomize=True)
LIKE_NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.from_regex(r"\A[-+]?0*[0-9]{1,3}([.,][0-9]{0,3})?([eE][-+]?[0-9]{1,3})?\Z"),
    st.sampled_from(["nan", "inf", "-0", " 7", "1_000", "٣", "true", "x", "0x1", ".5", "5."]),
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@QUICK
@given(st.lists(st.none() | LIKE_NUMBERS, max_size=4))
def test_numbers_of_a_csv_file_are_written_as_they_were(texts: list[str | None]) -> None:
    """Whatever a column becomes, its cells are the text of the file."""
    column = columns.read_numbers(pl.Series("c", texts, dtype=pl.String))
    assert write_column(column).to_list() == texts


@QUICK
@given(st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=4))
def test_values_of_a_json_file_are_written_as_they_were(values: list[Any]) -> None:
    """Values of one type keep it; of several, they are text; each is written as the file writes it."""
    read = [read_json(json.dumps(value)) for value in values]
    column = columns.make_column("c", read)
    if not isinstance(column.dtype, pl.List):  # numbers in a list of several types are texts in it
        assert write_column(column).to_list() == [None if v is None else write_json(v) for v in read]
    assert column.is_null().to_list() == [value is None for value in values]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["4", "5"], pl.Int64),
        (["4", None], pl.Int64),
        (["4.0", "4.5"], pl.Float64),
        (["4", "4.5"], pl.String),
        (["02139", "7"], pl.String),
        (["4", "5", "3?", "2.5"], pl.String),
        (["9223372036854775808"], pl.String),
        ([None], pl.String),
    ],
)
def test_a_csv_column_is_of_numbers_only_if_all_are(values: list[str | None], kind: pl.DataType) -> None:
    """One cell that a number would write in another way makes the column text."""
    assert columns.read_numbers(pl.Series(values, dtype=pl.String)).dtype == kind


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ("[4, 4.5]", ["4", "4.5"]),
        ("[true, false]", [True, False]),
        ('[true, "x", 1]', ["true", "x", "1"]),
        ("[1.50]", ["1.50"]),
        ("[{}, {}]", ["{}", "{}"]),
        ("[[{}], []]", [["{}"], []]),
        ('[{"b": 1}, {"b": 1.5, "c": "y"}]', [{"b": "1", "c": None}, {"b": "1.5", "c": "y"}]),
        ('[{"b": 1}, [2], "t"]', ['{"b": 1}', "[2]", "t"]),
        ('[[1, "x", null, true, 2.50]]', [["1", "x", None, "true", "2.50"]]),
        ("[12345678901234567890, 1]", ["12345678901234567890", "1"]),
    ],
)
def test_json_values_keep_their_type_or_are_text(values: str, read: list[Any]) -> None:
    """No value becomes null, rounded or an error because others have another type."""
    assert columns.make_column("c", read_json(values)).to_list() == read


def test_frames_whose_columns_differ_in_type_are_joined_as_text() -> None:
    """A file with whole numbers only and one with others, or with none, lose nothing."""
    frames = [pl.DataFrame({"a": [4], "b": ["x"]}), pl.DataFrame({"a": [4.5], "b": [None]})]
    assert columns.join_frames(frames).rows() == [("4", "x"), ("4.5", None)]


def test_several_sources_of_different_types_are_a_list_of_texts() -> None:
    """The 4 of one column stays a 4 beside the 4.5 of another."""
    frame = pl.DataFrame({"one": [4], "other": [4.5]})
    assert pick.pick_columns(frame, {"both": ["one", "other"]})["both"].to_list() == [["4", "4.5"]]


def test_parquet_types_are_those_of_other_files() -> None:
    """Categories are text, and a short float is the number that it is written as."""
    frame = pl.DataFrame(
        {"c": pl.Series(["x"], dtype=pl.Categorical), "f": pl.Series([[0.1]], dtype=pl.List(pl.Float32))}
    )
    assert columns.simplify(frame).rows() == [("x", [0.1])]


def test_bytes_are_refused_by_name_if_they_are_kept() -> None:
    """No prompt can show an image."""
    frame = pl.DataFrame({"text": ["x"], "image": [{"bytes": b"\0"}]})
    assert pick.pick_columns(frame, {"text": "text"}).columns == ["text"]
    with pytest.raises(DataError, match=r"dataset\.columns: column 'image' holds .*Binary"):
        pick.pick_columns(frame, {})


def test_a_source_that_yaml_reads_as_a_truth_value_is_refused() -> None:
    """``target: yes`` without quotes names no column."""
    with pytest.raises(ConfigError, match=r"dataset\.columns\.target=True: .*quote yes"):
        pick.pick_columns(pl.DataFrame({"yes": [1]}), {"target": True})
