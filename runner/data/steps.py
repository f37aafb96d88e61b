"""The steps of a dataset option, which change its rows in the order in which they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import polars as pl

from runner.config.dataset_schema import StepConfig
from runner.core.errors import ChoiceError, ConfigError, DataError, count_of, suggest
from runner.core.types import write_column, write_value
from runner.data import sql
from runner.data.columns import join_frames
from runner.data.join import join_file, require_columns
from runner.data.reader import FILE
from runner.data.sql.mistakes import advise_on_quotes

MEMBERS = " members"
"""A list column of what the rows came from; the step ``group`` joins the lists. No data set has this name."""
SCORING = "scoring.steps"
"""The steps over answered rows, in which a null is an answer that was not read, and needs no label."""


def apply_steps(
    frame: pl.DataFrame,
    steps: Sequence[StepConfig],
    key: str = "dataset.steps",
    rehearsed: bool = False,
) -> pl.DataFrame:
    """Run ``steps`` over the rows. In a rehearsal, whose values are guessed, a step may leave no row.

    Raises:
        ConfigError: a step that has not exactly one key, or has a wrong value.
        DataError: a step that fails on these rows; the message names its number, key and reason.
    """
    for number, step in enumerate(steps):
        name, value = _get_only_key(step, f"{key}[{number}]")
        where = f"{key}[{number}].{name}"
        before = frame
        try:
            frame = _STEPS[name](frame, value, where)
        except pl.exceptions.ColumnNotFoundError as error:
            raise DataError(f"{where}: {_describe_unknown(error, frame, value)}") from error
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{where}: {_describe_error(error)}") from error
        if frame.is_empty():
            if not rehearsed:
                raise DataError(f"{where}: leaves no rows")
            frame = before
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


def _describe_unknown(error: Exception, frame: pl.DataFrame, step: Any) -> str:
    quoted = re.search(r'"([^"]*)"', str(error))
    name = quoted.group(1) if quoted else str(error)
    hint = advise_on_quotes(name, step) or suggest(name, _list_names(frame))
    return f"there is no column {name!r}{hint}"


def _list_names(frame: pl.DataFrame) -> list[str]:
    """The columns that a config may name."""
    return [name for name in frame.columns if not name.startswith(" ")]


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
    for name, text in columns.items():
        helped, expression = sql.add_expression(frame, text, f"{where}.{name}")
        frame = sql.drop_helpers(helped.with_columns(expression.alias(name)))
        frame = _keep_finite(frame, name)
    return frame


def _keep_finite(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with null where a computed number is none: a division by zero gives nothing."""
    if frame.schema[name] != pl.Float64:
        return frame
    return frame.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name))


def _filter(frame: pl.DataFrame, text: str, where: str) -> pl.DataFrame:
    helped, expression = sql.add_expression(frame, text, where)
    return sql.drop_helpers(helped.filter(expression))


def _keep_only(frame: pl.DataFrame, columns: Mapping[str, Any], where: str) -> pl.DataFrame:
    """The rows with one value in a column. Which one must be said if there are several."""
    require_columns(frame, [name for name in columns if name != FILE], where)
    for name, wanted in columns.items():
        if name not in frame.columns and wanted is None:
            continue  # the rows are not from a pattern, so they are of one file
        require_columns(frame, [name], where)
        values = write_column(frame[name])
        known = values.drop_nulls().unique(maintain_order=True).to_list()
        if wanted is None:
            if len(known) > 1:
                shown = ", ".join(map(repr, known[:10])) + (", …" if len(known) > 10 else "")
                raise ChoiceError(f"{where}.{name}: choose one of {len(known)} values: {shown}", name)
            continue
        if write_value(wanted) not in known:
            raise DataError(
                f"{where}.{name}={write_value(wanted)}: no row has this value{suggest(str(wanted), known)}"
            )
        frame = frame.filter(values == write_value(wanted))
    return frame


def _require(frame: pl.DataFrame, conditions: Mapping[str, str], where: str) -> pl.DataFrame:
    """The same rows. An error says what to do if a condition is not true for each."""
    for text, advice in conditions.items():
        helped, condition = sql.add_expression(frame, str(text), where)
        kept = helped.filter(condition).height
        if kept < frame.height:
            raise DataError(
                f"{where}: {text} is not true for {count_of(frame.height - kept, 'row')}; {advice}"
            )
    return frame


_GROUP_KEYS = ("by", "columns")


def _group(frame: pl.DataFrame, group: Mapping[str, Any], where: str) -> pl.DataFrame:
    """One row for each group: its SQL columns, and what all its rows have in common."""
    for name in map(write_value, group):
        if name not in _GROUP_KEYS:
            raise ConfigError(f"{where}.{name} is not known{suggest(name, _GROUP_KEYS)}")
    by, texts = group.get("by"), group.get("columns") or {}
    by = [by] if isinstance(by, str) else by
    if not isinstance(by, list) or not by or not isinstance(texts, Mapping):
        raise ConfigError(f"{where}: expected {{by: [column, …], columns: {{new: SQL}}}}")
    require_columns(frame, map(str, by), f"{where}.by")
    made: dict[str, pl.Expr] = {}
    for name, text in texts.items():
        key = f"{where}.columns.{name}"
        if name in by:
            raise ConfigError(f"{key}: it is a column of the groups")
        frame, made[name] = sql.add_expression(frame, str(text), key, by)
        if not sql.is_one_value(frame, made[name]):
            raise ConfigError(
                f"{key}={text!r} is a value of each row; a group needs one, such as FIRST(x) or AVG(x)"
            )
    given = [name for name in sql.drop_helpers(frame).columns if name not in (*by, *made, MEMBERS)]
    kept = [name for name in given if name == "id" or _is_shared(frame, by, name)]
    members = [pl.col(MEMBERS).explode()] if MEMBERS in frame.columns else []
    grouped = frame.group_by(by, maintain_order=True).agg(
        *members, *(pl.col(name).first() for name in kept), *(each.alias(name) for name, each in made.items())
    )
    for name in made:
        grouped = _keep_finite(grouped, name)
    return grouped.select(
        *(name for name in frame.columns if name in grouped.columns), pl.exclude(*frame.columns)
    )


def _is_shared(frame: pl.DataFrame, by: Sequence[str], name: str) -> bool:
    """Whether all rows of each group have the same value in a column."""
    column = write_column(frame[name]) if frame.schema[name].is_nested() else frame[name]
    values = frame.select(by).with_columns(column.alias(" value")).unique()
    return values.height == values.select(by).n_unique()


def _drop_duplicates(frame: pl.DataFrame, columns: list[str], where: str) -> pl.DataFrame:
    require_columns(frame, columns, where)
    return frame.unique(columns, keep="first", maintain_order=True)


def _map_labels(frame: pl.DataFrame, columns: Mapping[str, Mapping[Any, Any]], where: str) -> pl.DataFrame:
    require_columns(frame, columns, where)
    for name, labels in columns.items():
        known = _read_labels(labels, f"{where}.{name}")
        if where.startswith(SCORING):
            known.setdefault(None, None)
        values = write_column(frame[name])
        for value in values.unique(maintain_order=True):
            if value not in known:
                rows = values.eq_missing(pl.Series([value], dtype=pl.String)).sum()
                hint = suggest(str(value), filter(None, known))
                raise DataError(
                    f"{where}.{name}: {count_of(int(rows), 'row')} with {value!r}, which has no label{hint}"
                    f"{_QUOTE if any(isinstance(key, bool) for key in labels) else ''}"
                )
        frame = frame.with_columns(values.replace_strict(known).alias(name))
    return frame


_QUOTE = "; quote 'yes', 'no', 'on' and 'off', which YAML reads as truth values"


def _read_labels(labels: Mapping[Any, Any], where: str) -> dict[str | None, Any]:
    """The labels by the text of their values; of one type, or all as text."""
    if not isinstance(labels, Mapping):
        raise ConfigError(f"{where}: expected {{value in the file: label}}, got {labels!r}")
    for value, label in labels.items():
        if isinstance(label, bool):
            raise ConfigError(f"{where}.{write_value(value)}: the label is a truth value{_QUOTE}")
    known: dict[str | None, Any] = {write_value(value): label for value, label in labels.items()}
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
    "only": _keep_only,
    "require": _require,
    "unique": _drop_duplicates,
    "labels": _map_labels,
    "both_orders": _add_both_orders,
    "join": join_file,
    "group": _group,
}
