"""Take columns out of rows under new names: by name, by JSON pointer, or the first that is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from runner.core.errors import ChoiceError, ConfigError, DataError, suggest
from runner.data.columns import holds, make_column, make_frame
from runner.data.pointer import EACH, Miss, check_pointer, describe_clash, describe_misses, follow, is_index

_Kind = pl.DataType | pl.datatypes.DataTypeClass
_FIRST = "first"


@dataclass(frozen=True)
class _Rows:
    """``count`` rows. ``find`` gives a source of them; the second text is its place in the config.

    With true, a source that is not there is None.
    """

    count: int
    find: Callable[[str, str, bool], pl.Series | None]


def pick_columns(
    frame: pl.DataFrame, columns: Mapping[str, Any], key: str = "dataset.columns"
) -> pl.DataFrame:
    """The frame's columns under new names; all unchanged where ``columns`` is empty.

    Each value is a source column, a JSON pointer into nested values (``/results/-1/text``), a list of
    these, which gives a list column, or ``{first: [these]}``, which takes the first that
    is not null in a row; with a null among these, it is no error if none is there.

    Raises:
        ConfigError: a source that is no text.
        DataError: an unknown column or field (the message suggests the nearest one), or one of bytes.
    """
    if columns:
        frame = _pick(columns, key, _Rows(frame.height, partial(_find_in_frame, frame)))
    for name, kind in frame.schema.items():
        if holds(kind, pl.Binary, pl.Object):
            raise DataError(
                f"{key}: column {name!r} holds {kind}, and no prompt can show bytes; name here only the"
                " columns to keep"
            )
    return frame


def pick_fields(
    records: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any],
    key: str = "dataset.columns",
    name_record: Callable[[int], str] = lambda number: f"record {number + 1}",
) -> pl.DataFrame:
    """JSON records as a frame, with ``columns`` as in :func:`pick_columns`, each looked up record by record.

    Null is what a record does not have. ``name_record`` names a record, counted from 0, in messages.

    Raises:
        ConfigError: a source that is no text, or no pointer.
        DataError: a source that no record has, or one that leads into a text or number in some record.
    """
    if not columns:
        return make_frame([{name: row[name] for name in row if name != EACH} for row in records])

    return _pick(columns, key, _Rows(len(records), partial(_find_in_records, records, name_record)))


def _pick(columns: Mapping[str, Any], key: str, rows: _Rows) -> pl.DataFrame:
    return pl.DataFrame({name: _pick_one(source, f"{key}.{name}", rows) for name, source in columns.items()})


def _pick_one(source: Any, where: str, rows: _Rows) -> pl.Series:
    if isinstance(source, Mapping):
        if set(source) != {_FIRST} or not _is_list(source[_FIRST]):
            raise ConfigError(f"{where}: expected a column, a list of columns, or {{{_FIRST}: [columns]}}")
        return _take_first(source[_FIRST], where, rows)
    if _is_list(source):
        if not source:
            raise ConfigError(f"{where}=[]: expected at least one column")
        parts = [_pick_one(one, where, rows) for one in source]
        if len({part.dtype for part in parts}) == 1:
            return pl.select(
                pl.concat_list(*(part.alias(str(n)) for n, part in enumerate(parts)))
            ).to_series()
        return make_column("", [list(row) for row in zip(*(part.to_list() for part in parts), strict=True)])
    text = _read_name(source, where)
    found = rows.find(text, f"{where}={text!r}", False)
    assert found is not None
    return found


def _is_list(source: Any) -> bool:
    return isinstance(source, Sequence) and not isinstance(source, str)


def _read_name(source: Any, where: str) -> str:
    if source is None or isinstance(source, bool | Mapping) or _is_list(source):
        raise ConfigError(
            f"{where}={source}: expected the name of a column; quote yes, no, true, on and null"
        )
    return str(source)


def _take_first(sources: Sequence[Any], where: str, rows: _Rows) -> pl.Series:
    """The first source in each row that is not null; with a null among them, none need be there."""
    named = [_read_name(one, where) for one in sources if one is not None]
    found = [part for one in named if (part := rows.find(one, f"{where}={one!r}", True)) is not None]
    if not found and None in sources:
        return pl.Series([None] * rows.count, dtype=pl.Null)
    if not found:
        return _pick_one(named[0] if named else [], where, rows)
    if len({part.dtype for part in found}) == 1:
        return pl.select(pl.coalesce(*(part.alias(str(n)) for n, part in enumerate(found)))).to_series()
    values = zip(*(part.to_list() for part in found), strict=True)
    return make_column("", [next((one for one in row if one is not None), None) for row in values])


def _find_in_records(
    records: Sequence[Mapping[str, Any]],
    name_record: Callable[[int], str],
    text: str,
    where: str,
    lenient: bool,
) -> pl.Series | None:
    named = not text.startswith("/") or any(text in record for record in records)
    tokens = [text] if named else check_pointer(text, where)
    found = [follow(record, tokens) for record in records]
    misses = {number: value for number, value in enumerate(found) if isinstance(value, Miss)}
    wrong = [number for number, miss in misses.items() if miss.several or (miss.clash and not lenient)]
    if wrong:
        bad = wrong[0]
        some = len(misses) < len(records) and not misses[bad].several
        hint = f"; {{{_FIRST}: [one, other]}} takes what a record has" if some else ""
        said = f"{where}: {name_record(bad)}: {describe_clash(misses[bad], tokens)}{hint}"
        raise ChoiceError(said, EACH) if misses[bad].several else DataError(said)
    if len(misses) == len(records):
        if lenient:
            return None
        said = describe_misses(list(misses.values()), tokens)
        raise DataError(f"{where}: {said}; this is so in every record")
    return make_column("", [None if isinstance(value, Miss) else value for value in found])


def _find_in_frame(frame: pl.DataFrame, text: str, where: str, lenient: bool) -> pl.Series | None:
    if text in frame.columns:
        return frame[text]
    try:
        if not text.startswith("/"):
            raise DataError(f"{where}: the file has no such column{suggest(text, frame.columns)}")
        return frame.select(_resolve_pointer(frame, text, where)).to_series()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{where}: {error}") from error
    except DataError:
        if lenient:
            return None
        raise


def _resolve_pointer(frame: pl.DataFrame, pointer: str, where: str) -> pl.Expr:
    first, *rest = check_pointer(pointer, where)
    if first not in frame.columns:
        raise DataError(f"{where}: the file has no column {first!r}{suggest(first, frame.columns)}")
    expression: pl.Expr = pl.col(first)
    kind: _Kind = frame.schema[first]
    for token in rest:
        expression, kind = _enter_field(expression, kind, token, where)
    return expression


def _enter_field(expression: pl.Expr, kind: _Kind, token: str, where: str) -> tuple[pl.Expr, _Kind]:
    if isinstance(kind, pl.Struct):
        fields = dict(kind)
        if token not in fields:
            raise DataError(f"{where}: there is no field {token!r}{suggest(token, fields)}")
        return expression.struct.field(token), fields[token]
    if isinstance(kind, pl.List) and is_index(token):
        return expression.list.get(int(token), null_on_oob=True), kind.inner
    raise DataError(f"{where}: {token!r} leads into a value of type {kind}")
