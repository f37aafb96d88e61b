"""Read data files into a frame."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from io import BytesIO
from itertools import accumulate
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.errors import ConfigError, DataError, describe_decoding, suggest
from runner.data import columns, csv_file, json_file, pointer, text_file
from runner.data.fetch import Part
from runner.data.files.archive import drop_packing
from runner.data.pick import pick_columns, pick_fields

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".eval": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xls": "excel",
    ".ods": "excel",
}
_FORMATS = ("csv", "excel", "json", "jsonl", "parquet", "text")
_RECORDS = ("json", "jsonl", "text")
"""Formats whose columns are found record by record, before there is a table."""
_USES = {
    "rows": ("json", "jsonl", "excel"),
    "separator": ("csv",),
    "pattern": ("text",),
    "skip": ("text",),
    "encoding": ("csv", "json", "jsonl", "text"),
}
_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", r"\t": "\t"}
FILE = "file"
"""The column with the name of the file of each row, where a pattern found the files."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files are read: the keys of ``dataset`` of the same names."""

    format: str | None = None
    rows: str | None = None
    separator: str | None = None
    pattern: str | None = None
    skip: str | None = None
    encoding: str | None = None


READING = tuple(field.name for field in fields(Reading))


def read_parts(
    parts: Sequence[Part],
    reading: Reading,
    names: Mapping[str, Any],
    key: str = "dataset",
) -> pl.DataFrame:
    """All rows of some files that one ``path`` means, with the columns ``names`` (:mod:`runner.data.pick`).

    The suffix of a name tells the format (CSV, JSON, JSONL, Parquet, Excel) unless ``reading`` does. Text
    must be UTF-8, with or without a byte-order mark, or in the ``encoding``. Each value, written back, is the
    text of the file: a column of a CSV, Excel or text file holds numbers only where that is so. Where a
    pattern found the files, a column ``file`` says which one a row is from. ``key`` is the place of the data
    set in the config.

    Raises:
        ConfigError: an unknown format, or a key that does not fit the file.
        DataError: a file that cannot be read in this format, that has no rows, or that lacks a column.
    """
    kinds = [_choose_format(part, reading, key) for part in parts]
    if all(kind in _RECORDS for kind in kinds):
        frame, counts = _read_records(parts, kinds, reading, names, key)
    else:
        frame, counts = _read_tables(parts, kinds, reading, names, key)
    if parts[0].file is None:
        return frame
    if FILE in frame.columns:
        raise DataError(
            f"{key}.columns: a column is named {FILE!r}, as is the one with the names of the files; give it"
            " another name there"
        )
    files = [part.file for part, count in zip(parts, counts, strict=True) for _ in range(count)]
    return frame.with_columns(pl.Series(FILE, files, dtype=pl.String))


def _read_records(
    parts: Sequence[Part], kinds: Sequence[str], reading: Reading, names: Mapping[str, Any], key: str
) -> tuple[pl.DataFrame, list[int]]:
    """The rows, and how many each file has; a column has one type in all files."""
    lists = [
        _read(part, kind, partial(_load_records, part, kind, reading, key), key)
        for part, kind in zip(parts, kinds, strict=True)
    ]
    ends = list(accumulate(map(len, lists)))

    def name_record(number: int) -> str:
        place = next(place for place, end in enumerate(ends) if number < end)
        inside = number - (ends[place - 1] if place else 0) + 1
        return f"record {inside} of {parts[place].name}" if len(parts) > 1 else f"record {inside}"

    records = [record for part in lists for record in part]
    frame = pick_fields(records, names, f"{key}.columns", name_record)
    if "text" in kinds:
        frame = frame.with_columns(
            columns.read_numbers(column) for column in frame if column.dtype == pl.String
        )
    return frame, [len(part) for part in lists]


def _read_tables(
    parts: Sequence[Part], kinds: Sequence[str], reading: Reading, names: Mapping[str, Any], key: str
) -> tuple[pl.DataFrame, list[int]]:
    frames: list[pl.DataFrame] = []
    for part, kind in zip(parts, kinds, strict=True):
        if kind != kinds[0]:
            raise ConfigError(
                f"{key}.path: {parts[0].name} is read as {kinds[0]}, and {part.name} as {kind}; name files of"
                f" one format, or say in {key}.format which one it is"
            )
        frame = _read(part, kind, partial(_load_table, part, kind, reading, key), key)
        frames.append(pick_columns(frame, names, f"{key}.columns"))
        if set(frame.columns) != set(frames[0].columns) and not names:
            odd = sorted(set(frame.columns) ^ set(frames[0].columns))
            raise DataError(
                f"{key}: {parts[0].name} and {part.name} do not both have the columns {', '.join(odd)};"
                f" name the columns to keep in {key}.columns"
            )
    return columns.join_frames([frame.select(frames[0].columns) for frame in frames]), [
        frame.height for frame in frames
    ]


def _read(part: Part, kind: str, load: Callable[[], Any], key: str) -> Any:
    try:
        found = load()
    except (pl.exceptions.PolarsError, ValueError, RecursionError, OSError) as error:
        raise DataError(f"{part.name}: cannot be read as {kind}: {_describe_error(error, key)}") from error
    if not len(found):
        raise DataError(f"{part.name}: has no rows")
    return found


def _load_records(part: Part, kind: str, reading: Reading, key: str) -> Sequence[Mapping[str, Any]]:
    text = _decode(part.read(), reading, key)
    if kind == "text":
        return text_file.read_records(text, reading.pattern, reading.skip, key)
    where = f"{key}.rows"
    if kind == "json":
        content = json_file.read_json(text)
        try:
            return pointer.find_rows(content, reading.rows, where)
        except ConfigError as error:
            raise ConfigError(f"{error}" + (f" ({part.name})" if part.file else "")) from None
    if reading.rows is None:
        return list(json_file.read_lines(text))
    found = []
    for number, content in json_file.read_values(text):
        try:
            found += pointer.find_rows(content, reading.rows, where)
        except ConfigError as error:
            raise ConfigError(f"{error} ({part.name}, line {number})") from None
    return found


def _load_table(part: Part, kind: str, reading: Reading, key: str) -> pl.DataFrame:
    if kind == "parquet":
        plain = part.content is None and part.name == drop_packing(part.name)
        return columns.simplify(pl.read_parquet(part.path if plain else BytesIO(part.read())))
    if kind == "excel":
        frame = _read_sheet(part.read(), reading.rows, key)
    else:
        name = Path(drop_packing(part.name))
        separator = _choose_separator(name, reading.separator, key)
        frame = csv_file.read_csv(_decode(part.read(), reading, key), separator, key)
    return frame.with_columns(columns.read_numbers(column) for column in frame)


def _read_sheet(content: bytes, sheet: str | None, key: str) -> pl.DataFrame:
    """One sheet of a workbook, each cell as text; the first row has the names."""
    try:
        import fastexcel
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}.path: reading Excel needs fastexcel: pip install 'llm-experiment-runner[excel]'"
        ) from error
    try:
        book = fastexcel.read_excel(content)
    except fastexcel.FastExcelError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if sheet is None and len(book.sheet_names) > 1:
        raise ConfigError(f"{key}.rows: say which sheet is meant: {', '.join(book.sheet_names)}")
    if sheet is not None and sheet not in book.sheet_names:
        raise ConfigError(f"{key}.rows={sheet!r}: there is no such sheet{suggest(sheet, book.sheet_names)}")
    name = sheet or book.sheet_names[0]
    texts, numbers = (
        book.load_sheet(name, header_row=None, dtypes=kind).to_polars() for kind in ("string", "float")
    )
    cells = [
        [_write_cell(text, number) for text, number in zip(texts[place], numbers[place], strict=True)]
        for place in texts.columns
    ]
    rows = [row for row in zip(*cells, strict=True) if any(cell is not None for cell in row)]
    if not rows:
        return pl.DataFrame()
    made = list(zip(*rows, strict=True))
    return csv_file.make_table([each[0] or "" for each in made], [list(each[1:]) for each in made])


def _write_cell(text: str | None, number: float | None) -> str | None:
    """The text of a cell; of a number, which the library rounds to nine digits, all digits that it needs.

    The number of a cell with text is what the text says, so that the two are equal.
    """
    if not text or number is None:
        return text or None
    rounded = f"{number:.9f}".rstrip("0").rstrip(".")
    return repr(number) if text == rounded and float(text) != number else text


def _decode(content: bytes, reading: Reading, key: str) -> str:
    if reading.encoding is None:
        if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise ValueError(f"it is UTF-16; {key}.encoding=utf-16 reads it")
        return content.decode("utf-8-sig")
    try:
        return content.decode(reading.encoding).removeprefix("\ufeff")
    except LookupError as error:  # also for one that is no encoding of text, such as rot13
        raise ConfigError(
            f"{key}.encoding={reading.encoding!r} is not known; utf-8, latin-1, cp1252 and utf-16 are some"
        ) from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not {reading.encoding}") from error


def _choose_separator(path: Path, separator: str | None, key: str) -> str | None:
    if separator is None:
        return "\t" if path.suffix.lower() in (".tsv", ".tab") else None
    letter = _SEPARATORS.get(separator, separator)
    if len(letter) != 1 or letter in '"\r\n':
        raise ConfigError(f"{key}.separator={separator!r}: expected one letter, or {', '.join(_SEPARATORS)}")
    return letter


def _choose_format(part: Part, reading: Reading, key: str) -> str:
    kind = _find_format(part, reading.format, key)
    for name, kinds in _USES.items():
        if (value := getattr(reading, name)) is not None and kind not in kinds:
            raise ConfigError(
                f"{key}.{name}={value!r} is for {' and '.join(kinds)} files, and {part.path.name} is read as"
                f" {kind}"
            )
    return kind


def _find_format(part: Part, format: str | None, key: str) -> str:
    if format is not None:
        if format not in _FORMATS:
            raise ConfigError(f"{key}.format={format!r} is not known{suggest(format, _FORMATS)}")
        return format
    suffix = Path(drop_packing(part.name)).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise ConfigError(
        f"{Path(part.name).name!r} has no suffix of a known format ({', '.join(_FORMATS)}); convert it to one"
        f" of these, or say in {key}.format which one it is"
    )


def _describe_error(error: Exception, key: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"{describe_decoding(error)}, or say in {key}.encoding what it is, such as latin-1"
    if isinstance(error, JSONDecodeError):
        lines = error.msg == "Extra data"
        hint = f"; if each line is an object, {key}.format=jsonl reads it" if lines else ""
        return f"line {error.lineno}: {error.msg} (column {error.colno}){hint}"
    said = str(error).splitlines()[0]
    return (
        f"{said}; if it is a list, {key}.format=json reads it" if said == "line 1 is not an object" else said
    )
