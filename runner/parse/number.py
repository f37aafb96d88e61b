"""Find a number in a reply."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import polars as pl

from runner.core.errors import ConfigError

_NUMBER = r"(?<![\w.])(?:(?<!\d)[-+−])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]|\.\d|,\d)"
_NUMBERS = re.compile(_NUMBER, re.IGNORECASE)
# "1-5", "1 to 5": a mention of the scale, not a rating on it
_RANGE = re.compile(rf"{_NUMBER}\s*(?:-|–|—|\bto\b)\s*{_NUMBER}", re.IGNORECASE)
_OUT_OF = re.compile(rf"({_NUMBER})\s*(?:/|\bout\s+of\b)\s*({_NUMBER})", re.IGNORECASE)
_LEADING = re.compile(
    rf"[\s*_`\"'(\[{{<#]*({_NUMBER})(?!\s*[/\-–—]|[.)]\s+\w|\s+(?:or|and)\b)", re.IGNORECASE
)
_MARKED = re.compile(
    rf"\b(?:rating|score|grade|answer|verdict|result)\b[*_`\"']*(?:\s+(?:is|of|was|as))?\s*[:=]?"
    rf"[\s*_`\"'(\[{{<]*({_NUMBER})(?!\s+(?:or|and)\b)",
    re.IGNORECASE,
)


class Number:
    """A number inside a reply, such as a rating.

    >>> Number(minimum=1, maximum=5)("5: Excellent response")
    5

    A number counts if it is the only one in the reply (it may be repeated). If there are different numbers,
    the one at the start counts, or the one after a word such as "rating" or "score"; if there are both, they
    must agree. A mention of the scale ("from 1 to 5") is not a rating, and neither is the 5 of "4/5" if it is
    ``maximum``. A number outside ``minimum`` … ``maximum`` or not in ``choices`` gives None, and so does a
    fraction with ``integer``. Nothing is rounded or clipped.
    """

    def __init__(
        self,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Iterable[float] | None = None,
        integer: bool = True,
    ) -> None:
        if minimum is not None and maximum is not None and minimum > maximum:
            raise ConfigError(f"parser Number: minimum {minimum} is above maximum {maximum}")
        self.minimum, self.maximum, self.integer = minimum, maximum, integer
        self.choices = None if choices is None else tuple(sorted(set(choices)))
        self.dtype: pl.DataType = pl.Int64() if integer else pl.Float64()

    def __call__(self, text: str) -> int | float | None:
        text = _OUT_OF.sub(self._drop_maximum, text)
        text = _RANGE.sub(" ", text)
        found = self._find_candidates(text)
        return self._check(found.pop()) if len(found) == 1 else None

    def _drop_maximum(self, match: re.Match[str]) -> str:
        """``4/5`` becomes ``4`` on a scale to 5. On another scale it stays and is doubtful."""
        same_scale = self.maximum is not None and _to_float(match[2]) == self.maximum
        return match[1] if same_scale else f"{match[1]} / {match[2]}"

    @staticmethod
    def _find_candidates(text: str) -> set[float]:
        clear = [*_MARKED.findall(text)]
        if leading := _LEADING.match(text):
            clear.append(leading[1])
        return {_to_float(number) for number in clear or _NUMBERS.findall(text)}

    def _check(self, value: float) -> int | float | None:
        too_low = self.minimum is not None and value < self.minimum
        too_high = self.maximum is not None and value > self.maximum
        if too_low or too_high or (self.choices is not None and value not in self.choices):
            return None
        if not self.integer:
            return value if math.isfinite(value) else None
        return int(value) if value.is_integer() and abs(value) < 2**63 else None


def _to_float(number: str) -> float:
    return float(number.replace(",", "").replace("−", "-"))
