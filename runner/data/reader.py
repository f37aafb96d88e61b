"""Read one data file into a frame, and rename its columns."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.errors import ConfigError, DataError, suggest

_Kind = pl.DataType | pl.datatypes.DataTypeClass

_SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def read_file(
    path: Path, format: str | None = None, rows: str | None = None, key: str = "dataset"
) -> pl.DataFrame:
    """All rows of a CSV, JSONL, JSON or Parquet file; its suffix tells the format unless ``format`` does.

    ``rows`` is the JSON pointer (RFC 6901) to the list of rows inside a JSON file. Text must be UTF-8.
    ``key`` is the place of the data set in the config.

    Raises:
        ConfigError: an unknown format, or a ``rows`` that does not lead to rows.
        DataError: a file that cannot be read in this format, or that has no rows.
    """
    kind = _choose_format(path, format, key)
    if rows is not None and kind != "json":
        raise ConfigError(f"{key}.rows={rows!r} needs a JSON file, and {path.name} is read as {kind}")
    try:
        frame = _read_json(path, rows, key) if kind == "json" else _READERS[kind](path)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path}: cannot be read as {kind}: {_describe_error(path, kind, error)}") from error
    if frame.is_empty():
        raise DataError(f"{path}: has no rows")
    return frame


def _choose_format(path: Path, format: str | None, key: str) -> str:
    known = sorted(set(_SUFFIXES.values()))
    if format is None:
        if path.suffix.lower() in _SUFFIXES:
            return _SUFFIXES[path.suffix.lower()]
        raise ConfigError(
            f"{key}.format is required, since {path.name!r} has no known suffix; known: {', '.join(known)}"
        )
    if format not in known:
        raise ConfigError(f"{key}.format={format!r} is not known{suggest(format, known)}")
    return format


def _read_csv(path: Path) -> pl.DataFrame:
    text = path.read_bytes()
    text.decode("utf-8")  # polars would silently replace letters of other encodings
    return pl.read_csv(io.BytesIO(text), infer_schema_length=None)


def _read_jsonl(path: Path) -> pl.DataFrame:
    text = path.read_bytes()
    return pl.read_ndjson(io.BytesIO(text), infer_schema_length=None) if text.strip() else pl.DataFrame()


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "parquet": lambda path: pl.read_parquet(path),
}


def _read_json(path: Path, rows: str | None, key: str) -> pl.DataFrame:
    content = json.loads(path.read_text(encoding="utf-8"))
    for token in _split_pointer(rows or ""):
        content = _enter(content, token, f"{key}.rows={rows!r}")
    if not (isinstance(content, list) and all(isinstance(row, dict) for row in content)):
        lists = (
            [name for name, value in content.items() if isinstance(value, list)]
            if isinstance(content, dict)
            else []
        )
        hint = f"; the file has lists at: {', '.join('/' + name for name in lists)}" if lists else ""
        raise ConfigError(f"{key}.rows={rows!r} does not lead to a list of objects in {path.name}{hint}")
    if not content:
        return pl.DataFrame()
    # As JSON lines, because there polars reads values of mixed types as text; in JSON it refuses them.
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
    return pl.read_ndjson(io.BytesIO(lines.encode()), infer_schema_length=None)


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


def _describe_error(path: Path, kind: str, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return f"line {line} is not UTF-8; save the file as UTF-8"
    if kind == "jsonl":
        return _find_bad_line(path) or str(error)
    return str(error).splitlines()[0]


def _find_bad_line(path: Path) -> str | None:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            if line.strip() and not isinstance(json.loads(line), dict):
                return f"line {number} is not an object"
        except (ValueError, RecursionError) as error:
            return f"line {number}: {error}"
    return None


def select_columns(
    frame: pl.DataFrame, columns: Mapping[str, Any], key: str = "dataset.columns"
) -> pl.DataFrame:
    """The frame's columns under new names; all unchanged where ``columns`` is empty.

    Each value is a source column, a JSON pointer into nested records (``/results/0/text``) or a list of
    these, which gives a list column.

    Raises:
        DataError: an unknown column or field; the message suggests the nearest one.
    """
    if not columns:
        return frame
    try:
        return frame.select(_resolve(frame, s, f"{key}.{name}").alias(name) for name, s in columns.items())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{key}: {error}") from error


def _resolve(frame: pl.DataFrame, source: Any, where: str) -> pl.Expr:
    if isinstance(source, Sequence) and not isinstance(source, str):
        return pl.concat_list([_resolve(frame, one, where) for one in source])
    text = str(source)
    if text in frame.columns:
        return pl.col(text)
    if not text.startswith("/"):
        raise DataError(f"{where}={text!r}: the file has no such column{suggest(text, frame.columns)}")
    return _resolve_pointer(frame, text, where)


def _resolve_pointer(frame: pl.DataFrame, pointer: str, where: str) -> pl.Expr:
    first, *rest = _split_pointer(pointer)
    if first not in frame.columns:
        raise DataError(
            f"{where}={pointer!r}: the file has no column {first!r}{suggest(first, frame.columns)}"
        )
    expression: pl.Expr = pl.col(first)
    kind: _Kind = frame.schema[first]
    for token in rest:
        expression, kind = _enter_field(expression, kind, token, f"{where}={pointer!r}")
    return expression


def _enter_field(expression: pl.Expr, kind: _Kind, token: str, where: str) -> tuple[pl.Expr, _Kind]:
    if isinstance(kind, pl.Struct):
        fields = dict(kind)
        if token not in fields:
            raise DataError(f"{where}: there is no field {token!r}{suggest(token, fields)}")
        return expression.struct.field(token), fields[token]
    if isinstance(kind, pl.List) and token.isdecimal():
        return expression.list.get(int(token), null_on_oob=True), kind.inner
    raise DataError(f"{where}: {token!r} leads into a value of type {kind}")


def _split_pointer(pointer: str) -> list[str]:
    """The parts of a JSON pointer.

    >>> _split_pointer("/results/0/swap = False/a~1b")
    ['results', '0', 'swap = False', 'a/b']
    """
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
