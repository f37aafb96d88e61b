"""Find a number in a reply."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from runner.core.errors import ConfigError, suggest
from runner.core.types import Reading
from runner.parse.numerals import (
    LEADING,
    ends,
    ends_open,
    find_list_items,
    is_bare,
    is_calculation,
    is_limited,
    is_remarked,
    names_aspect,
    names_thing,
    operates,
    starts_text,
)
from runner.parse.statement import Sentences
from runner.parse.words import NO_RATING_WORDS, RATING_UNITS, RATING_WORDS

OutOf = Literal["maximum", "numerator", "share", "rescale"]
OUT_OF: tuple[OutOf, ...] = ("maximum", "numerator", "share", "rescale")

_SPACE = r"[ \u00a0\u2009\u202f]"
# all digits and marks that may belong to one number, a date, a time, a version, a range
_RUN = re.compile(
    rf"(?:\d(?:[.,:'’_·٫٬^](?=\d)|(?:\{{,\}}|,\\!)(?=\d{{3}})|{_SPACE}(?=\d{{3}}(?![\d.,]))|[-–—−/](?=\d))?)+(?:(?<=\d)e[-+]?\d+)?",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
_GROUPED_ZERO = re.compile(r"0\d*,")
_OVER = re.compile(
    r"[*_]{0,3}\s*\(?(?:/|⁄|(?:out\s+)?of|von|sur|de|из|su)\s*(?P<most>\d+(?:\.\d+)?)?(?![\w])", re.IGNORECASE
)
_WORDY_OVER = re.compile(r"[*_]{0,3}\s*\(?(?:/|⁄|\bout\s+of\b)", re.IGNORECASE)
_AFTER_OVER = re.compile(
    r"(?:[/⁄]|\bout\s+of|(?<!score)(?<!rating)(?<!grade)(?<!mark)(?<!value)\s(?:of|von|sur))\s*$",
    re.IGNORECASE,
)
_OPERATED = re.compile(r"\s*(?:[+×÷^·±√]|\*\s*\d|[-–—−~]\s*\d|\.{2,3}\s*\d|…\s*\d|[½⅓⅔¼¾⅛]|x\s*\d)")
_OPERATING = re.compile(
    r"(?:[~≈<>≤≥±√×÷^]=?|\d\s*\*|\\frac\{?|\b(?:minus|negative|twice|double|log|sqrt\(?|half\s+of|third\s+of|menos|moins|meno|минус))\s*$",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(
    r"\s*(?:to|or|and|bis|oder|und|à|ou|et|y|o|e|или|и|through|versus|vs\.?)\s+(\d+(?:\.\d+)?)", re.IGNORECASE
)
_SCALE = re.compile(r"(?:\b(?:scale|from|between|range|rating|score)\b[^.\d]{0,20}|[(\[])$", re.IGNORECASE)
_PERCENT = re.compile(r"\s?(?:\\?[%٪％‰]|per\s?cent\b)", re.IGNORECASE)
_THOUSANDS = re.compile(
    r"\s*(?:hundred|thousand|[mb]illion|trillion|dozen|pct|squared|cubed|times|tausend|million\w*|mio|"
    r"mrd|mil|mille|тысяч\w*|млн|млрд|[百千万亿])\b",
    re.IGNORECASE,
)
_TAG = re.compile(r"(?:</?[A-Za-z_]+>|[-=]>)\s*$")
_COUNTED = re.compile(r"\s+[^\W\d_A-Z]")


@dataclass(frozen=True)
class _Found:
    """A number in a reply, or something that looks like one (value None)."""

    value: float | None
    start: int
    end: int
    scale: bool = False
    """Whether it is only a mention of the scale."""


class Number:
    """A number inside a reply, such as a rating.

    >>> Number(minimum=1, maximum=5)("5: Excellent response")
    5

    A number counts if it is the whole reply or is given as the answer of a sentence ("Rating: 4", "I give it
    a 3", "5: Excellent response"). Different numbers given so are no answer. On a scale (``minimum``,
    ``maximum`` or ``choices``) no other number counts; without one, the only number of the reply does, too.
    Digits are read as in English: ``1,234.5`` is one number, ``8,5`` is none. A range, a time, a date, a
    version, a sum and a fraction are none either. A mention of the scale ("from 1 to 5") is not a rating. A
    number outside ``minimum`` … ``maximum`` or not in ``choices`` gives None, and so does a fraction with
    ``integer``. A percentage is read only where ``maximum`` is 100. Nothing is rounded or clipped.

    ``out_of`` says how ``3/10`` or "3 out of 10" is read: ``maximum`` (the default) only if the second number
    is ``maximum``, as 3; ``numerator`` always as 3; ``share`` as 0.3; ``rescale`` as 0.3 · ``maximum``.

    ``pick`` is a lenient rule in place of all this: the ``first`` or the ``last`` number, whatever is said
    about it. For any other rule write a :class:`Regex` with this parser as ``then``.
    """

    def __init__(
        self,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Iterable[float] | None = None,
        integer: bool = True,
        out_of: OutOf = "maximum",
        pick: Literal["only", "first", "last"] = "only",
    ) -> None:
        if minimum is not None and maximum is not None and minimum > maximum:
            raise ConfigError(f"parser Number: minimum {minimum} is above maximum {maximum}")
        if out_of not in OUT_OF:
            raise ConfigError(f"parser Number: out_of {out_of!r}{suggest(str(out_of), OUT_OF)}")
        if out_of == "rescale" and maximum is None:
            raise ConfigError("parser Number: out_of is rescale, so maximum must be set")
        if pick not in ("only", "first", "last"):
            raise ConfigError(f"parser Number: pick {pick!r}{suggest(str(pick), ('only', 'first', 'last'))}")
        self.minimum, self.maximum, self.integer = minimum, maximum, integer
        self.choices = None if choices is None else tuple(sorted(set(choices)))
        self.out_of, self.pick = out_of, pick
        self.dtype: pl.DataType = pl.Int64() if integer else pl.Float64()

    def __call__(self, text: str) -> int | float | None:
        value: int | float | None = self.read(text).value
        return value

    def read(self, text: str) -> Reading:
        """The number with its place, or the reason why there is none."""
        found = list(self._find(text))
        if not found:
            return Reading(None, "there is no number")
        if self.pick != "only":
            plain = [number for number in found if number.value is not None and not number.scale]
            if not plain:
                return Reading(None, "there is no plain number")
            return self._check(plain[0 if self.pick == "first" else -1], f"the {self.pick} number")
        return self._read_only(text, found)

    def _read_only(self, text: str, found: list[_Found]) -> Reading:
        hidden = text
        for number in found:
            if number.scale:
                hidden = hidden[: number.start] + "_" * (number.end - number.start) + hidden[number.end :]
        sentences = Sentences(hidden, RATING_WORDS, RATING_UNITS, NO_RATING_WORDS)
        items = find_list_items(text)
        open_ = [number for number in found if not number.scale and number.start not in items]
        given = [number for number in open_ if self._is_given(sentences, number)]
        if not given and not self._has_scale() and len(found) == len(open_):
            if len({number.value for number in open_}) == 1 and open_[0].value is not None:
                start, end = open_[0].start, open_[0].end
                around = text[slice(*sentences.find(start))]
                limited = is_limited(text, start, end, around) or is_calculation(text, start, end)
                if limited or sentences.is_question(start) or sentences.is_negated(start):
                    return Reading(
                        None, "a number is named, but asked, negated, a limit or part of something else"
                    )
                return self._check(open_[0], "the only number")
            return Reading(None, "there are several numbers" if len(open_) > 1 else "no plain number")
        if not given:
            return Reading(None, "no number is clearly given as the answer")
        values = {number.value for number in given}
        if self._has_scale():
            values |= {
                number.value
                for number in open_
                if number.value is not None
                and self._fits(number.value)
                and not _COUNTED.match(text[number.end :])
            }
        if len(values) > 1:
            shown = ", ".join(text[number.start : number.end] for number in given)
            return Reading(None, f"different numbers may be meant; given: {shown}")
        if given[0].value is None:
            return Reading(None, f"{text[given[0].start : given[0].end]!r} is no plain number")
        if sentences.is_taken_back(given[-1].start):
            return Reading(None, "a number is given and then taken back or hedged")
        whole = sentences.is_alone(given[0].start, given[0].end)
        return self._check(given[0], "the whole reply" if whole else "the number given")

    def _has_scale(self) -> bool:
        return not (self.minimum is None and self.maximum is None and self.choices is None)

    def _is_given(self, sentences: Sentences, number: _Found) -> bool:
        if sentences.is_question(number.start):
            return False
        begin, end = sentences.find(number.start)
        before, after = (
            sentences.text[begin : number.start],
            sentences.text[number.end : min(end, number.end + 200)],
        )
        if names_thing(before) or ends_open(after):
            return False
        if sentences.is_answer(number.start, number.end):
            return True
        first = not sentences.text[:begin].strip()
        if first and (starts_text(after) if is_bare(before) else names_aspect(before) and ends(after)):
            return True
        led = sentences.is_led(number.start) or (first and is_bare(before))
        return self._has_scale() and led and is_remarked(after)

    def _find(self, text: str) -> Iterator[_Found]:
        place = 0
        while run := _RUN.search(text, place):
            place = run.end()
            number, place = self._judge(text, run.start(), run.end())
            if number is not None:
                yield number

    def _judge(self, text: str, start: int, end: int) -> tuple[_Found | None, int]:
        """What the digits at a place are, and where to look on; None for a part of a name (GPT4, 2nd)."""
        before, after = text[max(0, start - 40) : start], text[end : end + 40]
        raw = re.sub(r"\{,\}|,\\!", ",", text[start:end])
        led = LEADING.search(before) is not None
        if not led and re.search(r"\w\Z|\w[-.]\Z", before) and not re.search(r"\d[-.]\Z", before):
            return None, end
        unit = re.match(r"(?!(?:[分点점]|です)(?!\w))[^\W\d_]", after)
        sign = re.search(r"(?<![\w)\]])[-+−]\Z", before)
        short = raw.isdigit() and re.search(r"(?:^|[\s(*:={])\.\Z", before) is not None  # ".85"
        begin = sign.start() if sign else start - short
        doubtful = (
            _PLAIN.fullmatch(raw) is None
            or _GROUPED_ZERO.match(raw) is not None
            or before[-1:] in (",", "٫", "⁄")
            or (before[-1:] == "." and not short)
            or re.search(r"(?:^|\n)\s*[-−]\s+$", before) is not None
            or _OPERATED.match(after) is not None
            or _THOUSANDS.match(after) is not None
            or re.match(r"-(?!\w)|-[^\W\d_]", after) is not None
            or re.search(r"(?:^|[^\w\s])\s*[-−–—]\s*\(?\Z", before[:-1] if sign else before) is not None
            or _OPERATING.search(_TAG.sub("", text[max(0, begin - 20) : begin])) is not None
            or operates(text, begin, end)
            or (unit is not None)
        )
        if ratio := re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)", raw):
            return self._judge_ratio(text, begin, end, sign is not None, ratio[1], ratio[2]), end
        if dashed := re.fullmatch(r"(\d+(?:\.\d+)?)[-–—](\d+(?:\.\d+)?)", raw):
            return _Found(None, begin, end, self._is_scale(text, begin, dashed[1], dashed[2])), end
        if not doubtful and (other := _ALTERNATIVE.match(after)):
            scale = self._is_scale(text, begin, raw, other[1])
            return (_Found(None, begin, end + other.end(), scale), end + other.end())
        if over := _OVER.match(after):
            if over["most"] is not None and not doubtful:
                if re.match(r"\s*of\b", over[0]) and float(over["most"]) != self.maximum:
                    return _Found(None, begin, end + over.end()), end + over.end()
                finish = end + over.end()
                return self._judge_ratio(text, begin, finish, sign is not None, raw, over["most"]), finish
            doubtful = doubtful or _WORDY_OVER.match(after) is not None
        if _AFTER_OVER.search(_TAG.sub("", text[max(0, begin - 20) : begin])):
            return _Found(None, begin, end, raw.isdigit() and int(raw) == self.maximum), end
        if percent := _PERCENT.match(after):
            doubtful = doubtful or self.maximum != 100 or percent[0].strip() == "‰"
            end += percent.end()
        value = (
            None
            if doubtful
            else float("." * short + raw.replace(",", "")) * (-1 if sign and sign[0] in "-−" else 1)
        )
        if unit is not None and re.match(r"(?:st|nd|rd|th)\b", after):
            return None, end
        return _Found(value, begin, end), end

    def _judge_ratio(self, text: str, begin: int, end: int, signed: bool, part: str, most: str) -> _Found:
        value: float | None = None
        after = text[end:]
        plain = _PLAIN.fullmatch(part) and not signed and not re.match(r"\s*/|[.,:]?\d|\s*%", after)
        dated = re.match(r"0\d", part) or re.match(r"0\d", most)
        if plain and not dated and text[:begin][-1:] not in ("/", ".", ","):
            number, whole = float(part.replace(",", "")), float(most)
            if self.out_of == "numerator" or (self.out_of == "maximum" and whole == self.maximum):
                value = number
            elif self.out_of in ("share", "rescale") and whole:
                value = number / whole * (self.maximum or 0 if self.out_of == "rescale" else 1)
        return _Found(value, begin, end)

    def _is_scale(self, text: str, begin: int, low: str, high: str) -> bool:
        """Whether a range is the scale itself, or is called one."""
        ends = (float(low.replace(",", "")), float(high.replace(",", "")))
        if self.minimum is not None and self.maximum is not None:
            return ends == (self.minimum, self.maximum)
        return ends[0] < ends[1] and _SCALE.search(text[max(0, begin - 30) : begin]) is not None

    def _fits(self, value: float) -> bool:
        too_low = self.minimum is not None and value < self.minimum
        too_high = self.maximum is not None and value > self.maximum
        return not (too_low or too_high or (self.choices is not None and value not in self.choices))

    def _check(self, number: _Found, rule: str) -> Reading:
        value = number.value
        assert value is not None
        if not self._fits(value):
            return Reading(None, f"{value:g} is not on the scale")
        if not math.isfinite(value) or (self.integer and not (value.is_integer() and abs(value) < 2**63)):
            return Reading(None, f"{value:g} is not a whole number")
        return Reading(int(value) if self.integer else value, rule, number.start, number.end)
