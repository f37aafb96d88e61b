"""A parser of cases, each with the patterns that tell it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl

from runner.core.errors import ConfigError, suggest
from runner.core.types import Reading

PICKS = ("only", "listed", "first", "last")


class Cases:
    """The case whose pattern is found in the reply.

    cases  from each case to a regular expression or a list of them, such as ``{A: '\\[\\[A\\]\\]'}``; the
           cases are all text or all whole numbers
    pick   which counts if several cases are found: ``only`` (none of them), ``listed`` (the one that is
           listed first), ``first`` or ``last`` (by its place in the reply)

    A match that begins or ends inside a word does not count (``correct`` in ``Incorrect``, ``yes`` in
    ``yesterday``), nor does one that lies within a longer match of another case. What is said about a match
    does not count either, as with ``Regex``. Case matters unless a pattern starts with ``(?i)``.

    >>> read = Cases({"better": r"\\[\\[A>{1,2}B\\]\\]", "equal": r"\\[\\[A=B\\]\\]"})
    >>> read("My verdict is [[A>>B]]."), read("[[A=B]]"), read("[[A=B]] or [[A>B]]")
    ('better', 'equal', None)
    """

    def __init__(
        self,
        cases: Mapping[str | int, str | Sequence[str]],
        pick: Literal["only", "listed", "first", "last"] = "only",
    ) -> None:
        if not isinstance(cases, Mapping) or not cases:
            raise ConfigError(
                f"parser Cases: expected cases as a mapping from each to its patterns, got {cases!r}"
            )
        if {type(case) for case in cases} not in ({str}, {int}):
            raise ConfigError(
                f"parser Cases: cases {list(cases)} are neither all text nor all whole numbers; "
                "put quotes around 'yes', 'no', 'true' and 'on', which YAML reads as truth values"
            )
        if pick not in PICKS:
            raise ConfigError(f"parser Cases: pick {pick!r}{suggest(str(pick), PICKS)}")
        self.labels, self.pick = list(cases), pick
        self.dtype: pl.DataType = pl.String() if isinstance(self.labels[0], str) else pl.Int64()
        self._patterns = [(case, each) for case, given in cases.items() for each in _compile(case, given)]

    def __call__(self, text: str) -> str | int | None:
        value: str | int | None = self.read(text).value
        return value

    def read(self, text: str) -> Reading:
        """The case with the place of its match, or the reason why there is none."""
        found = [
            (start, end, case)
            for case, pattern in self._patterns
            for start, end in (match.span() for match in pattern.finditer(text))
            if start < end and not (_cuts_word(text, start) or _cuts_word(text, end))
        ]
        found = [each for each in found if not any(_is_within(each, other) for other in found)]
        cases = [case for case in self.labels if any(case == each[2] for each in found)]
        if not cases:
            return Reading(None, "no case is found")
        if len(cases) == 1:
            start, end, case = min(found, key=lambda each: each[:2])
            return Reading(case, "the only case found", start, end)
        if self.pick == "only":
            return Reading(None, f"{len(cases)} cases are found: {', '.join(map(str, cases))}")
        if self.pick == "listed":
            found = [each for each in found if each[2] == cases[0]]
        start, end, case = (
            max(found, key=lambda each: (each[1], -each[0]))
            if self.pick == "last"
            else min(found, key=lambda each: (each[0], -each[1]))
        )
        return Reading(
            case, f"the case {self.pick}" if self.pick == "listed" else f"the {self.pick} case", start, end
        )


def _cuts_word(text: str, at: int) -> bool:
    """Whether a word goes on across this place."""
    return 0 < at < len(text) and text[at - 1].isalpha() and text[at].isalpha()


def _is_within(one: tuple[int, int, Any], other: tuple[int, int, Any]) -> bool:
    """Whether a match lies within a longer match of another case."""
    is_longer = other[1] - other[0] > one[1] - one[0]
    return other[2] != one[2] and is_longer and other[0] <= one[0] and one[1] <= other[1]


def _compile(case: str | int, given: Any) -> list[re.Pattern[str]]:
    patterns = [given] if isinstance(given, str) else given
    if (
        not isinstance(patterns, Sequence)
        or not patterns
        or not all(isinstance(each, str) for each in patterns)
    ):
        raise ConfigError(f"parser Cases: case {case!r} needs a pattern or a list of patterns, got {given!r}")
    compiled = []
    for each in patterns:
        try:
            compiled.append(re.compile(each))
        except re.error as error:
            raise ConfigError(
                f"parser Cases: pattern {each!r} of case {case!r} is not valid: {error}"
            ) from None
        if compiled[-1].fullmatch(""):
            raise ConfigError(f"parser Cases: pattern {each!r} of case {case!r} also matches no text at all")
    return compiled
