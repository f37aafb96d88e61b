"""The steps over rows, each and in a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.config.dataset_schema import StepConfig
from runner.core.errors import ConfigError, DataError, RunnerError
from runner.data import steps

FRAME = pl.DataFrame({"doc": ["x", "x", "y"], "choices": [[" a", "b "], ["b"], ["c"]], "label": [1, 0, 1]})


def run(frame: pl.DataFrame, **step: Any) -> pl.DataFrame:
    return steps.apply_steps(frame, [StepConfig(**step)])


def test_explode_takes_lists_apart_together() -> None:
    """Two list columns become rows side by side; the others repeat."""
    frame = pl.DataFrame({"pair": [1, 2], "out": [["p", "q"], ["r", "s"]], "score": [[9, 0], [4, 8]]})
    assert run(frame, explode=["out", "score"]).rows() == [(1, "p", 9), (1, "q", 0), (2, "r", 4), (2, "s", 8)]


def test_derive_sees_earlier_columns_and_windows() -> None:
    """Expressions are evaluated in order, window functions included."""
    frame = run(
        FRAME,
        derive={"n": "COUNT(*) OVER (PARTITION BY doc)", "twice": "n * 2", "row": "ROW_NUMBER() OVER ()"},
    )
    assert frame.select("n", "twice", "row").rows() == [(2, 4, 1), (2, 4, 2), (1, 2, 3)]


def test_filter_keeps_rows_that_fulfil_the_condition() -> None:
    """The condition is SQL."""
    assert run(FRAME, filter="doc = 'x' AND label = 1").height == 1


def test_unique_keeps_the_first_in_order() -> None:
    """Later duplicates go, the order stays."""
    frame = pl.DataFrame({"key": [n % 700 for n in range(2000)], "n": range(2000)})
    assert run(frame, unique=["key"])["n"].to_list() == list(range(700))


def test_labels_replace_values_of_any_type() -> None:
    """Keys are compared with the file's values as text, true and false included."""
    frame = FRAME.with_columns(flag=pl.Series([True, False, True]))
    frame = run(frame, labels={"label": {1: "yes", 0: "no"}, "flag": {True: "on", "false": "off"}})
    assert frame.select("label", "flag").rows() == [("yes", "on"), ("no", "off"), ("yes", "on")]


@pytest.mark.parametrize(("value", "said"), [(7, "1 row with '7'"), (None, "1 row with None")])
def test_value_without_label_is_an_error(value: int | None, said: str) -> None:
    """No value passes through unlabelled, an empty one neither."""
    frame = pl.DataFrame({"label": [1, 0, value]})
    with pytest.raises(DataError, match=said):
        run(frame, labels={"label": {1: "yes", 0: "no"}})


def test_both_orders_gives_each_row_twice_in_a_row() -> None:
    """The second time the two columns are swapped, and ``order`` says which is which."""
    frame = pl.DataFrame({"p": [1, 2], "first": ["a", "c"], "second": ["b", "d"]})
    rows = run(frame, both_orders=["first", "second"]).rows()
    assert rows == [(1, "a", "b", "ab"), (1, "b", "a", "ba"), (2, "c", "d", "ab"), (2, "d", "c", "ba")]


def test_join_adds_columns_of_a_second_file_by_key(tmp_path: Path) -> None:
    """Rows keep their order; the second file's columns are mapped like the first's."""
    path = tmp_path / "judge.csv"
    path.write_text("doc,gpt_result\ny,2\nx,Tie\nz,1\n")
    frame = run(FRAME, join={"path": str(path), "key": "doc", "columns": {"recorded": "gpt_result"}})
    assert frame.select("doc", "recorded").rows() == [("x", "Tie"), ("x", "Tie"), ("y", "2")]


@pytest.mark.parametrize(
    ("content", "join", "said"),
    [
        ("doc,r\nx,1\n", {}, "1 row without a match, the first with doc='y'"),
        ("doc,r\nx,1\nx,2\ny,3\n", {}, "more than one row with doc='x'"),
        ("doc,label\nx,1\ny,2\n", {}, "already have a column"),
        ("doc,r\nx,1\ny,2\n", {"key": "dok"}, "no column 'dok'; did you mean 'doc'"),
        ("doc,r\nx,1\ny,2\n", {"colums": {}}, "colums is not known; did you mean 'columns'"),
    ],
)
def test_join_that_cannot_be_told_apart_is_refused(
    tmp_path: Path, content: str, join: dict[str, Any], said: str
) -> None:
    """Missing, repeated and clashing keys are errors, not silent gaps."""
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(RunnerError, match=said):
        run(FRAME, join={"path": str(path), "key": "doc"} | join)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            {"explode": ["choice"]},
            r"steps\[1\]\.explode: there is no column 'choice'; did you mean 'choices'",
        ),
        ({"explode": ["doc"]}, "column 'doc' holds String, not lists"),
        (
            {"derive": {"z": "labl + 1"}},
            r"steps\[1\]\.derive: there is no column 'labl'; did you mean 'label'",
        ),
        ({"derive": {"z": "label +"}}, r"derive\.z='label \+' is not a SQL expression"),
        ({"filter": "doc + 1"}, r"steps\[1\]\.filter"),
        ({"filter": "label > 5"}, "leaves no rows"),
        ({"unique": ["document"]}, "no column 'document'"),
        ({"labels": {"lable": {}}}, "no column 'lable'; did you mean 'label'"),
        ({"both_orders": ["doc"]}, "exactly two columns"),
        ({}, "expected exactly one of explode, .* got none"),
        ({"filter": "true", "unique": ["doc"]}, "got filter, unique"),
    ],
)
def test_failing_step_names_number_key_and_reason(step: dict[str, Any], said: str) -> None:
    """Whatever is wrong with a step is one sentence that says where."""
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        steps.apply_steps(FRAME, [StepConfig(derive={"ok": "label"}), StepConfig(**step)])
    assert "dataset.steps[1]" in str(caught.value)


def test_labels_of_several_types_are_texts() -> None:
    """A column has one type."""
    assert run(FRAME, labels={"label": {1: "yes", 0: 0}})["label"].to_list() == ["yes", "0", "yes"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({1: True, 0: False}, "label.1: the label is a truth value; quote 'yes'"),
        ({True: "a", False: "b"}, "with '1', which has no label.*quote 'yes'"),
        ("yes", "expected {value in the file: label}"),
    ],
)
def test_yes_and_no_without_quotes_are_told(labels: Any, said: str) -> None:
    """YAML reads them as truth values, which no file has written as yes."""
    with pytest.raises(RunnerError, match=said):
        run(FRAME, labels={"label": labels})


def test_a_list_without_elements_becomes_no_row() -> None:
    """A row with a null in place of an element would be made up."""
    frame = pl.DataFrame({"a": [["x"], []]})
    with pytest.raises(DataError, match="column 'a' has no elements in 1 row"):
        run(frame, explode=["a"])


def test_both_orders_overwrites_no_column() -> None:
    """A file's own ``order`` would be lost."""
    frame = pl.DataFrame({"a": [1], "b": [2], "order": [3]})
    with pytest.raises(DataError, match="already have a column 'order'"):
        run(frame, both_orders=["a", "b"])


def test_join_compares_keys_as_text(tmp_path: Path) -> None:
    """A number in one file and text in another are one key if they are written alike."""
    (tmp_path / "b.csv").write_text("n,more\n007,x\n8,y\n")
    joined = run(pl.DataFrame({"n": [8]}), join={"path": str(tmp_path / "b.csv"), "key": "n"})
    assert joined.rows() == [(8, "y")]
    with pytest.raises(DataError, match="1 row without a match, the first with n='7'"):
        run(pl.DataFrame({"n": [7]}), join={"path": str(tmp_path / "b.csv"), "key": "n"})


def test_sql_on_a_column_that_is_text_tells_the_remedy() -> None:
    """A column of 4 and 4.5 is text, so a comparison with a number needs a CAST."""
    frame = pl.DataFrame({"s": ["4", "4.5"]})
    with pytest.raises(DataError, match=r"CAST\(column AS DOUBLE\)"):
        run(frame, filter="s > 4")
    assert run(frame, filter="CAST(s AS DOUBLE) > 4").height == 1


@pytest.mark.parametrize("sql", ["a > 9.6", "a = 7.0", "a BETWEEN .5 AND 1.", "-1.5 < a", "(a)<>9.6"])
def test_text_is_not_compared_with_a_number_letter_by_letter(sql: str) -> None:
    """An error says to cast; before, 10.50 was below 9.6."""
    frame = pl.DataFrame({"a": ["10.50", "9.7"]})
    with pytest.raises(DataError, match=r"cannot compare string .*CAST\(column AS DOUBLE\)"):
        run(frame, filter=sql)
    assert run(frame, filter="CAST(a AS DOUBLE) > 9.75 AND a <> '9.6'").height == 1


def test_a_division_by_zero_is_null() -> None:
    """No prompt shows nan or inf."""
    frame = run(pl.DataFrame({"a": [0, 1, 1], "b": [0, 0, 2]}), derive={"c": "a / b"})
    assert frame["c"].to_list() == [None, None, 0.5]


def test_both_orders_of_columns_of_two_types() -> None:
    """Both become text."""
    frame = run(pl.DataFrame({"a": [1], "b": ["x"]}), both_orders=["a", "b"])
    assert frame.rows() == [("1", "x", "ab"), ("x", "1", "ba")]


def test_a_failed_cast_says_what_helps() -> None:
    """One line, with the values."""
    with pytest.raises(DataError, match=r'1 out of 2 values: \["x"\]; TRY_CAST gives null for these$'):
        run(pl.DataFrame({"a": ["1", "x"]}), derive={"b": "CAST(a AS DOUBLE)"})


@pytest.mark.parametrize(
    "sql",
    [
        "x IN (SELECT a FROM read_csv('/etc/hostname'))",
        "x IN (FROM read_parquet ('https://example.com/x'))",
        "EXISTS (select 1)",
        "x /* ' */ IN (SELECT 1) /* ' */",
        "'\\' = '' OR x IN (SELECT 1) OR '' = '\\'",
        "$$'$$ = '' OR x IN (SELECT 1) OR '' = $$'$$",
        "`'` = 1 OR x IN (SELECT 1) OR `'` = 1",
    ],
)
def test_a_step_reads_no_other_table(sql: str) -> None:
    """Polars would read any file or address that a subquery names."""
    with pytest.raises(ConfigError, match=r"steps\[0\]\.filter.* cannot select from a table or file"):
        steps.apply_steps(pl.DataFrame({"x": [1]}), [StepConfig(filter=sql)])


def test_the_word_select_is_fine_in_a_text() -> None:
    """Or as the name of a column."""
    frame = pl.DataFrame({"x": ["Select one", "b"], "select": [1, 1]})
    kept = steps.apply_steps(frame, [StepConfig(filter="x = 'Select one' AND \"select\" = 1")])
    assert kept.height == 1


def test_join_without_key_is_row_by_row(tmp_path: Path) -> None:
    """For a file that has the answers only, in the order of the rows."""
    path = tmp_path / "answers.json"
    path.write_text('["p", "q", "r"]')
    join = {"path": str(path), "rows": "/*", "columns": {"said": "value"}}
    assert run(FRAME, join=join)["said"].to_list() == ["p", "q", "r"]
    said = r"\.join\.key is not set, so rows are joined in their order, but there are 2 rows here and 3 in"
    with pytest.raises(DataError, match=said):
        run(FRAME[:2], join=join)


def test_only_keeps_the_rows_of_one_value() -> None:
    """Null is for a column that has one value; a choice is never made."""
    assert run(FRAME, only={"doc": "x", "label": 1}).rows() == FRAME[:1].rows()
    assert run(FRAME[:2], only={"doc": None}).rows() == FRAME[:2].rows()
    assert run(FRAME, only={"file": None}).height == 3  # no pattern found several files
    with pytest.raises(DataError, match=r"only\.doc: choose one of 2 values: 'x', 'y'"):
        run(FRAME, only={"doc": None})
    with pytest.raises(DataError, match=r"only\.doc=z: no row has this value.*x"):
        run(FRAME, only={"doc": "z"})
    with pytest.raises(DataError, match=r"no column 'dok'.*doc"):
        run(FRAME, only={"dok": None})


def test_require_says_what_to_do() -> None:
    """The rows stay as they are where the condition is true; null is not true."""
    assert run(FRAME, require={"label >= 0": "no"}).rows() == FRAME.rows()
    with pytest.raises(DataError, match=r"require: label = 1 is not true for 1 row; do this"):
        run(FRAME, require={"label = 1": "do this"})
    with pytest.raises(DataError, match="is not true for 3 rows"):
        run(FRAME, require={"NULLIF(label, label) = 1": "do this"})


def test_the_largest_number_of_a_list() -> None:
    """Its place from 0; of equal ones the first, as NumPy has it."""
    frame = pl.DataFrame({"n": [[1.0, 3.0, 3.0], [-1.0], [], None]})
    assert run(frame, derive={"n": "ARG_MAX(n)"})["n"].to_list() == [1, 0, None, None]
