"""Read JSON and JSON lines without losing what the file says about a number, a key or a letter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from runner.core.types import write_value

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SMALL = 18  # digits that fit into 64 bits in any case


class Digits(str):
    """A number that would be written in another way than the file does, such as 1.50 or 1e5."""


def read_json(text: str) -> Any:
    """The value of a JSON text.

    Whole numbers of 64 bits are ``int``, and other numbers ``float`` if Python writes them as the text does;
    else they are :class:`Digits`. Half a surrogate pair becomes U+FFFD. Python also writes
    what is no JSON: NaN is null, as in Parquet files, and Infinity and -Infinity are :class:`Digits`.

    Raises:
        ValueError: for what is no JSON, and for a key that an object has twice.
    """
    try:
        content = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return _mend(content) if _HALF.search(text) else content


def read_values(text: str) -> Iterator[tuple[int, Any]]:
    """The values of JSON lines with their line numbers, as :func:`read_json` reads them; no empty lines.

    Raises:
        ValueError: for the first line that is no JSON, with its number.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.isspace() or not line:
            continue
        try:
            yield number, read_json(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg} (column {error.colno})") from error
        except ValueError as error:
            raise ValueError(f"line {number}: {str(error).removeprefix('line 1: ')}") from error


def read_lines(text: str) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines. Raises :class:`ValueError` for the first line that is none."""
    for number, row in read_values(text):
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not an object")
        yield row


def write_json(value: Any) -> str:
    """A value of :func:`read_json` as text: text as it is, :class:`Digits` as the file has them."""
    return _write_nested(value) if isinstance(value, list | dict) else write_value(value)


def _write_nested(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(name, ensure_ascii=False)}: {_write_nested(v)}" for name, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_write_nested, value)) + "]"
    return str(value) if isinstance(value, Digits) else json.dumps(value, ensure_ascii=False)


def _read_int(text: str) -> int | Digits:
    if len(text) <= _SMALL:
        return int(text) if text != "-0" else Digits(text)
    return int(text) if len(text) <= 20 and -(2**63) <= int(text) < 2**63 else Digits(text)


def _read_float(text: str) -> float | Digits:
    value = float(text)
    return value if repr(value) == text else Digits(text)


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"an object has the key {twice!r} twice: {_write_nested(found):.80}")
    return found


def _read_constant(name: str) -> Digits | None:
    return None if name == "NaN" else Digits(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_make_object,
    parse_int=_read_int,
    parse_float=_read_float,
    parse_constant=_read_constant,
)


def _mend(value: Any) -> Any:
    """The value with U+FFFD for each half of a surrogate pair."""
    if isinstance(value, dict):
        return {_mend(name): _mend(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if type(value) is str:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value
