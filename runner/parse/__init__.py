"""Parsers: from the text of a reply to a value, or None where the reply does not clearly give one.

A parser is a callable ``parser(text) -> value | None`` with an attribute ``dtype``, the polars type of its
values (absent or None: inferred). Any class of this shape can be named in ``prompt.parser``.

What all of them promise: None is the only answer to a doubtful text. Never 0, never the text itself, and
never a choice between two readings.
"""

from runner.parse.columns import apply, classes, parse_target
from runner.parse.extract import Json, Regex, Text
from runner.parse.label import Label
from runner.parse.number import Number

__all__ = ["Json", "Label", "Number", "Regex", "Text", "apply", "classes", "parse_target"]
