"""The step ``join``: add the columns of a second file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from runner.config.dataset_schema import FileConfig
from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.core.types import write_column, write_value
from runner.data import fetch, reader

_KEYS = ("path", "url", "sha256", "token_env", *reader.READING, "key", "columns")


def join_file(frame: pl.DataFrame, join: Mapping[str, Any], where: str) -> pl.DataFrame:
    """The rows with the columns of a second file: by ``key``, compared as text, or row by row.

    Raises:
        ConfigError: an unknown key, or a column that the rows already have.
        DataError: a row without a match, a key twice, or, without ``key``, another number of rows.
    """
    for name in map(write_value, join):
        if name not in _KEYS:
            raise ConfigError(f"{where}.{name} is not known{suggest(name, _KEYS)}")
    for name in join.get("columns") or {}:
        if not isinstance(name, str):
            raise ConfigError(f"{where}.columns: the key {name} is no text; quote it")
    by = None if join.get("key") is None else write_value(join["key"])
    if by is not None:
        require_columns(frame, [by], f"{where}.key")
    other = _read_second(join, by, where)
    for name in other.columns:
        if name != by and name in frame.columns:
            raise ConfigError(f"{where}.columns.{name}: the rows already have a column of this name")
    return _join_by_place(frame, other, where) if by is None else _join_by_key(frame, other, by, where)


def require_columns(frame: pl.DataFrame, names: Iterable[str], where: str) -> None:
    """Raise :class:`DataError` for the first column that the frame does not have."""
    for name in names:
        if name not in frame.columns:
            raise DataError(f"{where}: there is no column {name!r}{suggest(name, frame.columns)}")


def _join_by_place(frame: pl.DataFrame, other: pl.DataFrame, where: str) -> pl.DataFrame:
    if frame.height != other.height:
        raise DataError(
            f"{where}.key is not set, so rows are joined in their order, but there are"
            f" {count_of(frame.height, 'row')} here and {other.height:,} in the second file; set it to the"
            " column that says which belong together"
        )
    return frame.hstack(other)


def _join_by_key(frame: pl.DataFrame, other: pl.DataFrame, by: str, where: str) -> pl.DataFrame:
    keys = frame.select(write_column(frame[by]))
    missing = keys.join(other, on=by, how="anti")
    if not missing.is_empty():
        rows = count_of(missing.height, "row")
        raise DataError(
            f"{where}: {rows} without a match, the first with {by}={missing[by].fill_null('')[0]!r}"
        )
    return frame.hstack(keys.join(other, on=by, how="left", maintain_order="left").drop(by))


def _read_second(join: Mapping[str, Any], by: str | None, where: str) -> pl.DataFrame:
    names = dict(join.get("columns") or {})
    if names and by is not None:
        names.setdefault(by, by)
    file = FileConfig(join.get("path"), join.get("url"), join.get("sha256"), join.get("token_env"))
    reading = reader.Reading(**{name: join.get(name) for name in reader.READING})
    parts = fetch.locate_parts(file, where)
    other = reader.read_parts(parts, reading, names, where)
    if by is None:
        return other
    require_columns(other, [by], f"{where}.key")
    other = other.with_columns(write_column(other[by]))
    twice = other.filter(pl.col(by).is_duplicated())
    if not twice.is_empty():
        value = twice[by].fill_null("")[0]
        name = parts[0].path.name
        raise DataError(f"{where}.key={by!r}: {name} has more than one row with {by}={value!r}")
    return other
