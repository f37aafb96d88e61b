"""Parsers around other parsers: clean the reply before one, or read several fields of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import polars as pl

from runner.core.errors import ConfigError, DataError, suggest
from runner.core.types import Parser, Reading
from runner.parse.columns import describe, list_fields, read_column
from runner.parse.extract import Text, read, take_agreed


@dataclass(frozen=True)
class _Piece:
    """A cleaned text. Each of its characters comes from the places ``starts`` to ``ends`` of the reply."""

    text: str
    starts: list[int]
    ends: list[int]

    def cut(self, start: int, end: int) -> _Piece:
        return _Piece(self.text[start:end], self.starts[start:end], self.ends[start:end])

    def substitute(self, pattern: re.Pattern[str], write: Callable[[re.Match[str]], str]) -> _Piece:
        texts, starts, ends, place = [], list[int](), list[int](), 0
        for match in pattern.finditer(self.text):
            left, new = self.cut(place, match.start()), write(match)
            gone = self.cut(match.start(), match.end())
            at = (
                gone.starts[0]
                if gone.starts
                else self.starts[match.start()]
                if match.start() < len(self.text)
                else 0
            )
            to = gone.ends[-1] if gone.ends else at
            texts += [left.text, new]
            starts += [*left.starts, *[at] * len(new)]
            ends += [*left.ends, *[to] * len(new)]
            place = match.end()
        rest = self.cut(place, len(self.text))
        return _Piece("".join([*texts, rest.text]), [*starts, *rest.starts], [*ends, *rest.ends])


class Clean:
    """Cleans the reply, in this order, before another parser reads it.

    after            keeps what follows this text; a reply without it has no value
    pick             which place of ``after`` counts: ``first``, ``last``, or ``only``, which gives None
                     unless what follows each of them is read alike
    required         false: a reply without ``after`` is kept whole
    before           keeps what comes before the first place of this text, and all of a reply without it
    replace          from each text to another in its place, one after the other
    replace_pattern  the same from regular expressions; ``\\1`` is what a group captured
    lower            true: all letters become small
    then             the parser that reads what is left; null keeps its text

    The place in a :class:`~runner.core.types.Reading` is that in the reply as it was.

    >>> Clean(after="answer is ", before=".", replace={"(": "", ")": ""})("So the answer is (C). Done.")
    'C'
    """

    def __init__(
        self,
        then: Parser | None = None,
        after: str | None = None,
        before: str | None = None,
        replace: Mapping[str, str] | None = None,
        replace_pattern: Mapping[str, str] | None = None,
        lower: bool = False,
        pick: Literal["only", "first", "last"] = "only",
        required: bool = True,
    ) -> None:
        for name, value in (("after", after), ("before", before)):
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigError(f"parser Clean: {name} {value!r} must be a text, and not an empty one")
        if pick not in ("only", "first", "last"):
            raise ConfigError(f"parser Clean: pick {pick!r}{suggest(str(pick), ('only', 'first', 'last'))}")
        self.after, self.before, self.lower, self.pick, self.required = after, before, lower, pick, required
        self.then: Parser = Text() if then is None else then
        self.dtype: pl.DataType | None = getattr(self.then, "dtype", None)
        self._changes = [
            *_plan_changes("replace", replace),
            *_plan_changes("replace_pattern", replace_pattern),
        ]
        if fields := getattr(self.then, "fields", None):
            arguments: dict[str, Any] = {
                "after": after, "before": before, "replace": replace, "replace_pattern": replace_pattern,
                "lower": lower, "pick": pick, "required": required,
            }  # fmt: skip
            self.fields = {name: Clean(parser, **arguments) for name, parser in fields.items()}

    def __call__(self, text: str) -> Any:
        return self.read(text).value

    def read(self, text: str) -> Reading:
        """The value with its place in the reply, or the reason why there is none."""
        pieces = list(self._cut(_Piece(text, list(range(len(text))), list(range(1, len(text) + 1)))))
        if not pieces:
            return Reading(None, f"the reply has no {self.after!r}")
        readings = [self._read_piece(piece) for piece in pieces]
        return readings[0] if len(readings) == 1 else take_agreed(readings, f"after {self.after!r}")

    def _cut(self, whole: _Piece) -> Iterator[_Piece]:
        """What follows each place of ``after`` that counts."""
        places = (
            []
            if self.after is None
            else [found.end() for found in re.finditer(re.escape(self.after), whole.text)]
        )
        if self.pick != "only":
            places = places[:1] if self.pick == "first" else places[-1:]
        if self.after is None or not (places or self.required):
            places = [0]
        for place in places:
            rest = whole.cut(place, len(whole.text))
            end = -1 if self.before is None else rest.text.find(self.before)
            yield rest if end < 0 else rest.cut(0, end)

    def _read_piece(self, piece: _Piece) -> Reading:
        for pattern, write in self._changes:
            piece = piece.substitute(pattern, write)
        if self.lower:
            piece = (
                piece.substitute(_LETTERS, lambda found: found[0].lower())
                if not piece.text.islower()
                else piece
            )
        found = read(self.then, piece.text)
        if (
            found.start is None
            or found.end is None
            or found.start >= found.end
            or found.end > len(piece.text)
        ):
            return replace(found, start=None, end=None)
        return replace(found, start=piece.starts[found.start], end=piece.ends[found.end - 1])


_LETTERS = re.compile(r"\w")


def _plan_changes(name: str, given: Any) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
    """The replacements as patterns and what to write for a match. Raises for a pattern that is not valid."""
    changes: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = []
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"parser Clean: {name} must map each text to another, got {given!r}")
    for old, new in (given or {}).items():
        if not isinstance(old, str) or not isinstance(new, str) or not old:
            raise ConfigError(
                f"parser Clean: {name} must map each text to another; quote {old!r} and {new!r}"
            )
        try:
            pattern = re.compile(old if name == "replace_pattern" else re.escape(old))
            if name == "replace_pattern":
                pattern.sub(new, "")  # a wrong group is found now
                re.compile(f"{old}|").sub(new, "")
        except (re.error, IndexError) as error:
            raise ConfigError(f"parser Clean: {name} {old!r}: {new!r} is not valid: {error}") from None
        changes.append((pattern, _write_group(new) if name == "replace_pattern" else _write_text(new)))
    return changes


def _write_text(new: str) -> Callable[[re.Match[str]], str]:
    return lambda match: new


def _write_group(new: str) -> Callable[[re.Match[str]], str]:
    return lambda match: match.expand(new)


class Multi:
    """Reads several fields of one reply, each with its own parser.

    fields  from each name to the parser of the field; all read the whole reply
    main    the field that is the ``prediction``; null: the first one

    A field ``NAME`` is the column ``prediction_NAME``, which a metric reads as its ``prediction``; of a judge
    it is ``verdict_NAME``. A field that cannot be read is null, and the others stay. The parse rate and the
    gold values are those of the main field.

    >>> parser = Multi({"score": Clean(after="score: ", before=","), "why": Clean(after="why: ")})
    >>> parser("score: 4, why: clear"), parser.fields["why"]("score: 4, why: clear")
    ('4', 'clear')
    """

    def __init__(self, fields: Mapping[str, Parser], main: str | None = None) -> None:
        if not isinstance(fields, Mapping) or not fields:
            raise ConfigError(
                f"parser Multi: expected fields as a mapping from each name to its parser, got {fields!r}"
            )
        for name, parser in fields.items():
            if not isinstance(name, str) or not re.fullmatch(r"[^\W\d]\w*", name):
                raise ConfigError(f"parser Multi: the field {name!r} must be a word of letters, digits and _")
            if not callable(parser):
                raise ConfigError(
                    f"parser Multi: the field {name!r} needs a parser with _target_, got {parser!r}"
                )
            if getattr(parser, "fields", None):
                raise ConfigError(
                    f"parser Multi: the field {name!r} has fields of its own; put them beside it"
                )
        if main is not None and main not in fields:
            raise ConfigError(f"parser Multi: main {main!r} is not a field{suggest(str(main), fields)}")
        self.fields = dict(fields)
        self.main = next(iter(fields)) if main is None else main
        self.then: Parser = self.fields[self.main]
        self.dtype: pl.DataType | None = getattr(self.then, "dtype", None)

    def __call__(self, text: str) -> Any:
        return self.then(text)

    def read(self, text: str) -> Reading:
        """What was read of the main field."""
        return read(self.then, text)


class Field(NamedTuple):
    """A field of many replies: its name, its values as a column, and what was read of each."""

    name: str
    values: pl.Series
    read: list[str | None]


def read_fields(
    parser: Parser, texts: pl.Series, ids: pl.Series | None, key: str, taken: Collection[str], name: str
) -> list[Field]:
    """Read the fields of a column of replies, as columns ``{name}_{field}``; [] for a parser of one value.

    ``key`` is the place of the parser in the config. Raises :class:`DataError` if the rows have such a column
    already (``taken``).
    """
    found = []
    for each, inner in list_fields(parser).items():
        column = f"{name}_{each}"
        if column in taken:
            raise DataError(
                f"{key}: the field {each!r} would be the column {column!r}, which the rows have; rename one"
            )
        values, readings = read_column(inner, texts, None, ids, f"{key}.fields.{each}")
        found.append(Field(each, values.alias(column), describe(readings, texts)))
    return found


def join_readings(fields: Sequence[Field], texts: pl.Series) -> list[str | None]:
    """What was read of each reply, a line for each field; null where there is no reply."""
    return [
        None if text is None else "\n".join(f"{each.name}: {each.read[row] or '–'}" for each in fields)
        for row, text in enumerate(texts.to_list())
    ]
