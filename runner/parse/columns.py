"""Apply a parser to whole columns: to replies, and to the gold values that they are compared with."""

from __future__ import annotations

import logging
from typing import Any

import polars as pl

from runner.core.errors import DataError
from runner.core.types import Parser, write_column, write_value
from runner.parse.extract import Json, Text

log = logging.getLogger(__name__)


def apply(parser: Parser, texts: pl.Series) -> pl.Series:
    """Parse a column of replies. The values have the parser's type; null means that there is none.

    Equal replies are parsed once. If a user's parser raises, that reply has no value, so that one odd row
    never ends a run; the first exception and their number are logged.
    """
    failures: list[str] = []
    known = {text: _parse(parser, text, failures) for text in texts.drop_nulls().unique().to_list()}
    if failures:
        log.warning(
            "parser %s: %d distinct replies raised, such as %s", _get_name(parser), len(failures), failures[0]
        )
    values = [None if text is None else known[text] for text in texts.to_list()]
    return _make_series(texts.name, values, getattr(parser, "dtype", None))


def _parse(parser: Parser, text: str, failures: list[str]) -> Any:
    try:
        return parser(text)
    except Exception as error:
        failures.append(f"{text!r:.80}: {error!r}")
        return None


def _get_name(parser: Parser) -> str:
    return getattr(parser, "__name__", type(parser).__name__)


def _make_series(name: str, values: list[Any], dtype: pl.DataType | None) -> pl.Series:
    if dtype is not None:
        return pl.Series(name, values, dtype=dtype)
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1:
        return pl.Series(name, values, dtype=pl.Float64 if kinds == {int, float} else None, strict=False)
    texts = [None if value is None else write_value(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def parse_target(parser: Parser, target: pl.Series, ids: pl.Series | None = None) -> pl.Series:
    """Parse the gold column with the parser of the predictions, so that both have equal type and spelling.

    Gold values that are not text are turned into text first. A gold value is not a whole reply: where
    ``Regex`` or ``Json`` find nothing in it, the parser after them reads it. Null stays null.

    Raises :class:`DataError` naming the rows (by ``ids``, else by number from 0) that do not parse.
    """
    if target.dtype != pl.String and getattr(parser, "dtype", None) is None:
        return target
    texts = write_column(target)
    values = apply(_Gold(parser), texts)
    wrong = (values.is_null() & texts.is_not_null()).arg_true().to_list()
    if wrong:
        rows = [str(ids[row] if ids is not None else row) for row in wrong[:5]]
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise DataError(
            f"column {target.name!r}: {texts[wrong[0]]!r} cannot be read by prompt.parser "
            f"({_get_name(parser)}); rows {', '.join(rows)}{more}"
        )
    return values


def classes(parser: Any) -> list[str]:
    """All values that a parser (or the parser after it) can give; empty where they are not a closed set."""
    while parser is not None:
        closed = getattr(parser, "labels", None) or getattr(parser, "choices", None)
        if closed:
            return [str(value) for value in closed]
        parser = getattr(parser, "then", None)
    return []


class _Gold:
    """Reads a gold value with the parser, else with the parsers after it."""

    def __init__(self, parser: Parser) -> None:
        self.chain = [parser]
        while (behind := getattr(self.chain[-1], "then", None)) is not None:
            self.chain.append(behind)
        if isinstance(self.chain[-1], Json):
            self.chain.append(Text())
        self.__name__ = _get_name(parser)
        self.dtype = getattr(parser, "dtype", None)

    def __call__(self, text: str) -> Any:
        values = (parser(text) for parser in self.chain)
        return next((value for value in values if value is not None), None)
