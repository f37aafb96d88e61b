"""Apply a parser to whole columns: to replies, and to the gold values that they are compared with."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from runner.core.errors import ConfigError, DataError, count_of, describe_error
from runner.core.types import Parser, Reading, write_column, write_value
from runner.parse.extract import Json, Text, read

log = logging.getLogger(__name__)

PLAIN = (str, int, float, date, time, timedelta, Decimal, list, tuple, dict)
"""What a value of a parser may be; a column and a file can hold each of these."""
BASIC = {str: str.__str__, int: int.__int__, float: float.__float__}
"""How a value of a subclass becomes one of the type itself."""
MISTAKES = (NameError, ImportError)
"""Exceptions of a parser that no text causes."""


def check_parser(parser: Parser, key: str) -> None:
    """Raise :class:`ConfigError` if what a parser says about its values, ``dtype`` or ``labels``, is odd."""
    dtype = getattr(parser, "dtype", None)
    kind = dtype if isinstance(dtype, type) else type(dtype)
    if dtype is not None and not issubclass(kind, pl.DataType):
        raise ConfigError(
            f"{key}: dtype {dtype!r} of {name_parser(parser)} is no polars type, such as pl.Int64"
        )
    for name in ("labels", "choices"):
        closed = getattr(parser, name, None)
        if closed is not None and (isinstance(closed, str) or not isinstance(closed, Iterable)):
            raise ConfigError(f"{key}: {name} {closed!r} of {name_parser(parser)} must be a list")
    behind = getattr(parser, "then", None)
    while behind is not None and not list_fields(parser):
        if list_fields(behind):
            raise ConfigError(
                f"{key}: {name_parser(behind)} inside {name_parser(parser)} would lose its fields; put it"
                f" outside, with a {name_parser(parser)} for each field"
            )
        behind = getattr(behind, "then", None)


def list_fields(parser: Any) -> dict[str, Parser]:
    """The parsers of the fields that a parser reads of one reply, by name; {} for a parser of one value."""
    fields = getattr(parser, "fields", None)
    if not isinstance(fields, Mapping) or not all(map(callable, fields.values())):
        return {}
    return {str(name): each for name, each in fields.items()}


def apply(parser: Parser, texts: pl.Series) -> pl.Series:
    """Parse a column of replies. The values have the parser's type; null means that there is none."""
    return read_column(parser, texts)[0]


def read_column(
    parser: Parser,
    texts: pl.Series,
    gold: pl.DataType | None = None,
    ids: pl.Series | None = None,
    key: str = "prompt.parser",
) -> tuple[pl.Series, list[Reading | None]]:
    """Parse a column of replies; also return what was read of each, None for a reply that is null.

    ``gold`` is the type of the gold values. It counts where the parser has no type of its own: for gold text
    a value is spelled as text, and a value of another kind than a gold number or truth value is no answer.

    Equal replies are parsed once. If a user's parser raises, or gives what is no plain value, that reply has
    no value, so that one odd row never ends a run; its reading says why and where. A warning has the place of
    the parser in the config (``key``), the rows (by ``ids``, else by number from 0) and the first reason.
    """
    dtype = getattr(parser, "dtype", None)
    failures: dict[str, str] = {}
    known = {text: _read(parser, text, dtype, failures) for text in texts.drop_nulls().unique().to_list()}
    if failures:
        rows = texts.is_in(list(failures)).arg_true().to_list()
        log.warning(
            "%s (%s) failed for %s, which %s no value: rows %s; the first: %s",
            key,
            name_parser(parser),
            count_of(len(rows), "answer"),
            "has" if len(rows) == 1 else "have",
            _name_rows(rows, ids),
            failures[texts[rows[0]]],
        )
    if dtype is None and gold is not None:
        known = {text: _fit(reading, gold) for text, reading in known.items()}
    readings = [None if text is None else known[text] for text in texts.to_list()]
    values = [None if reading is None else reading.value for reading in readings]
    return _make_series(texts.name, values, dtype), readings


def describe(readings: Sequence[Reading | None], texts: pl.Series) -> list[str | None]:
    """What was read of each text, such as ``"B" at 8-9: the only label named``; null if nothing is known.

    The numbers are those of the first character and of the one after the last, counted from 0.
    """
    return [
        None if reading is None or text is None else _describe(reading, text)
        for reading, text in zip(readings, texts.to_list(), strict=True)
    ]


def _describe(reading: Reading, text: str) -> str | None:
    if reading.start is None or reading.end is None:
        return reading.rule or None
    said = " ".join(text[reading.start : reading.end].split())
    shown = said if len(said) <= 40 else f"{said[:39]}…"
    return f'"{shown}" at {reading.start}-{reading.end}: {reading.rule}'.removesuffix(": ")


def _fit(reading: Reading, gold: pl.DataType) -> Reading:
    """The reading with a value that can be compared with gold values of a type."""
    value = reading.value
    if value is None:
        return reading
    if isinstance(gold, pl.List):
        gold = pl.Series(dtype=gold.inner).dtype
    if gold == pl.String and isinstance(value, bool | int | float):
        return replace(reading, value=write_value(value))
    kinds = (int, float) if gold.is_numeric() else (bool,) if gold == pl.Boolean else ()
    if kinds and type(value) not in kinds:
        return Reading(None, f"{value!r:.40} is not of the kind of the gold values ({gold})")
    return reading


def _read(parser: Parser, text: str, dtype: pl.DataType | None, failures: dict[str, str]) -> Reading:
    try:
        reading = read(parser, text)
        return replace(reading, value=_check_value(reading.value, dtype))
    except (Exception, SystemExit) as error:
        failures[text] = describe_error(error)
        return Reading(None, f"the parser failed: {failures[text]}")


def _check_value(value: Any, dtype: pl.DataType | None) -> Any:
    """A parser's value as plain data, without subclasses of its type; None for NaN.

    Raises TypeError for anything else, infinity included.
    """
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if value is None or type(value) is bool:
        return value
    kind = next((kind for kind in BASIC if isinstance(value, kind)), None)
    if kind and type(value) is not kind:
        value = BASIC[kind](value)
    if isinstance(value, float) and math.isnan(value):
        return None  # as NumPy and pandas say that there is no value
    if not isinstance(value, PLAIN) or (isinstance(value, float) and math.isinf(value)):
        raise TypeError(f"it gave {value!r:.60}; it must give text, a number, a truth value or None")
    if dtype is not None and _needs_check(value, dtype):
        pl.Series([value], dtype=dtype)
    return value


def _needs_check(value: Any, dtype: pl.DataType) -> bool:
    """Whether a value may not fit a parser's own type; texts and numbers of the usual types do."""
    usual = {str: pl.String, float: pl.Float64}.get(type(value))
    return usual is None or dtype != usual


def name_parser(parser: Parser) -> str:
    """The name of a parser's class or function."""
    parser = getattr(parser, "func", parser)  # of a partial
    return getattr(parser, "__name__", type(parser).__name__)


def _make_series(name: str, values: list[Any], dtype: pl.DataType | None) -> pl.Series:
    if dtype is not None:
        return pl.Series(name, values, dtype=dtype)
    kinds = {type(value) for value in values if value is not None}
    texts = [None if value is None else write_value(value) for value in values]
    if kinds == {int, float}:
        return pl.Series(name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
    if kinds == {int} and any(abs(value) >= 2**63 for value in values if value is not None):
        return pl.Series(name, texts, dtype=pl.String)
    if len(kinds) <= 1:
        return pl.Series(name, values, strict=False)
    return pl.Series(name, texts, dtype=pl.String)


def parse_target(parser: Parser, target: pl.Series, ids: pl.Series | None = None) -> pl.Series:
    """Parse the gold column with the parser of the predictions, so that both have equal type and spelling.

    Gold values that are not text are turned into text first. A gold value is not a whole reply: where
    ``Regex`` or ``Json`` find nothing in it, the parser after them reads it. Null stays null. Of a list of
    acceptable answers each is parsed.

    Raises :class:`DataError` naming the rows (by ``ids``, else by number from 0) that do not parse, and those
    whose list is empty or holds a null.
    """
    dtype = target.dtype
    if isinstance(dtype, pl.List | pl.Array):
        return _parse_lists(parser, target, ids)
    texts = write_column(target)
    if dtype != pl.String and getattr(parser, "dtype", None) is None:
        _try(parser, texts, ids)
        return target
    failures: dict[str, str] = {}
    gold, kind = _Gold(parser), getattr(parser, "dtype", None)
    known = {text: _read(gold, text, kind, failures).value for text in texts.drop_nulls().unique().to_list()}
    values = _make_series(target.name, [known.get(text) for text in texts.to_list()], kind)
    wrong = (values.is_null() & texts.is_not_null()).arg_true().to_list()
    if wrong:
        reason = failures.get(texts[wrong[0]])
        raise DataError(
            f"column {target.name!r}: {texts[wrong[0]]!r} cannot be read by prompt.parser "
            f"({name_parser(parser)}{f': {reason}' if reason else ''}); rows {_name_rows(wrong, ids)}; "
            "dataset.steps can change such values (derive) or leave these rows out (filter)"
        )
    return values


def _try(parser: Parser, texts: pl.Series, ids: pl.Series | None) -> None:
    """Raise :class:`DataError` if a parser, tried on a few texts, fails in a way that no text causes."""
    for row, text in enumerate(texts.head(5).to_list()):
        try:
            read(parser, text or "")
        except MISTAKES as error:
            raise DataError(
                f"prompt.parser ({name_parser(parser)}): {describe_error(error)};"
                f" row {_name_rows([row], ids)}"
            ) from error
        except (Exception, SystemExit):  # a gold value need not look like an answer
            log.debug("%s: tried on %r", name_parser(parser), text, exc_info=True)


def _parse_lists(parser: Parser, target: pl.Series, ids: pl.Series | None) -> pl.Series:
    lists = target.to_list()
    odd = [row for row, each in enumerate(lists) if each is not None and (not each or None in each)]
    if odd:
        raise DataError(
            f"column {target.name!r}: a list of acceptable answers is empty or holds a null; "
            f"rows {_name_rows(odd, ids)}"
        )
    places = [row for row, each in enumerate(lists) if each is not None for _ in each]
    golds = pl.Series(target.name, [gold for each in lists if each is not None for gold in each])
    owners = pl.Series(places, dtype=pl.Int64)
    values = parse_target(parser, golds, owners if ids is None else ids.gather(owners))
    parsed = iter(values.to_list())
    return pl.Series(
        target.name,
        [None if each is None else [next(parsed) for _ in each] for each in lists],
        dtype=pl.List(values.dtype),
    )


def _name_rows(rows: list[int], ids: pl.Series | None) -> str:
    names = dict.fromkeys(str(row if ids is None else ids[row]) for row in rows)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(list(names)[:5]) + more


def classes(parser: Any) -> list[str]:
    """All values that a parser (or the parser after it) can give; empty where they are not a closed set."""
    return list(list_names(parser))


def _list_values(parser: Any) -> list[str]:
    closed = getattr(parser, "labels", None) or getattr(parser, "choices", None)
    return [str(value) for value in closed or ()]


def list_names(parser: Any) -> dict[str, list[str]]:
    """Per value of :func:`classes`, the texts that the parser reads as it."""
    while parser is not None and not _list_values(parser):
        parser = getattr(parser, "then", None)
    names = getattr(parser, "names", None)
    if isinstance(names, Mapping):
        return {str(label): list(map(str, each)) for label, each in names.items()}
    return {label: [label] for label in _list_values(parser)}


class _Gold:
    """Reads a gold value with the parser, else with the parsers after it, or as one of their labels."""

    def __init__(self, parser: Parser) -> None:
        self.chain = [parser]
        while (behind := getattr(self.chain[-1], "then", None)) is not None:
            self.chain.append(behind)
        if isinstance(self.chain[-1], Json):
            self.chain.append(Text())
        self.labels = {str(label): label for label in getattr(self.chain[-1], "labels", None) or ()}
        self.__name__ = name_parser(parser)
        self.dtype = getattr(parser, "dtype", None)

    def __call__(self, text: str) -> Any:
        values = (parser(text) for parser in self.chain)
        return next((value for value in values if value is not None), self.labels.get(text.strip()))
