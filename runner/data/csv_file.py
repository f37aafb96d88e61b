"""Read CSV as RFC 4180 describes it: what is not so is an error with its line, and no field is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import polars as pl

from runner.core.errors import count_of

SEPARATORS = (",", ";", "\t")
"""Those that a header can show."""

_Field = tuple[str, str]
"""A field as it is written, with its quotes, and what ends it: a separator, a line break or nothing."""


def read_csv(text: str, separator: str | None = None, key: str = "dataset") -> pl.DataFrame:
    """All records of a CSV text as columns of text. An empty field is null, whether it is quoted or not.

    The first record names the columns. A record ends with a line feed, with or without a carriage return
    before it, or, if the first one does, with a carriage return alone. An empty line is no record, except
    in a table of one column, where it is an empty field; at the end of the text it never is one. Without
    ``separator`` the header tells it: a comma, a semicolon or a tab.

    Raises:
        ValueError: for the first field or record that is not as it must be, with its line.
    """
    text = text.rstrip("\r\n")
    if not text:
        return pl.DataFrame()
    mark = separator or _find_separator(text, key)
    fields = _split_fields(text, mark)
    names = _read_names(fields, mark)
    width = len(names)
    if not _is_table(fields, width, mark):
        fields = _drop_empty_lines(fields, width, mark)
    columns = [[_unquote(field) for field, _ in fields[width + place :: width]] for place in range(width)]
    return make_table(names, columns)


def make_table(names: list[str], columns: list[list[str | None]]) -> pl.DataFrame:
    """The cells below their names, without columns that have no name and no cell with text, as from Excel."""
    kept: dict[str, list[str | None]] = {}
    for name, cells in zip(names, columns, strict=True):
        if not name and not any(cells):
            continue
        if name in kept:
            raise ValueError(f"line 1: two columns are named {name!r}" if name else _NO_NAMES)
        kept[name] = cells
    return pl.DataFrame(kept, dict.fromkeys(kept, pl.String))


_NO_NAMES = "line 1: two columns have no name"


def _unquote(field: str) -> str | None:
    return field[1:-1].replace('""', '"') or None if field[:1] == '"' else field or None


def _find_separator(text: str, key: str) -> str:
    """The one separator that the header shows; a comma where it shows none."""
    found = [mark for mark in SEPARATORS if mark in re.sub(r'"[^"]*"', "", _match_header(text)[1])]
    if len(found) > 1:
        both = " and ".join(map(repr, found))
        raise ValueError(f"line 1 has both {both}; say in {key}.separator which is between the columns")
    return found[0] if found else ","


def _match_header(text: str) -> re.Match[str]:
    """The first record (group 1) and its line break (group 2)."""
    match = re.match(r'((?:"[^"]*"|[^"\r\n])*+)(\r?\n?)', text)
    assert match is not None  # it matches nothing, too
    return match


@cache
def _make_patterns(separator: str, line_end: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The patterns of a field with its end, and of as many of them as follow each other."""
    mark = re.escape(separator)
    field = rf'"[^"]*+(?:""[^"]*+)*+"|[^"\r\n{mark}]*+'
    return re.compile(rf"({field})({mark}|{line_end}|\Z)"), re.compile(
        rf"(?:(?:{field})(?:{mark}|{line_end}))*+"
    )


def _split_fields(text: str, separator: str) -> list[_Field]:
    field, many = _make_patterns(separator, r"\r" if _match_header(text)[2] == "\r" else r"\r?\n")
    rest = many.match(text)
    assert rest is not None
    if field.match(text, rest.end()) is None:
        raise ValueError(_describe_fault(text, rest.end(), separator))
    fields = field.findall(text)
    if len(fields) > 1 and not fields[-2][1]:
        fields.pop()  # the empty match after the last field
    return fields


def _describe_fault(text: str, begin: int, separator: str) -> str:
    """Why what begins here is no field."""
    line = _count_lines(text[:begin]) + 1
    if text[begin] == '"':
        closed = re.compile(r'"[^"]*+(?:""[^"]*+)*+"').match(text, begin)
        if closed is None:
            return f"line {line}: the quote that begins a field here is never closed"
        after = re.split(r"[\r\n]", text[closed.end() : closed.end() + 20])[0]
        line += _count_lines(closed[0])
        return f'line {line}: {after!r} follows a closing quote; inside a quoted field, write a quote as ""'
    plain = re.compile(rf'[^"\r\n{re.escape(separator)}]*').match(text, begin)
    assert plain is not None
    if text[plain.end()] != '"':
        return f"line {line}: ends with another kind of line break than line 1 does"
    return (
        f"line {line}: a quote in a field that does not begin with one, after {plain[0][-20:]!r};"
        ' put the field in quotes, and write the quote as ""'
    )


def _count_lines(text: str) -> int:
    return len(re.findall(r"\r\n|\n|\r", text))


def _read_names(fields: list[_Field], separator: str) -> list[str]:
    width = next(place for place, (_, end) in enumerate(fields, 1) if end != separator)
    names = [_unquote(field) or "" for field, _ in fields[:width]]
    if not any(names):
        raise ValueError("line 1 is empty; it must name the columns")
    if names[0] == "sep=":
        raise ValueError("line 1 is a hint to Excel; delete it, since the header must be there")
    for name in names:
        if "\0" in name:
            raise ValueError(f"line 1: the name {name!r} has a NUL; save the file as UTF-8")
    return names


def _is_table(fields: list[_Field], width: int, separator: str) -> bool:
    """Whether each record has as many fields as the header."""
    last = [end != separator for _, end in fields[width - 1 :: width]]
    return all(last) and len(last) * width == len(fields) == width * sum(
        end != separator for _, end in fields
    )


def _drop_empty_lines(fields: list[_Field], width: int, separator: str) -> list[_Field]:
    """The fields of all records but the empty ones. Raises for a record of another width than the header."""
    kept: list[_Field] = []
    line = 1
    for record in _split_records(fields, separator):
        if len(record) == width:
            kept += record
        elif record[0][0] or len(record) > 1:
            raise ValueError(f"line {line}: {count_of(len(record), 'field')}, but line 1 has {width}")
        line += 1 + sum(_count_lines(field) for field, _ in record)
    return kept


def _split_records(fields: list[_Field], separator: str) -> Iterator[list[_Field]]:
    record: list[_Field] = []
    for field in fields:
        record.append(field)
        if field[1] != separator:
            yield record
            record = []
