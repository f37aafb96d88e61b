"""The forms in which a sentence gives an answer. A sentence of any other form is in doubt, in any language.

The forms are listed, and not what may go wrong with them, since hedges cannot be listed: "far from correct",
"fast richtig". What stands before an answer must consist of known words ("So the final answer is"). What
follows it must be nothing, a known predicate ("is better"), or a reason ("because …", ", the …").
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection

from runner.parse.doubt import (
    CONDITION,
    CONTRAST,
    DETERMINER,
    HEDGE,
    NEGATION,
    NEGATIVE,
    NOT,
    OPPOSITE,
    RESTATED,
    RETRACTION,
)
from runner.parse.words import (
    CHOOSING,
    HEADS,
    INPUTS,
    NOUNS,
    PREDICATE,
    PREPOSITIONS,
    SOURCES,
    SUBJECTS,
    VERBS,
    WORDS,
)

_CLOSING = "\"'”’»」』*_`)\\]}$"
_BREAK = re.compile(
    rf"(?:[.!?;…؟]+(?=[{_CLOSING}]*(?:\s|$))|[。！？；])[{_CLOSING}]*|(?P<line>[^\S\n]*\n\s*)"
)
_HEADING = re.compile(r"[:：][\s*_`]*$")
_TOKEN = re.compile(r"\\[A-Za-z]+|</?[A-Za-z_]+>|->|=>|[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")
_COMMANDS = {"\\boxed", "\\fbox", "\\text", "\\textbf", "\\texttt", "\\mathbf", "\\mathrm"}
_TAGS = {"final", "b", "strong", "em", "i", "u"}
_SIGNS = "✓✔✅☑👉\ufe0f"
_BEFORE = {*"*_`\"'“”„‘’«»「」『』【】()[]{}:：=→$#\\,，、-–—.\ufeff\u200b\u2060", *_SIGNS, "->", "=>"}
_AFTER = {*"*_`\"'“”‘’«»「」『』【】()[]{}$\\.!。！,;；…\ufeff\u200b\u2060", *_SIGNS, "です", "的"}

_LONG = 200
"""Letters before an answer in its sentence. A longer sentence is not one of the known forms."""


# a full stop after these ends no sentence
_SHORT_FORM = re.compile(
    r"(?:^|[^\w.])(?:approx|ca|cf|e\.\s?g|i\.\s?e|vs|z\.\s?b|d\.\s?h|aprox|env)\.$", re.IGNORECASE
)
# what may introduce an answer statement and says nothing about it
_OPENING = re.compile(
    r"""^[\s*_]*(?:(?:based\s+on|according\s+to|given|considering|from|after|looking\s+at|as\s+(?:stated|shown)\s+in)
    \s+(?:(?:the|this|these|all|my|careful|above|provided|given|four|two|answer)\s+)*(?:above|analysis|article|
    calculations?|comparison|consideration|context|criteria|document|evaluation|evidence|facts|guidelines|
    information|instructions|options|passage|premise|reasoning|review|rubric|source|text)\s*,)
    |\bi(?:\s+a|['’])m\s+(?:confident|certain)\s+that\b|(?<=i['’]m)\s+going\b|\bi\s+am\s+going\b(?=\s+with)
    |(?<=answer)\s+to\s+(?:the|this)\s+question\b""",
    re.IGNORECASE | re.VERBOSE,
)
_MOST = re.compile(r"\bmost\s+(?:likely|probable|plausible|appropriate|suitable|accurate)\b", re.IGNORECASE)
_CONCLUSION = re.compile(r"[\s\S]*[,;]\s*(?:and\s+)?(?:so|thus|therefore|hence)\b", re.IGNORECASE)
_REASON = re.compile(
    rf"[{_CLOSING}]*[,，]?\s*(?:because|since|due\s+to|weil|denn|parce\s+que|porque|perché|потому\s+что|因为)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    rf"[{_CLOSING}]*(?:[,:]|\s+[-–]+|\s*—)\s*(?:(?:it|there|they|he|she|nothing)\s+\w|"
    rf"(?:the|this|its)\s+(?P<noun>\w+)\s+\w)",
    re.IGNORECASE,
)
_AGREED = re.compile(
    rf"[{_CLOSING}]*(?:,|\s*—)?\s*(?:(?P<yes>indeed|of\s+course|definitely|absolutely|certainly|i\s+agree|das\s+stimmt|"
    r"(?:that|this)(?:['’]s|\s+is)\s+(?:correct|right|true|accurate))|(?P<no>not\s+at\s+all|(?:definitely|absolutely)"
    r"\s+not|(?:that|this)(?:['’]s|\s+is)\s+(?:wrong|false|untrue|incorrect|not\s+(?:correct|right|true|accurate))))"
    rf"[.!{_CLOSING}]*\s*$",
    re.IGNORECASE,
)
_OPTION_TEXT = re.compile(
    r"[*_]*[)\].]+[*_]*\s+\S|[*_]*\s+\([^\d)]*\)|[*_]*(?::|\s+[-–—])[*_]*\s+[A-Z\"“](?!\w?\W)"
)
_FIRST_OPTION_TEXT = re.compile(r"[*_]*\)[*_]*\s+[A-Z0-9\"“]")


class Sentences:
    """A reply in sentences. A line ends a sentence, too, unless it ends with a colon.

    ``words`` may stand before an answer and ``units`` after it, in addition to those of this module;
    ``barred`` ones may not.
    """

    def __init__(
        self,
        text: str,
        words: Collection[str] = (),
        units: Collection[str] = (),
        barred: frozenset[str] = frozenset(),
    ) -> None:
        self.text, self.words, self.units, self.barred = text, words, units, barred
        self.ends: list[int] = []
        start = 0
        for mark in _BREAK.finditer(text):
            if mark["line"] is not None and _HEADING.search(text, start, mark.start()):
                continue
            if _SHORT_FORM.search(text, max(start, mark.end() - 10), mark.end()):
                continue
            if text[start : mark.end()].strip():
                self.ends.append(mark.end())
                start = mark.end()
        if text[start:].strip() or not self.ends:
            self.ends.append(len(text))

    def find(self, place: int) -> tuple[int, int]:
        """The first and the last character (exclusive) of the sentence at a place."""
        number = min(bisect_right(self.ends, place), len(self.ends) - 1)
        return (self.ends[number - 1] if number else 0), self.ends[number]

    def is_alone(self, start: int, end: int) -> bool:
        """Whether the reply is nothing but this part and marks around it."""
        if start > _LONG or len(self.text) - end > _LONG:
            return False
        before, after = self.text[:start], self.text[end:]
        if (after.startswith("*") and "*" not in before) or re.search(r"\[\s*\]", before):
            return False  # a grade such as "A*", an empty box
        return _is_known(before, (), _BEFORE) and _is_known(after, (), _AFTER)

    def is_question(self, place: int) -> bool:
        """Whether the sentence at a place has a question mark."""
        begin, finish = self.find(place)
        return any(mark in self.text[begin:finish] for mark in "?？؟")

    def is_negated(self, start: int) -> bool:
        """Whether a known negation or hedge stands before a place in its sentence."""
        begin = max(self.find(start)[0], start - _LONG)
        return NEGATION.search(self.text[begin:start].rstrip(_CLOSING + "([{ ")) is not None

    def is_answer(self, start: int, end: int) -> bool:
        """Whether the part from ``start`` to ``end`` is the answer that its sentence gives."""
        begin, finish = self.find(start)
        lead, tail = self._find_lead(start), self.text[end:finish]
        if len(lead) > _LONG or (not words_of(lead) and self._is_opposed(begin)):
            return False
        starred = tail.startswith("*") and "*" not in lead
        if starred or self.is_question(start) or not self._is_lead(lead):
            return False
        if reason := _REASON.search(tail, 0, 2 * _LONG):
            tail = tail[: reason.start()]
        if len(tail) <= _LONG and (
            _is_known(tail, self.units, _AFTER) or self._is_predicate(lead, self.text[start:end], tail)
        ):
            return True
        return self._is_tail(lead, self.text[start:end], tail, begin)

    def _find_lead(self, start: int) -> str:
        """What stands before an answer in its sentence, without what only introduces the statement."""
        begin = self.find(start)[0]
        lead = self.text[begin:start]
        if len(lead) > 5 * _LONG:
            return lead
        concluded = _CONCLUSION.match(lead)
        if concluded and not CONDITION.search(concluded[0]):
            lead = lead[concluded.end() :]
        return _MOST.sub("best", _OPENING.sub("", lead))

    def _is_opposed(self, begin: int) -> bool:
        """Whether a question or a heading before a sentence asks for what is not the answer."""
        before = self.text[max(0, begin - _LONG) : begin].rstrip()
        if not before:
            return False
        last = self.text[self.find(self.text.rindex(before[-1], 0, begin))[0] : begin]
        asked = before.rstrip(_CLOSING).endswith(("?", "？"))
        heading = "\n" in last[len(last.rstrip()) :] and not re.search(rf"[.!。！][{_CLOSING}]*\s*$", last)
        return (asked or heading) and OPPOSITE.search(last) is not None

    def is_led(self, start: int) -> bool:
        """Whether known words, and nothing else, stand before a place in its sentence."""
        lead = self._find_lead(start)
        return len(lead) <= _LONG and words_of(lead) != [] and self._is_lead(lead)

    def _is_lead(self, lead: str) -> bool:
        tokens = _split(lead)
        verbs = [place for place, token in enumerate(tokens) if token in VERBS]
        if verbs and not set(tokens[: verbs[0]]) & SUBJECTS:  # "Is it correct", "So is A"
            return False
        if re.search(r"\[\s*\]|\(\s*\)", lead):  # an empty box
            return False
        words = words_of(lead)
        if words and (words[0] in PREPOSITIONS and words[:3] != ["on", "a", "scale"]):
            return False
        if words and (words[-1] in INPUTS and ":" in _unwrap(lead)[-1:]):  # "Text: A"
            return False
        if set(words) & self.barred or ("as" in words and not set(words) & CHOOSING):
            return False
        for token, after in zip(tokens, [*tokens[1:], ""], strict=False):
            if token in ("would", "will") and after in CHOOSING:
                continue
            if token == "in" and after not in ("short", "conclusion", "summary", "total"):
                return False
            named = self.words and token[0].isalpha() and token[-1].isdigit()  # "GPT4 earns a 2"
            if not named and not _is_known_token(token, {*WORDS, *self.words}, _BEFORE):
                return False
        return True

    def _is_tail(self, lead: str, answer: str, tail: str, begin: int) -> bool:
        stated = (words := words_of(lead)) and (words[-1] in VERBS or _HEADING.search(_unwrap(lead)))
        first = not words and not self.text[:begin].strip()
        option = len(answer) <= 2 and (
            (stated and _OPTION_TEXT.match(tail)) or (first and _FIRST_OPTION_TEXT.match(tail))
        )
        agreed = _AGREED.match(tail)
        if agreed and (agreed["no"] is not None) == (NEGATIVE.match(answer) is not None):
            return True
        aside = _ASIDE.match(tail)
        if aside and aside["noun"] and aside["noun"].casefold() not in NOUNS | SOURCES:
            aside = None  # "A, the worse one"
        if not option and not aside:
            return False
        if NEGATIVE.match(answer):  # "No, it does not."
            tail = NOT.sub("", tail)
        return not HEDGE.search(tail) and not NOT.search(tail)

    def _is_predicate(self, lead: str, answer: str, tail: str) -> bool:
        words = words_of(tail)
        if set(words) & self.barred or (DETERMINER.match(answer) and words[:1] != ["it"]):  # "no answer"
            return False
        if words == ["it", "is"] or (words and words[0] in ("is", "was", "wins") and words[-1] in HEADS):
            return not set(words_of(lead)) & VERBS and _is_known(tail, {*PREDICATE, "it"}, _AFTER)
        # "It is a consistent summary", "The summary is consistent with the document"
        known = NOUNS | SOURCES if words[:1] == ["with"] and len(words) > 2 else NOUNS
        return bool(words) and set(words_of(lead)) & VERBS != set() and _is_known(tail, known, _AFTER)

    def is_taken_back(self, place: int) -> bool:
        """Whether the sentences after the one at a place take it back ("No, wait", "Almost.")."""
        start = self.find(place)[1]
        following = True
        for end in self.ends[bisect_right(self.ends, start - 1) + 1 :]:
            sentence = self.text[start:end]
            if (
                RETRACTION.match(sentence)
                or RESTATED.match(sentence)
                or (following and CONTRAST.match(sentence))
            ):
                return True
            start, following = end, False
        return False


def _unwrap(lead: str) -> str:
    return lead.rstrip("*_`\"'“„‘«「『([{$ \t\n")


def _split(text: str) -> list[str]:
    return [token.replace("’", "'") for token in _TOKEN.findall(text.casefold())]


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [token for token in _split(text) if token[0].isalnum()]


def _is_known(text: str, words: Collection[str], marks: Collection[str]) -> bool:
    return all(_is_known_token(token, words, marks) for token in _split(text))


def _is_known_token(token: str, words: Collection[str], marks: Collection[str]) -> bool:
    if token[0] == "<" and token != "<":
        return set(token.strip("</>").split("_")) <= NOUNS | _TAGS
    return token in words or token in marks or token in _COMMANDS
