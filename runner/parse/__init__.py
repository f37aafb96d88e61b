"""Parsers turn the text of a reply into a value, or into None where the reply does not clearly give one.

A parser is a callable ``parser(text) -> value | None``. Its attribute ``dtype`` is the polars type of its
values; if it is missing or None, the type is inferred. ``prompt.parser`` can name any such class. Its method
``read(text)``, if it has one, tells how a value was found (:class:`runner.core.types.Reading`).

All parsers promise that a doubtful text gives None: never 0, never the text itself, and never a choice
between two readings. A lenient rule is an option that names it (``pick``, ``out_of``, a ``Regex``).
"""

from runner.parse.around import Clean, Multi, join_readings, read_fields
from runner.parse.cases import Cases
from runner.parse.columns import (
    apply,
    check_parser,
    classes,
    describe,
    list_fields,
    list_names,
    name_parser,
    parse_target,
    read_column,
)
from runner.parse.extract import Json, Regex, Text
from runner.parse.label import Label
from runner.parse.number import Number

__all__ = [
    "Cases",
    "Clean",
    "Json",
    "Label",
    "Multi",
    "Number",
    "Regex",
    "Text",
    "apply",
    "check_parser",
    "classes",
    "describe",
    "join_readings",
    "list_fields",
    "list_names",
    "name_parser",
    "parse_target",
    "read_column",
    "read_fields",
]
