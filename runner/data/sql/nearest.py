"""Which of several texts is nearest to another one, by edit distance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


def find_nearest(text: str, options: Sequence[str | None]) -> str | None:
    """The option with the smallest edit distance; of several the first. None without any option.

    >>> find_nearest("110 degrees", ["90 degrees", "110°", "111 degrees"])
    '111 degrees'
    """
    return min(
        (each for each in options if each is not None), key=lambda each: measure(text, each), default=None
    )


@lru_cache(10_000)
def measure(one: str, other: str) -> int:
    """How many letters to add, leave out or replace to make ``other`` of ``one`` (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        above, row = row, [number]
        for place, wanted in enumerate(other, 1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (letter != wanted)))
    return row[-1]
