"""Parsers that find the part of a reply that holds the answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import isfinite
from typing import Any, Literal

import polars as pl

from runner.core.errors import ConfigError, suggest
from runner.core.types import Parser, Reading
from runner.parse.literal import ABSENT, DOUBTFUL, is_same, join_pairs, read_literal


class Text:
    """The reply itself without surrounding white space; None if that is empty."""

    dtype: pl.DataType = pl.String()

    def __call__(self, text: str) -> str | None:
        return text.strip() or None

    def read(self, text: str) -> Reading:
        """The value with its place."""
        value = self(text)
        if value is None:
            return Reading(None, "the reply is empty")
        start = len(text) - len(text.lstrip())
        return Reading(value, "the whole reply", start, start + len(value))


def read(parser: Parser, text: str) -> Reading:
    """What a parser finds in a text, also if it has no ``read`` of its own."""
    own = getattr(parser, "read", None)
    if not callable(own):
        return Reading(parser(text), "")
    reading = own(text)
    if not isinstance(reading, Reading):
        raise TypeError(f"read(text) must give a runner.core.types.Reading, not {reading!r:.80}")
    return reading


class Regex:
    """What a group of a regular expression, ``pattern``, captures.

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
        return self.read(text).value

    def read(self, text: str) -> Reading:
        """The value with the place of the text that the group captured, or the reason why there is none."""
        matches = list(self.pattern.finditer(text))
        if not matches:
            return Reading(None, "the pattern does not match")
        if self.pick != "only":
            matches = matches[:1] if self.pick == "first" else matches[-1:]
        readings = [self._read_group(match) for match in matches]
        rule = "the only match" if self.pick == "only" else f"the {self.pick} match"
        return take_agreed(readings, rule)

    def _read_group(self, match: re.Match[str]) -> Reading:
        start = match.start(self.group)
        if start < 0:
            return Reading(None, f"the pattern matches without its group {self.group!r}")
        return _move(read(self.then, match[self.group]), start)


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"parser Regex: pattern {pattern!r} is not valid: {error}") from None


def _move(reading: Reading, by: int) -> Reading:
    if reading.start is None or reading.end is None:
        return reading
    return replace(reading, start=reading.start + by, end=reading.end + by)


def take_agreed(readings: list[Reading], rule: str) -> Reading:
    """The first of readings with one value; without a value if there is none or if they differ."""
    first = readings[0]
    if not all(is_same(reading.value, first.value) for reading in readings):
        return Reading(None, f"{len(readings)} matches differ")
    return first if first.value is None else replace(first, rule=f"{rule}; {first.rule}".strip("; "))


class Json:
    """A field of the JSON object in a reply. Code fences and sentences around the object are allowed.

    ``field`` is a dotted path (``result.rating``; a number is an index of a list). With ``then``, that parser
    reads the value as text (``true``, ``4``). Without it, text, numbers and truth values are kept and
    anything else is None. Several objects with the field must agree, and so must a key that an object has
    twice. A truncated object gives None. An object as Python writes it (``{'rating': 4}``) is read, too, and
    so is one with a comma too many.

    >>> Json("rating")('Here you are: {"rating": 4, "why": "clear"}')
    4
    """

    def __init__(self, field: str, then: Parser | None = None) -> None:
        if not field:
            raise ConfigError("parser Json: field is empty; expected the name of a field, such as 'rating'")
        self.field, self.then = field, then
        self.dtype: pl.DataType | None = getattr(then, "dtype", None)

    def __call__(self, text: str) -> Any:
        return self.read(text).value

    def read(self, text: str) -> Reading:
        """The value with the place of its object, or the reason why there is none."""
        documents, broken = _find_objects(text)
        path = self.field.split(".")
        found = [(get_field(node, path), start, end) for node, start, end in documents]
        found = [each for each in found if each[0] is not ABSENT]
        if not found:
            why = (
                "no object can be read"
                if broken and not documents
                else f"no object has a field {self.field!r}"
            )
            return Reading(None, why)
        if broken and re.search(rf'\{{[\s\S]*"{re.escape(path[0])}"', text[found[-1][2] :]):
            return Reading(None, "a broken object follows")
        readings = [self._read_value(value, text, start, end) for value, start, end in found]
        return take_agreed(readings, f"the field {self.field!r}")

    def _read_value(self, value: Any, text: str, start: int, end: int) -> Reading:
        if value is DOUBTFUL:
            return Reading(None, f"an object has the field {self.field!r} twice")
        if value is None:
            return Reading(None, f"the field {self.field!r} is null")
        if isinstance(value, dict) and not isinstance(self.then, Json | Regex):
            return Reading(None, f"the field {self.field!r} is an object; name a field of it")
        if self.then is not None:
            try:
                shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            except TypeError:
                return Reading(None, f"the field {self.field!r} has a key twice")
            inner = read(self.then, shown)
            if inner.start is None or inner.end is None:
                return inner
            at = text.find(shown, start, end)
            if at < 0 or text.find(shown, at + 1, end) >= 0:  # escaped, or not the only such text
                return replace(inner, start=None, end=None)
            return _move(inner, at)
        if isinstance(value, str):
            value = value.strip() or None
        elif isinstance(value, float) and not isfinite(value):
            value = None
        elif not isinstance(value, bool | int | float):
            return Reading(None, f"the field {self.field!r} is neither text nor a number")
        return Reading(value, "", start, end) if value is not None else Reading(None, "the field is empty")


def get_field(node: Any, path: list[str]) -> Any:
    """The value at a path, :data:`ABSENT` or :data:`DOUBTFUL`."""
    for step in path:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return DOUBTFUL if node is DOUBTFUL else ABSENT
    return node


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse, object_pairs_hook=join_pairs)


def _find_objects(text: str) -> tuple[list[tuple[Any, int, int]], bool]:
    """The outermost JSON objects in a text with their places, and whether there are broken ones.

    The search continues where a broken object breaks. What comes before that is part of the broken object,
    and to read it as an answer would be a guess.
    """
    found: list[tuple[Any, int, int]] = []
    broken, tries = False, 20
    start = text.find("{")
    while start >= 0:
        try:
            document, end = _DECODER.raw_decode(text, start)
            found.append((document, start, end))
        except json.JSONDecodeError as error:
            literal, end = (ABSENT, 0) if tries == 0 else read_literal(text, start)
            tries -= tries > 0
            if literal is not ABSENT:
                found.append((literal, start, end))
                start = text.find("{", end)
                continue
            broken = True
            end = len(text) if error.msg.startswith("Unterminated") else max(error.pos, start + 1)
        except (RecursionError, ValueError):
            return [], True
        start = text.find("{", end)
    return found, broken
