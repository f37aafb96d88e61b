"""What stands around a number: a name, the end of a sentence that stops early, the items of a list."""

from __future__ import annotations

import re

from runner.parse.statement import words_of
from runner.parse.words import NOUNS, list_words

_RATINGS = list_words("rating score grade evaluation assessment result")
_OPEN = list_words("in on a of from scale")
_LIST = re.compile(r"(?m)(?:^|(?<=[.!?]\s))[\s*_]*(\d{1,2})[.)]\s")


def names_thing(before: str) -> bool:
    """Whether a number is part of a name ("Response 2", "Rating scale: 5") and no rating."""
    words = words_of(before[-60:])
    if not words or set(words) & {"rate", "rated"}:
        return False
    return words[-1] == "scale" or (
        words[-1] in NOUNS - _RATINGS and before.rstrip("*_`\"'([{$ #\n")[-1:].isalnum()
    )


def ends_open(after: str) -> bool:
    """Whether the words after a number stop in the middle ("4 of", "3 on a scale")."""
    words = words_of(after[:60])
    return len(words) <= 3 and words[-1:] != [] and words[-1] in _OPEN and "__" not in after


def starts_text(after: str) -> bool:
    """Whether a number at the start of a reply is followed by a colon and words without another number."""
    return re.match(r"[*_`\"'\])}]*:[*_]*\s+(?!(?:not?|too|of|out|or|to|and)\b)[^\W\d]", after) is not None


def find_list_items(text: str) -> set[int]:
    """The places of the numbers of a list: 1., 2., … in this order."""
    marks = list(_LIST.finditer(text))
    numbers = [int(mark[1]) for mark in marks]
    if len(marks) < 2 or numbers != list(range(1, len(marks) + 1)):
        return set()
    return {mark.start(1) for mark in marks}
