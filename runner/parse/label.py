"""Find a label of a closed set in a reply."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from unicodedata import category, normalize

import polars as pl

from runner.core.errors import ConfigError, suggest
from runner.core.types import Reading
from runner.parse.statement import Sentences
from runner.parse.words import NO_SPACES, WORDS, list_words

_WORD = re.compile(r"(?<!\w)[-+]\d+|[^\W_]+")
# between the words of a label: brackets, dashes, stars, but not the end of a sentence or a line
_BETWEEN = r"(?:[^\w\n.!?;]|_|\.(?!\s)){1,6}?"
_MARKS = " \t\r\n_`\"'“”‘’(){}.,;#\ufeff\u200b"
_INNER = re.compile(r"(?<=\w)[\s_-]+(?=\w)")
_SEPARATORS = re.compile(r"(?<=\w)[\s_-]+(?=\w)|[\s_*`\"'“”‘’()\[\]{}.,:;!]+")
_COMPARISON = re.compile(r"(?<=\w)(?:\\s\+)?((?:[<>]|=)+)(?:\\s\+)?(?=\w)")
# a comparison that goes on: "A>B>C", but not the tag in "A>B</b>"
_COMPARED_BEFORE = re.compile(r"\w\s*[<>=≤≥≠]+\s*\Z")
_COMPARED_AFTER = re.compile(r"\s*(?:[>=≤≥≠]|<(?![/\w]))[<>=]*\s*\w")
_NEXT_WORD = re.compile(r"[^\S\n]+(\w+)|['’]\w")
# what may follow a letter that stands for itself, but not the article "a" or the pronoun "I"
_AFTER_LETTER = list_words(
    """is was has does can could will would should may might must wins beats fails loses and or but because
    since over than v vs versus"""
)


@dataclass(frozen=True)
class _Mention:
    """A name in a reply. ``firm`` ones name their label, others may do so ("non-consistent", "A's")."""

    label: str | int
    start: int
    end: int
    firm: bool


class Label:
    """One of a closed set of labels, given as the answer of a reply.

    ``labels`` is a list, or a mapping from each label to other names of it. Labels are all text or all whole
    numbers. Case, punctuation and mark-up do not matter. Only whole words count ("inconsistent" does not
    name "consistent"), and the longest of overlapping names counts ("partially correct").

    >>> Label({1: ["consistent"], 0: ["inconsistent"]})("**Inconsistent.**")
    0

    A reply is read if it names one label only, and names it as an answer: alone ("B", "(B)."), in an answer
    statement ("The answer is B", "Answer: B"), or with a plain predicate ("B is better"). What follows may be
    a reason in a sentence of its own. Everything else is None: two labels ("I prefer A over B"), a hedge or a
    negation ("partially correct", "not A") unless it is a name itself, a question ("Correct? No."), a label
    that is taken back. "A" and "I" are also words; as such ("A good answer", "I think") they name no label.

    ``pick`` is a lenient rule in place of this: the ``first`` or the ``last`` label that is named, whatever
    is said about it. For any other rule write a :class:`Regex` with this parser as ``then``.
    """

    def __init__(
        self,
        labels: Sequence[str | int] | Mapping[str | int, Any],
        pick: Literal["only", "first", "last"] = "only",
    ) -> None:
        names = {label: _list_names(label, others) for label, others in _to_pairs(labels)}
        if not names:
            raise ConfigError("parser Label: labels is empty")
        kinds = {type(label) for label in names}
        if kinds not in ({str}, {int}):
            raise ConfigError(
                f"parser Label: labels {list(names)} are neither all text nor all whole numbers; "
                "put quotes around 'yes', 'no', 'true' and 'on', which YAML reads as truth values"
            )
        if pick not in ("only", "first", "last"):
            raise ConfigError(f"parser Label: pick {pick!r}{suggest(str(pick), ('only', 'first', 'last'))}")
        self.labels, self.names, self.pick = list(names), names, pick
        self.dtype: pl.DataType = pl.String() if kinds == {str} else pl.Int64()
        self._names_whole = _index_names(names)
        self._names = sorted(
            ((name, label) for label, spellings in names.items() for name in spellings if name.strip()),
            key=lambda pair: (-len(pair[0]), pair[0]),
        )
        self._mentions = re.compile(
            "|".join(f"({_make_pattern(name)})" for name, _ in self._names) or r"(?!)", re.IGNORECASE
        )

    def __call__(self, text: str) -> str | int | None:
        value: str | int | None = self.read(text).value
        return value

    def read(self, text: str) -> Reading:
        """The label with the place where it is named, or the reason why there is none."""
        for bare in (
            text.strip(),
            text.rstrip(_MARKS.replace("#", "")).lstrip(_MARKS).rstrip("!") if "*" not in text else "",
        ):
            whole = self._names_whole.get(_INNER.sub(" ", normalize("NFC", bare).casefold()))
            whole = self._names_whole.get(normalize("NFC", bare), whole)
            if bare and whole is not None:
                start = text.index(bare)
                return Reading(whole, "the whole reply", start, start + len(bare))
        mentions = list(self._find_mentions(text))
        if self.pick != "only":
            return self._pick(mentions)
        named = list(dict.fromkeys(mention.label for mention in mentions))
        if not named:
            return Reading(None, "no label is named")
        if len(named) > 1:
            count = "two" if len(named) == 2 else "several"
            return Reading(None, f"{count} labels are named: {', '.join(map(str, named))}")
        return self._read_one(text, mentions)

    def _read_one(self, text: str, mentions: list[_Mention]) -> Reading:
        sentences = Sentences(text)
        for mention in mentions:
            if mention.firm and sentences.is_alone(mention.start, mention.end):
                if sentences.is_question(mention.start):
                    break
                return Reading(mention.label, "the whole reply", mention.start, mention.end)
        given = [
            mention
            for mention in mentions
            if mention.firm and sentences.is_answer(mention.start, mention.end)
        ]
        label = mentions[0].label
        if not given:
            return Reading(None, f"{label} is named, but not clearly as the answer")
        if any(sentences.is_negated(mention.start) for mention in set(mentions).difference(given)):
            return Reading(None, f"{label} is named and also negated or hedged")
        if sentences.is_taken_back(given[-1].start):
            return Reading(None, f"{label} is named and then taken back or hedged")
        return Reading(label, "the only label named", given[0].start, given[0].end)

    def _pick(self, mentions: list[_Mention]) -> Reading:
        firm = [mention for mention in mentions if mention.firm]
        if not firm:
            return Reading(None, "no label is named")
        chosen = firm[0 if self.pick == "first" else -1]
        return Reading(chosen.label, f"the {self.pick} label named", chosen.start, chosen.end)

    def _find_mentions(self, text: str) -> Iterator[_Mention]:
        place = 0
        while found := self._mentions.search(text, place):
            assert found.lastindex is not None
            name, label = self._names[found.lastindex - 1]
            mention = _judge_mention(text, found.start(), found.end(), name.strip(), label)
            if mention is not None:
                yield mention
            place = found.end() if mention is not None else found.start() + 1


def _judge_mention(text: str, start: int, end: int, name: str, label: str | int) -> _Mention | None:
    """What stands at a place where the letters of a name stand; None if it is part of something else."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    spaced = not NO_SPACES.search(name)
    if spaced and (_continues(text, start - 1, name[0]) or _continues(text, end, name[-1])):
        return None
    if _COMPARISON.search(name) and (
        _COMPARED_BEFORE.search(_drop_tag(text[:start])) or _COMPARED_AFTER.match(text, end)
    ):
        return None
    if name[0].isdigit() and re.search(r"(?:^|\W)[-+−]\Z|\d[.,]\Z", before):
        return None
    if name[-1].isdigit() and re.match(r"[.,]\d", after):
        return None
    if re.match(r"No\. ?\d", text[start : end + 3]):  # number 1
        return None
    firm = spaced or _stands_free(text, start, end)
    # "non-consistent", "A-B"
    firm = firm and not re.search(r"\w[-‐‑]\Z", before) and not re.match(r"[-‐‑]\w", after)
    if len(name) == 1 and name.isalpha():
        if before[-1:] in ("'", "’") and before[:1].isalpha():  # the t of "isn't"
            return None
        if name in "AaIi" and not _is_letter(text, start, end, name):
            return None
        if text[start:end] != name and not _is_marked(text, start, end):
            firm = False
        firm = firm and re.match(r"['’]\w", after) is None  # "A's"
    return _Mention(label, start, end, firm)


def _drop_tag(text: str) -> str:
    """The text without a tag at its end."""
    return re.sub(r"<[^<>]*>\s*\Z", "", text)


def _stands_free(text: str, start: int, end: int) -> bool:
    """Whether a name of a script without spaces has nothing beside it but words that lead to an answer."""
    before = re.search(rf"(?:{NO_SPACES.pattern})*\Z", text[max(0, start - 20) : start])
    after = re.match(rf"(?:{NO_SPACES.pattern})*", text[end : end + 20])
    assert before is not None
    assert after is not None
    return (not before[0] or before[0] in WORDS) and after[0] in ("", "的", "です")


def _is_letter(text: str, start: int, end: int, name: str) -> bool:
    """Whether a or i stands for itself, and is neither an article nor a pronoun."""
    following = _NEXT_WORD.match(text, end)
    if following is None:
        return text[start:end] == name or _is_marked(text, start, end)
    if following[0][0] in "'’":
        return name in "Aa"
    if following[1].casefold() in _AFTER_LETTER:
        return True
    begins = re.search(r"(?:^|[.!?:\n])[\s*_`\"'(>#-]*$", text[max(0, start - 20) : start]) is not None
    return text[start] == "A" == name and not begins


def _is_marked(text: str, start: int, end: int) -> bool:
    """Whether a letter in the other case is marked as an answer: "Answer: b", "(b)", "b.", "b is"."""
    following = _NEXT_WORD.match(text, end)
    verb = following is not None and (following[1] or "").casefold() in _AFTER_LETTER
    return (
        verb
        or text[:start].rstrip()[-1:] in ("", *":([{\"'*`")
        or text[end : end + 1] in (".", ")", "]", "*")
    )


def _continues(text: str, place: int, beside: str) -> bool:
    """Whether the character at a place belongs to the word of the character beside it."""
    if not 0 <= place < len(text) or not (beside.isalnum() or category(beside)[0] == "M"):
        return False
    character = text[place]
    if not (character.isalnum() or category(character)[0] == "M"):
        return False
    return bool(NO_SPACES.match(character)) == bool(NO_SPACES.match(beside))


def _to_pairs(labels: Sequence[str | int] | Mapping[str | int, Any]) -> list[tuple[str | int, Any]]:
    if isinstance(labels, Mapping):
        return [(label, labels[label]) for label in labels]
    if isinstance(labels, str):
        raise ConfigError(f"parser Label: expected labels as a list or a mapping, got the text {labels!r}")
    return [(label, None) for label in labels]


def _list_names(label: str | int, others: Any) -> list[str]:
    more = [] if others is None else [others] if isinstance(others, str | int) else list(others)
    for name in more:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise ConfigError(
                f"parser Label: {name!r}, a name of {label!r}, is no text; put quotes around 'yes', 'no', "
                "'true' and 'on', which YAML reads as truth values"
            )
    return [str(name) for name in (label, *more)]


def _normalize(name: str) -> str:
    """A name without case and without marks that do not matter; a name of marks only stays as it is."""
    return _SEPARATORS.sub(" ", normalize("NFC", name).casefold()).strip() or name.strip()


def _index_names(names: Mapping[str | int, list[str]]) -> dict[str, str | int]:
    """The label of each name, as written and normalised. Raises for names that differ in marks only."""
    index: dict[str, str | int] = {}
    for label, spellings in names.items():
        for name in spellings:
            for key in (_normalize(name), normalize("NFC", name.strip())):
                if index.setdefault(key, label) != label:
                    raise ConfigError(
                        f"parser Label: {name!r} names both {index[key]!r} and {label!r} "
                        "(case and punctuation do not count)"
                    )
    return index


def _make_pattern(name: str) -> str:
    """The pattern of a name, in which its words may be joined by other marks."""
    bare = name.strip()
    if re.sub(r"[\w\s_*`\"'()\[\]{}.,:;!-]|(?<!\w)\+(?=\d)", "", bare) or re.search(r"\w-$", bare):
        whole = r"\s+".join(map(re.escape, bare.split()))  # a mark belongs to it, as in "A+" and "C#"
        return _COMPARISON.sub(r"\\s*\1\\s*", whole)  # "A>B" is also "A > B"
    words = _WORD.findall(bare)
    return _BETWEEN.join(map(re.escape, words)) if words else re.escape(bare)
