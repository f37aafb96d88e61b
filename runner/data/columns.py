"""Make columns of values so that each, written back, is the text of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import polars as pl

from runner.data.json_file import write_json

_Kind = pl.DataType | pl.datatypes.DataTypeClass
_DEEPEST = 50
"""Objects and lists below this depth are kept as JSON text."""
_PLAIN = {str: pl.String, bool: pl.Boolean, int: pl.Int64, float: pl.Float64}


def read_numbers(texts: pl.Series) -> pl.Series:
    """A column of text as whole or other numbers if each one, written back, is the same text; else as it is.

    >>> read_numbers(pl.Series(["7", None])).dtype, read_numbers(pl.Series(["7", "07"])).dtype
    (Int64, String)
    """
    if texts.null_count() == texts.len():
        return texts
    for kind in (pl.Int64, pl.Float64):
        numbers = texts.cast(kind, strict=False)
        if numbers.null_count() != texts.null_count() or not numbers.is_finite().all():
            continue
        if [None if number is None else repr(number) for number in numbers.to_list()] == texts.to_list():
            return numbers
    return texts


def make_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows with values of :func:`runner.data.json_file.read_json` as a frame; a missing key is null.

    A column (and each field and list in it) keeps its type if all its values have one; otherwise its values
    are text, as the file writes them. Objects get the keys of all objects in their place.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame({name: make_column(name, [row.get(name) for row in rows]) for name in names})


def make_column(name: str, values: Sequence[Any]) -> pl.Series:
    """Values of any types as a column, as in :func:`make_frame`."""
    kind, settled = _settle(values)
    return pl.Series(name, settled, dtype=kind)


def _settle(values: Sequence[Any], depth: int = 0) -> tuple[_Kind, Sequence[Any]]:
    """The type that all values have, or that of text, and the values in it."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) == 1 and depth < _DEEPEST:
        kind = kinds.pop()
        if kind in _PLAIN:
            return _PLAIN[kind], values
        if kind is list:
            return _settle_lists(values, depth + 1)
        if kind is dict and any(values):
            return _settle_objects(values, depth + 1)
    return pl.String, [None if value is None else str(write_json(value)) for value in values]


def _settle_lists(values: Sequence[Any], depth: int) -> tuple[_Kind, Sequence[Any]]:
    kind, items = _settle([item for value in values if value is not None for item in value], depth)
    rest = iter(items)
    return pl.List(kind), [None if value is None else list(islice(rest, len(value))) for value in values]


def _settle_objects(values: Sequence[Any], depth: int) -> tuple[_Kind, Sequence[Any]]:
    names = dict.fromkeys(name for value in values if value is not None for name in value)
    fields = [
        _settle([None if value is None else value.get(name) for value in values], depth) for name in names
    ]
    rows = zip(*(settled for _, settled in fields), strict=True)
    objects = [
        None if value is None else dict(zip(names, row, strict=True))
        for value, row in zip(values, rows, strict=True)
    ]
    return pl.Struct({name: kind for name, (kind, _) in zip(names, fields, strict=True)}), objects


def join_frames(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of frames with the same columns; a column whose types differ is made anew, of all values."""
    if all(frame.schema == frames[0].schema for frame in frames):
        return pl.concat(frames)
    return pl.DataFrame(
        {name: _join_columns([frame[name] for frame in frames]) for name in frames[0].columns}
    )


def _join_columns(parts: Sequence[pl.Series]) -> pl.Series:
    known = [part for part in parts if part.null_count() < part.len()]
    if len({part.dtype for part in known}) > 1:
        return make_column(parts[0].name, [value for part in parts for value in part.to_list()])
    kind = (known or parts)[0].dtype
    return pl.concat([part if part.dtype == kind else part.cast(kind) for part in parts])


def simplify(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of a Parquet file in the types of the other formats, where these can hold them.

    Categories are text, short floats are the numbers that they are written as, and NaN is null, as in pandas.
    Dates, times and decimal numbers stay.
    """
    kinds = {name: _replace(kind, pl.String) for name, kind in frame.schema.items()}
    wide = {name: _replace(kind, pl.Float64) for name, kind in frame.schema.items()}
    return frame.with_columns(
        _drop_nan(pl.col(name).cast(kinds[name]).cast(kind), kind).alias(name) for name, kind in wide.items()
    )


def _drop_nan(values: pl.Expr, kind: _Kind) -> pl.Expr:
    """The values with null for NaN, also inside of lists and objects."""
    if kind == pl.Float64:
        return values.fill_nan(None)
    if isinstance(kind, pl.List) and holds(kind, pl.Float64):
        return values.list.eval(_drop_nan(pl.element(), kind.inner))
    if isinstance(kind, pl.Struct) and holds(kind, pl.Float64):
        fields = [_drop_nan(values.struct.field(field.name), field.dtype) for field in kind.fields]
        return pl.when(values.is_not_null()).then(pl.struct(fields))
    return values


def holds(kind: _Kind, *sought: _Kind) -> bool:
    """Whether a type is one of those sought, or has one in it."""
    if isinstance(kind, pl.Struct):
        return any(holds(field.dtype, *sought) for field in kind.fields)
    if isinstance(kind, pl.List | pl.Array):
        return holds(kind.inner, *sought)
    return kind in sought


def _replace(kind: _Kind, short: _Kind) -> _Kind:
    """A type of a Parquet file without categories and fixed lengths, and with ``short`` for short floats."""
    if isinstance(kind, pl.Struct):
        return pl.Struct({field.name: _replace(field.dtype, short) for field in kind.fields})
    if isinstance(kind, pl.List | pl.Array):
        return pl.List(_replace(kind.inner, short))
    if kind in (pl.Categorical, pl.Enum, pl.Null):
        return pl.String
    return short if kind in (pl.Float32, pl.Float16) else kind
