"""Read one data file into a frame."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.errors import ConfigError, DataError, describe_decoding, suggest
from runner.data import columns, csv_file, json_file

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}

_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", r"\t": "\t"}


def read_file(
    path: Path,
    format: str | None = None,
    rows: str | None = None,
    key: str = "dataset",
    separator: str | None = None,
) -> pl.DataFrame:
    """All rows of a CSV, JSONL, JSON or Parquet file; its suffix tells the format unless ``format`` does.

    ``rows`` is the JSON pointer (RFC 6901) to the list of rows inside a JSON file. ``separator`` is the one
    letter between the columns of a CSV file (or ``comma``, ``semicolon``, ``tab``); without it the header
    tells. Text must be UTF-8, with or without a byte-order mark. Each value, written back, is the text of
    the file: a CSV column holds numbers only where that is so. ``key`` is the place of the data set in the
    config.

    Raises:
        ConfigError: an unknown format, or a key that does not fit the file.
        DataError: a file that cannot be read in this format, or that has no rows.
    """
    kind = _choose_format(path, format, key)
    if rows is not None and kind != "json":
        raise ConfigError(f"{key}.rows={rows!r} needs a JSON file, and {path.name} is read as {kind}")
    if separator is not None and kind != "csv":
        raise ConfigError(
            f"{key}.separator={separator!r} needs a CSV file, and {path.name} is read as {kind}"
        )
    try:
        if kind == "parquet":
            frame = columns.simplify(pl.read_parquet(path))
        else:
            text = path.read_bytes().decode("utf-8-sig")
            frame = _read_text(text, kind, rows, _choose_separator(path, separator, key), key)
    except (pl.exceptions.PolarsError, ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path}: cannot be read as {kind}: {_describe_error(error, key)}") from error
    if frame.is_empty():
        raise DataError(f"{path}: has no rows")
    return frame


def _read_text(text: str, kind: str, rows: str | None, separator: str | None, key: str) -> pl.DataFrame:
    if kind == "csv":
        frame = csv_file.read_csv(text, separator, key)
        return frame.with_columns(columns.read_numbers(column) for column in frame)
    if kind == "jsonl":
        return columns.make_frame(list(json_file.read_lines(text)))
    return columns.make_frame(_find_rows(json_file.read_json(text), rows, key))


def _choose_separator(path: Path, separator: str | None, key: str) -> str | None:
    if separator is None:
        return "\t" if path.suffix.lower() in (".tsv", ".tab") else None
    letter = _SEPARATORS.get(separator, separator)
    if len(letter) != 1 or letter in '"\r\n':
        raise ConfigError(f"{key}.separator={separator!r}: expected one letter, or {', '.join(_SEPARATORS)}")
    return letter


def _choose_format(path: Path, format: str | None, key: str) -> str:
    known = sorted(set(_SUFFIXES.values()))
    if format is None:
        if path.suffix.lower() in _SUFFIXES:
            return _SUFFIXES[path.suffix.lower()]
        raise ConfigError(
            f"{path.name!r} has no suffix of a known format ({', '.join(known)}); convert it to one of these,"
            f" or say in {key}.format which one it is"
        )
    if format not in known:
        raise ConfigError(f"{key}.format={format!r} is not known{suggest(format, known)}")
    return format


def _find_rows(content: Any, rows: str | None, key: str) -> list[dict[str, Any]]:
    """The list of objects that the pointer ``rows`` leads to."""
    for token in columns.split_pointer(rows or ""):
        content = _enter(content, token, f"{key}.rows={rows!r}")
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return content
    lists = []
    if isinstance(content, dict):
        lists = [f"/{name}" for name, value in content.items() if isinstance(value, list)]
    hint = f"; the file has lists at: {', '.join(lists)}" if lists else ""
    if isinstance(content, dict) and content and all(isinstance(value, dict) for value in content.values()):
        hint = "; with pandas, write it by to_json(…, orient='records')"
    if isinstance(content, list):
        place = next(place for place, row in enumerate(content) if not isinstance(row, dict))
        hint = f": item {place} of the list (counted from 0) is none"
    said = f"{key}.rows={rows!r} does not lead to" if rows else f"{key}.rows is not set, and the file is not"
    raise ConfigError(f"{said} a list of objects{hint}")


def _enter(content: Any, token: str, where: str) -> Any:
    if isinstance(content, dict) and token in content:
        return content[token]
    if isinstance(content, list) and token.isdecimal() and int(token) < len(content):
        return content[int(token)]
    known = (
        content
        if isinstance(content, dict)
        else map(str, range(len(content) if isinstance(content, list) else 0))
    )
    raise ConfigError(f"{where}: there is no {token!r}{suggest(token, known)}")


def _describe_error(error: Exception, key: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        return describe_decoding(error)
    if isinstance(error, JSONDecodeError):
        lines = error.msg == "Extra data"
        hint = f"; if each line is an object, {key}.format=jsonl reads it" if lines else ""
        return f"line {error.lineno}: {error.msg} (column {error.colno}){hint}"
    said = str(error).splitlines()[0]
    return (
        f"{said}; if it is a list, {key}.format=json reads it" if said == "line 1 is not an object" else said
    )
