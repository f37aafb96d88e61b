"""Texts, values and chats for the screen: as they are, but safe, and nothing looks like something else."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.core.redact import LEAST_LETTERS, hide_keys, names_secret_variable
from runner.core.types import write_value

_KINDS = {"String": "text", "Boolean": "true or false", "Null": "nothing", "Object": "object"}


def clean(text: str) -> str:
    """A text without keys, in which what a terminal would obey is shown and not done.

    >>> clean("a\\x1b[2J\\r\\n\\u202eb\\u200b")
    'a␛[2J␍\\n<U+202E>b<U+200B>'
    """
    return "".join(map(_show_letter, hide_keys(text, _find_secrets())))


def _show_letter(letter: str) -> str:
    if letter in "\n\t" or (letter.isprintable() and letter != "\x7f"):
        return letter
    code = ord(letter)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    spaces = unicodedata.category(letter) == "Zs"  # such as a no-break space
    return letter if spaces or letter in "\u200d\ufe0f" else f"<U+{code:04X}>"  # those join emoji


def _find_secrets() -> list[str]:
    found = (value.strip() for name, value in os.environ.items() if names_secret_variable(name))
    return [value for value in found if len(value) >= LEAST_LETTERS and not value.startswith(("/", "."))]


def show_value(value: Any, letters: int | None = None) -> str:
    """A value of a row. Text stands in quotes where it could be taken for something else.

    ``letters`` is how many are shown at most.

    >>> [show_value(value) for value in (None, "", "null", "a b", "5", 5, 4.0, " a", ["a", None])]
    ['null', '""', '"null"', 'a b', '"5"', '5', '4.0', '" a"', '["a", null]']
    """
    if value is None:
        return "null"
    text = write_value(value)
    if isinstance(value, str) and _is_doubtful(value):
        text = json.dumps(value, ensure_ascii=False)
    return cut(clean(text), letters)


def _is_doubtful(text: str) -> bool:
    """Whether a text is empty, has white space at an end, or could be another value."""
    if text != text.strip() or not text or text[0] == '"':
        return True
    return bool(re.fullmatch(r"null|true|false|None|[-+]?[\d.,]+(e[-+]?\d+)?", text, re.IGNORECASE))


def cut(text: str, letters: int | None) -> str:
    """The beginning of a text, and how long it is.

    >>> cut("a" * 30, 8)
    'aaaaaaaa… (30 letters)'
    """
    if letters is None or len(text) <= letters:
        return text
    return f"{text[:letters].rstrip()}… ({len(text):,} letters)"


def join_lines(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def name_type(kind: pl.DataType) -> str:
    """A type in a word or two.

    >>> name_type(pl.List(pl.Int64())), name_type(pl.Float64())
    ('list of whole number', 'number')
    """
    if isinstance(kind, pl.List | pl.Array):
        return f"list of {name_type(pl.Series(dtype=kind.inner).dtype)}"
    if isinstance(kind, pl.Struct):
        return "object"
    if kind.is_numeric():
        return "whole number" if kind.is_integer() else "number"
    return _KINDS.get(str(kind), str(kind).lower())


def make_title(title: str, note: str = "") -> Text:
    """The title of a part, with a dim note behind it."""
    return Text.assemble((title, "bold"), (f"  {note}" if note else "", "dim"))


def make_pairs(pairs: Iterable[tuple[str, str | Text]], dim: bool = True) -> RenderableType:
    """Names and what belongs to them, below each other; long texts are broken into lines beside the names."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim" if dim else "bold", max_width=24, overflow="fold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(clean(name)), value if isinstance(value, Text) else Text(value))
    return Padding(table, (0, 0, 0, 2))


def make_chat(messages: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The turns of a chat by their roles, whole."""
    turns = [
        (str(turn.get("role")), clean(write_value(turn.get("content"))) or '""')
        for turn in messages
        if isinstance(turn, Mapping)
    ]
    return make_pairs(turns, dim=False)


def make_part(title: Text, *content: RenderableType) -> Group:
    """A part of a page: an empty line, a title, and what is below it."""
    return Group(Text(""), title, *content)


def has_text(wanted: str, values: Iterable[Any]) -> bool:
    """Whether a text stands in one of these values, whatever its case."""
    return any(wanted.casefold() in write_value(value).casefold() for value in values)
