"""Which of two outputs a value names: the first one, the second one, or neither of them (a tie)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.parse.columns import classes

FIRST, SECOND, TIE = 0, 1, 2
FAMILIES: tuple[Mapping[str, int], ...] = (
    {"a": FIRST, "b": SECOND, "c": TIE},
    {"1": FIRST, "2": SECOND},
    {"first": FIRST, "second": SECOND},
)
"""Pairs of names that are known without being told. Of two outputs, a third letter can only mean a tie."""
TIE_WORDS = ("tie", "draw", "equal")
_AROUND = " []{}()<>*_`\"'"
_CAPTURE = re.compile(r"(?<!\\)\((?:\?P<\w+>)?(?:\[([A-Za-z0-9]+)\]|(\w+(?:\|\w+)*))\)")


def spell(value: Any) -> str:
    """A value as a name: without case and without brackets, stars and quotes around it.

    >>> spell("[[A]]"), spell(2.0), spell("Tie")
    ('a', '2', 'tie')
    """
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).casefold().strip(_AROUND)


def find_family(values: Iterable[Any]) -> Mapping[str, int]:
    """The family that gives these values their place, with the words for a tie; values may be unknown.

    Empty if no value names the first or the second output, or if values are of several families.
    """
    names = {spell(value) for value in values}
    found = [each for each in FAMILIES if any(each.get(name) in (FIRST, SECOND) for name in names)]
    return dict.fromkeys(TIE_WORDS, TIE) | dict(found[0]) if len(found) == 1 else {}


def make_family(positions: Sequence[Any]) -> Mapping[str, int]:
    """The family in which these two names are the first and the second output."""
    return dict.fromkeys(TIE_WORDS, TIE) | {spell(name): place for place, name in enumerate(positions)}


def place_names(names: Sequence[Any]) -> dict[str, int] | None:
    """The place of each of a closed set of names; None if one is not known or a side has no name.

    >>> place_names(["[[A]]", "[[B]]", "[[C]]"])
    {'[[A]]': 0, '[[B]]': 1, '[[C]]': 2}
    >>> place_names(["A", "B", "unsure"])
    """
    family = find_family(names)
    places = {str(name): family.get(spell(name)) for name in names}
    known = {name: place for name, place in places.items() if place is not None}
    return known if len(known) == len(places) and {FIRST, SECOND} <= set(known.values()) else None


def list_values(parser: Any) -> list[str]:
    """All values that a parser can give; empty where they are not a closed set."""
    return classes(parser) or list_names(parser)


def list_names(parser: Any) -> list[str]:
    """All names that a parser can give: its labels, or what its pattern can capture; empty if not closed.

    A pattern is closed if its one group is a set of letters or digits, ``([abc])``, or lists words,
    ``(A|B|tie)``. Numbers are ratings and no names.
    """
    while parser is not None:
        if labels := getattr(parser, "labels", None):
            return [str(label) for label in labels]
        following = getattr(parser, "then", None)
        names = _list_captures(getattr(parser, "pattern", None)) if getattr(parser, "group", 0) else []
        if names and getattr(following, "labels", None) is None:
            return names
        parser = following
    return []


def _list_captures(pattern: Any) -> list[str]:
    if not isinstance(pattern, re.Pattern) or pattern.groups != 1 or pattern.flags & re.IGNORECASE:
        return []
    found = _CAPTURE.findall(pattern.pattern)
    if len(found) != 1:
        return []
    letters, words = found[0]
    return list(letters) if letters else words.split("|")
