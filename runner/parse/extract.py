"""Parsers that find the part of a reply that holds the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import polars as pl

from runner.core.errors import ConfigError, suggest
from runner.core.types import Parser


class Text:
    """The reply itself without surrounding white space; None if that is empty."""

    dtype: pl.DataType = pl.String()

    def __call__(self, text: str) -> str | None:
        return text.strip() or None


class Regex:
    """What a group of a regular expression captures.

    ``group`` is a number or a name. ``pick`` says which of several matches counts: ``first``, ``last``, or
    ``only``, which gives None unless all matches give the same value. ``then`` is a parser for the captured
    text. Case matters unless the pattern starts with ``(?i)``.

    >>> Regex(r"Output \\(([ab])\\)", pick="last")("Output (a) is short. Therefore, Output (b) is better.")
    'b'
    """

    def __init__(
        self,
        pattern: str,
        group: int | str = 1,
        pick: Literal["only", "first", "last"] = "only",
        then: Parser | None = None,
    ) -> None:
        self.pattern = _compile(pattern)
        if group not in (*range(self.pattern.groups + 1), *self.pattern.groupindex):
            raise ConfigError(f"parser Regex: pattern {pattern!r} has no group {group!r}")
        if pick not in ("only", "first", "last"):
            raise ConfigError(f"parser Regex: pick {pick!r}{suggest(str(pick), ('only', 'first', 'last'))}")
        self.group, self.pick = group, pick
        self.then: Parser = Text() if then is None else then
        self.dtype: pl.DataType | None = getattr(self.then, "dtype", None)

    def __call__(self, text: str) -> Any:
        found = [match[self.group] or "" for match in self.pattern.finditer(text)]
        if self.pick != "only":
            found = found[:1] if self.pick == "first" else found[-1:]
        return _take_agreed(self.then(capture) for capture in found)


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"parser Regex: pattern {pattern!r} is not valid: {error}") from None


def _take_agreed(values: Iterable[Any]) -> Any:
    """The common value of all; None if there is none or if they differ."""
    seen = list(values)
    return seen[0] if seen and all(_is_same(value, seen[0]) for value in seen) else None


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


class Json:
    """A field of the JSON object in a reply. Code fences and sentences around the object are allowed.

    ``field`` is a dotted path (``result.rating``; a number is an index of a list). With ``then``, that parser
    reads the value as text (``true``, ``4``). Without it, text, numbers and truth values are kept and
    anything else is None. Several objects with the field must agree. A truncated object gives None.

    >>> Json("rating")('Here you are: {"rating": 4, "why": "clear"}')
    4
    """

    def __init__(self, field: str, then: Parser | None = None) -> None:
        if not field:
            raise ConfigError("parser Json: field is empty; expected the name of a field, such as 'rating'")
        self.field, self.then = field, then
        self.dtype: pl.DataType | None = getattr(then, "dtype", None)

    def __call__(self, text: str) -> Any:
        found = [_get_field(document, self.field.split(".")) for document in _find_objects(text)]
        return _take_agreed(self._convert(value) for value in found if value is not _ABSENT)

    def _convert(self, value: Any) -> Any:
        if value is None:
            return None
        if self.then is not None:
            return self.then(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        if isinstance(value, str):
            return value.strip() or None
        return value if isinstance(value, bool | int | float) else None


_ABSENT = object()


def _get_field(node: Any, path: list[str]) -> Any:
    for step in path:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return _ABSENT
    return node


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse)


def _find_objects(text: str) -> Iterator[Any]:
    """The outermost JSON objects in a text.

    The search continues where a broken object breaks. What comes before that is part of the broken object,
    and to read it as an answer would be a guess.
    """
    start = text.find("{")
    while start >= 0:
        try:
            document, end = _DECODER.raw_decode(text, start)
            yield document
        except json.JSONDecodeError as error:
            end = len(text) if error.msg.startswith("Unterminated") else max(error.pos, start + 1)
        except (RecursionError, ValueError):
            return
        start = text.find("{", end)
