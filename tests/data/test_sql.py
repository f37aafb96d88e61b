"""What the steps' SQL has beside that of polars: functions over texts, and votes in groups."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config.dataset_schema import StepConfig
from runner.core.errors import ConfigError, DataError, RunnerError
from runner.data.sql.nearest import measure
from runner.data.steps import apply_steps

FRAME = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "said": ["The answer is (B).", "answer is (C) (D)", "none"],
        "pair": ["p", "p", "q"],
        "vote": ["x", "x", None],
        "n": [1.0, 2.0, 4.0],
    }
)


def derive(sql: str, frame: pl.DataFrame = FRAME) -> list[Any]:
    return apply_steps(frame, [StepConfig(derive={"new": sql})])["new"].to_list()


def group(**columns: str) -> dict[str, list[Any]]:
    return apply_steps(FRAME, [StepConfig(group={"by": ["pair"], "columns": columns})]).to_dict(
        as_series=False
    )


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        (r"REGEXP_EXTRACT(said, '\(([A-D])\)')", ["B", "C", None]),
        (r"regexp_extract(said, '\(([A-D])\) \(([A-D])', 2)", [None, "D", None]),
        ("REGEXP_EXTRACT(said, '[a-z]+')", ["he", "answer", "none"]),
        ("REGEXP_EXTRACT(said, '(n)(o)', 0)", [None, None, "no"]),
        ("COALESCE(REGEXP_EXTRACT(said, '(B)'), 'it''s (no, B')", ["B", "it's (no, B", "it's (no, B"]),
        ("REGEXP_EXTRACT(REGEXP_EXTRACT(said, 'is (.*)'), '([A-D])') || '!'", ["B!", "C!", None]),
        (r"REGEXP_REPLACE(said, '.*\(([A-D])\).*', '\1')", ["B", "D", "none"]),
        ("""JSON_VALUE('{"a": {"b": 4}}', '$.a.b')""", ["4"] * 3),
        ("JSON_VALUE(said, '$.a')", [None] * 3),
        ("NEAREST(vote, STRING_TO_ARRAY('yes,x-ray,xx', ','))", ["xx", "xx", None]),
        ("STRPOS(said, '(')", [15, 11, 0]),
        ("STRPOS(said, '.') + STRPOS('ß.', '.') + STRPOS('a', '')", [21, 3, 3]),
        ("STRPOS(vote, 'x') + STRPOS(said, id)", [6, 1, None]),
        ("NEAREST('e', STRING_TO_ARRAY('b,d', ','))", ["b"] * 3),
    ],
)
def test_functions_read_a_part_of_a_text(sql, values):
    """Where nothing is found, the value is null."""
    assert derive(sql) == values
    assert (
        apply_steps(FRAME, [StepConfig(filter=f"({sql}) IS NOT NULL OR id = 'a'")]).columns == FRAME.columns
    )


def test_a_group_becomes_one_row():
    """It has the new columns, what its rows share, and the id of the first."""
    assert group(vote="MAJORITY(vote)", n="AVG(n)", rows="COUNT(*)") == {
        "id": ["a", "c"],
        "pair": ["p", "q"],
        "vote": ["x", None],
        "n": [1.5, 4.0],
        "rows": [2, 1],
    }


def test_a_vote_without_a_majority_is_null():
    """Which of two values comes first decides nothing."""
    assert group(vote="COALESCE(MAJORITY(id), 'tie')")["vote"] == ["tie", "c"]


def test_a_division_by_zero_in_a_group_is_null():
    """As in derive."""
    assert group(n="SUM(n) / (COUNT(*) - 1)")["n"] == [3.0, None]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"derive": {"a": "REGEXP_EXTRACT(said)"}}, "expected (text, 'pattern')"),
        ({"derive": {"a": "REGEXP_EXTRACT(said, vote)"}}, "expected (text, 'pattern')"),
        ({"derive": {"a": "REGEXP_EXTRACT(said, 'a', 2)"}}, "no group 2"),
        ({"derive": {"a": "REGEXP_EXTRACT(said, '(')"}}, "dataset.steps[0].derive"),
        ({"derive": {"a": "REGEXP_EXTRACT(sad, 'a')"}}, "did you mean 'said'"),
        ({"derive": {"a": "MAJORITY(vote)"}}, "belongs in a step 'group'"),
        ({"derive": {"a": "JSON_VALUE(said, '$[')"}}, "dataset.steps[0].derive"),
        ({"derive": {"a": "STRPOS(n, '1')"}}, "n is Float64, not a text"),
        ({"derive": {"a": "POSITION('.' IN said)"}}, "write STRPOS(text, part)"),
        ({"derive": {"a": "LENGHT(said)"}}, "there is no function LENGHT; did you mean LENGTH?"),
        ({"derive": {"a": "REGEX_EXTRACT(said, 'a')"}}, "did you mean REGEXP_EXTRACT?"),
        ({"filter": 'vote = "x"'}, "a text takes single quotes: 'x'"),
        ({"derive": {"a": "NEAREST(said)"}}, "expected (text, list)"),
        ({"derive": {"a": "NEAREST(said, vote)"}}, "vote is String, not a list of texts"),
        ({"group": {"by": ["pair"], "columns": {"a": "vote"}}}, "is a value of each row"),
        ({"group": {"by": ["pair"], "columns": {"pair": "MAX(id)"}}}, "a column of the groups"),
        ({"group": {"by": ["pear"]}}, "did you mean 'pair'"),
        ({"group": {"of": ["pair"]}}, "group.of is not known"),
        ({"group": {"columns": {}}}, "expected {by: "),
    ],
)
def test_a_mistake_names_its_place(step, said):
    """And helper columns are not among the known ones."""
    with pytest.raises((ConfigError, DataError)) as caught:
        apply_steps(FRAME, [StepConfig(**step)])
    assert said in str(caught.value)
    assert "sql 0" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="REGEXP_EXTRACT(),'\" abc(\\1", max_size=40))
def test_any_text_is_an_expression_or_an_error(text):
    """No text ends in anything but a value or a message."""
    try:
        derive(f"REGEXP_EXTRACT(said, {text}")
    except RunnerError:
        return


@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_edit_distance_is_a_distance(one: str, other: str, third: str) -> None:
    """It is 0 only between equal texts, the same in both directions, and no way round is shorter."""
    assert (measure(one, other) == 0) == (one == other)
    assert measure(one, other) == measure(other, one)
    assert abs(len(one) - len(other)) <= measure(one, other) <= max(len(one), len(other))
    assert measure(one, third) <= measure(one, other) + measure(other, third)
