"""The steps of a dataset option, which change its rows in the order in which they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import polars as pl

from runner.config.dataset_schema import StepConfig
from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.core.types import write_column, write_value
from runner.data.columns import join_frames
from runner.data.join import join_file, require_columns


def apply_steps(frame: pl.DataFrame, steps: Sequence[StepConfig], key: str = "dataset.steps") -> pl.DataFrame:
    """Run ``steps`` over the rows.

    Raises:
        ConfigError: a step that has not exactly one key, or has a wrong value.
        DataError: a step that fails on these rows; the message names its number, key and reason.
    """
    for number, step in enumerate(steps):
        name, value = _get_only_key(step, f"{key}[{number}]")
        where = f"{key}[{number}].{name}"
        try:
            frame = _STEPS[name](frame, value, where)
        except pl.exceptions.ColumnNotFoundError as error:
            raise DataError(f"{where}: {_describe_unknown(error, frame)}") from error
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{where}: {_describe_error(error)}") from error
        if frame.is_empty():
            raise DataError(f"{where}: leaves no rows")
    return frame


def _describe_error(error: Exception) -> str:
    said = str(error).splitlines()[0]
    if said.startswith("conversion from"):
        return f"{said}; TRY_CAST gives null for these"
    if re.search(r"\bstr\b|\bstring\b", said, re.IGNORECASE):
        return f"{said}; a column whose numbers are not all written alike is text: CAST(column AS DOUBLE)"
    return said


def put_in_both_orders(frame: pl.DataFrame, first: str, second: str) -> pl.DataFrame:
    """Repeat each row: first as it is (``order`` = ``ab``), then with two columns swapped (``ba``)."""
    plain = frame.with_columns(order=pl.lit("ab"))
    swapped = frame.with_columns(pl.col(second).alias(first), pl.col(first).alias(second), order=pl.lit("ba"))
    return join_frames([plain, swapped]).select(pl.all().gather(_interleave(frame.height)))


def _interleave(rows: int) -> pl.Series:
    """Row numbers that alternate between the first half of a frame and the second.

    >>> _interleave(2).to_list()
    [0, 2, 1, 3]
    """
    return pl.Series([number for row in range(rows) for number in (row, row + rows)], dtype=pl.UInt32)


def _get_only_key(step: StepConfig, where: str) -> tuple[str, Any]:
    given = [(f.name, getattr(step, f.name)) for f in fields(step) if getattr(step, f.name) is not None]
    if len(given) != 1:
        names = ", ".join(name for name, _ in given) or "none"
        raise ConfigError(f"{where}: expected exactly one of {', '.join(_STEPS)}, got {names}")
    return given[0]


def _describe_unknown(error: Exception, frame: pl.DataFrame) -> str:
    quoted = re.search(r'"([^"]*)"', str(error))
    name = quoted.group(1) if quoted else str(error)
    return f"there is no column {name!r}{suggest(name, frame.columns)}"


def _explode(frame: pl.DataFrame, columns: list[str], where: str) -> pl.DataFrame:
    require_columns(frame, columns, where)
    for name in columns:
        if not isinstance(frame.schema[name], pl.List):
            raise DataError(f"{where}: column {name!r} holds {frame.schema[name]}, not lists")
        if empty := int((frame[name].list.len().fill_null(0) == 0).sum()):
            raise DataError(
                f"{where}: column {name!r} has no elements in {count_of(empty, 'row')}, which would become"
                " rows without a value; leave them out by a filter before this step"
            )
    return frame.explode(columns)


def _derive(frame: pl.DataFrame, columns: Mapping[str, str], where: str) -> pl.DataFrame:
    for name, sql in columns.items():
        frame = frame.with_columns(_parse_sql(sql, f"{where}.{name}").alias(name))
        if frame.schema[name] == pl.Float64:  # a division by zero gives nothing
            frame = frame.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)))
    return frame


def _filter(frame: pl.DataFrame, sql: str, where: str) -> pl.DataFrame:
    return frame.filter(_parse_sql(sql, where))


def _parse_sql(text: str, where: str) -> pl.Expr:
    plain = text if _ODD.search(text) else _QUOTED.sub("''", text)
    if _OTHER_TABLE.search(plain):  # polars would read any file or URL for it
        raise ConfigError(
            f"{where}={text!r}: sees only its own row, so it cannot select from a table or file"
        )
    try:
        return pl.sql_expr(_DECIMAL.sub(lambda found: f"{found[1]}e0" if found[1] else found[0], text))
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{where}={text!r} is not a SQL expression: {error}") from error


_OTHER_TABLE = re.compile(r"\bselect\b|\b(?:read|scan)_\w+\W*\(", re.IGNORECASE)
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_ODD = re.compile(r"--|/\*|[\\`$]")
"""Comments and other quotes, after which a quotation mark may not be one."""
_DECIMAL = re.compile(r"""'[^']*'|"[^"]*"|[^\W\d]\w*|(\d+\.\d*|\.\d+)(?![\w.])""")
"""Group 1 is a number such as 9.5. Polars would compare it with text letter by letter, but not 9.5e0."""


def _drop_duplicates(frame: pl.DataFrame, columns: list[str], where: str) -> pl.DataFrame:
    require_columns(frame, columns, where)
    return frame.unique(columns, keep="first", maintain_order=True)


def _map_labels(frame: pl.DataFrame, columns: Mapping[str, Mapping[Any, Any]], where: str) -> pl.DataFrame:
    require_columns(frame, columns, where)
    for name, labels in columns.items():
        known = _read_labels(labels, f"{where}.{name}")
        values = write_column(frame[name])
        for value in values.unique(maintain_order=True):
            if value not in known:
                rows = values.eq_missing(pl.Series([value], dtype=pl.String)).sum()
                hint = suggest(str(value), known)
                raise DataError(
                    f"{where}.{name}: {count_of(int(rows), 'row')} with {value!r}, which has no label{hint}"
                    f"{_QUOTE if any(isinstance(key, bool) for key in labels) else ''}"
                )
        frame = frame.with_columns(values.replace_strict(known).alias(name))
    return frame


_QUOTE = "; quote 'yes', 'no', 'on' and 'off', which YAML reads as truth values"


def _read_labels(labels: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """The labels by the text of their values; of one type, or all as text."""
    if not isinstance(labels, Mapping):
        raise ConfigError(f"{where}: expected {{value in the file: label}}, got {labels!r}")
    for value, label in labels.items():
        if isinstance(label, bool):
            raise ConfigError(f"{where}.{write_value(value)}: the label is a truth value{_QUOTE}")
    known = {write_value(value): label for value, label in labels.items()}
    if len({type(label) for label in known.values()} - {type(None)}) > 1:
        return {value: None if label is None else write_value(label) for value, label in known.items()}
    return known


def _add_both_orders(frame: pl.DataFrame, columns: list[str], where: str) -> pl.DataFrame:
    if len(columns) != 2:
        raise ConfigError(f"{where}={columns}: expected exactly two columns")
    require_columns(frame, columns, where)
    if "order" in frame.columns:
        raise DataError(f"{where}: the rows already have a column 'order', which this step adds; rename it")
    return put_in_both_orders(frame, columns[0], columns[1])


_STEPS: dict[str, Callable[[pl.DataFrame, Any, str], pl.DataFrame]] = {
    "explode": _explode,
    "derive": _derive,
    "filter": _filter,
    "unique": _drop_duplicates,
    "labels": _map_labels,
    "both_orders": _add_both_orders,
    "join": join_file,
}
