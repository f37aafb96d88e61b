"""Rows to read: those that points answer differently or not right come first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from runner.core.types import REPEAT
from runner.report.answers import Answer, Words, format_value, name_lines, read_answers
from runner.report.comparisons import Build, Family
from runner.report.formats import truncate
from runner.report.points import Point

MAX_TEXTS = 12_000_000
"""How many characters of texts a page has at most. Where they would be more, long texts are cut."""
LENGTHS = (20_000, 8_000, 4_000, 2_000, 1_000, 500, 200)
MAX_SUMMARY = 180

Key = TypeVar("Key")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Row:
    """One row with the answers of all points, in their order."""

    id: str
    summary: str
    questions: list[tuple[list[str], str]]
    """Each different question, after the numbers of the points that were asked it."""
    target: str
    answers: list[Answer]

    @property
    def is_disputed(self) -> bool:
        """Whether the points say different things."""
        return len({answer.said for answer in self.answers}) > 1

    @property
    def is_missed(self) -> bool:
        """Whether some answer is missed."""
        return any(answer.is_missed for answer in self.answers)

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """The sort key: disputed rows, then missed ones; among them those with the farthest answer."""
        return not self.is_disputed, not self.is_missed, -max(answer.distance for answer in self.answers)

    @property
    def groups(self) -> list[list[Answer]]:
        """The answers, those that are the same in every word together."""
        return list(
            _group((replace(answer, number="", distance=0), answer) for answer in self.answers).values()
        )


@dataclass(frozen=True)
class Disagreements:
    """The first ``rows`` of a family, those worth reading before others; the counts are of all its rows."""

    points: list[Point]
    rows: list[Row]
    n: int
    disputed: int
    missed: int
    total: int
    """How many rows are disputed or missed."""
    is_graded: bool
    """Whether a metric says that single answers are right or wrong."""

    @property
    def longest(self) -> int:
        """The width of an answer's column, in characters."""
        return min(16, max((len(answer.shown) for row in self.rows for answer in row.answers), default=0))


def find_disagreements(family: Family, build: Build, most: int, texts: int = MAX_TEXTS) -> Disagreements:
    """The rows of a family, at most ``most`` of them and ``texts`` characters; disagreements come first."""
    several = any(point.rows is not None and REPEAT in point.rows.columns for point in family.points)
    answers = [read_answers(point, build, several) for point in family.points]
    rows = _join_answers(family, answers, several)
    return Disagreements(
        points=family.points,
        rows=_shorten(_summarize(sorted(rows, key=lambda row: row.rank)[:most]), texts),
        n=len(rows),
        disputed=sum(row.is_disputed for row in rows),
        missed=sum(row.is_missed for row in rows),
        total=sum(row.is_disputed or row.is_missed for row in rows),
        is_graded=any(answer.right is not None for row in rows for answer in row.answers),
    )


def _join_answers(family: Family, answers: Sequence[Mapping[str, Answer]], several: bool) -> list[Row]:
    frame = family.points[0].rows
    assert frame is not None
    asked = {point.number: _read_questions(point, several) for point in family.points}
    targets = frame["target"].to_list() if "target" in frame.columns else [None] * frame.height
    return [
        Row(
            id=name,
            summary="",
            questions=_group_questions({number: texts.get(name, "") for number, texts in asked.items()}),
            target=format_value(target),
            answers=[each[name] for each in answers],
        )
        for name, target in zip(name_lines(frame, several), targets, strict=True)
        if all(name in each for each in answers)  # points may have asked differently often
    ]


def _read_questions(point: Point, several: bool) -> dict[str, str]:
    """The last turn of each row's chat, which holds the question."""
    if point.rows is None or "messages" not in point.rows.columns:
        return {}
    chats = zip(name_lines(point.rows, several), point.rows["messages"].to_list(), strict=True)
    return {name: messages[-1]["content"] or "" for name, messages in chats if messages}


def _group_questions(asked: Mapping[str, str]) -> list[tuple[list[str], str]]:
    return [
        (numbers, text) for text, numbers in _group((text, number) for number, text in asked.items()).items()
    ]


def _summarize(rows: Sequence[Row]) -> list[Row]:
    """The rows with a summary: the beginning of the question, without the words that all questions share."""
    texts = [" ".join(row.questions[0][1].split()) for row in rows]
    start = _count_common_letters(texts)
    return [
        replace(row, summary=truncate(text[start:], MAX_SUMMARY, "…"))
        for row, text in zip(rows, texts, strict=True)
    ]


def _count_common_letters(texts: Sequence[str]) -> int:
    """The length of the beginning that all texts share, in whole words; 0 for a single text."""
    first, last = (min(texts), max(texts)) if len(texts) > 1 else ("", "")
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[:same].rfind(" ") + 1


def _group(pairs: Iterable[tuple[Key, Item]]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = {}
    for key, item in pairs:
        groups.setdefault(key, []).append(item)
    return groups


def _shorten(rows: Sequence[Row], most: int) -> list[Row]:
    """The rows with their texts cut to one length, if they would have more than ``most`` characters."""
    sizes = [len(text) for row in rows for text in _list_texts(row)]
    fitting = (length for length in LENGTHS if sum(min(size, length) for size in sizes) <= most)
    length = next(fitting, LENGTHS[-1])
    return [
        replace(
            row,
            questions=[(numbers, truncate(text, length)) for numbers, text in row.questions],
            target=truncate(row.target, length),
            answers=[_shorten_answer(answer, length) for answer in row.answers],
        )
        for row in rows
    ]


def _list_texts(row: Row) -> Iterator[str]:
    yield from (text for _, text in row.questions)
    for answer, *_ in row.groups:
        for words in (answer.words, answer.judge):
            yield from filter(None, (words.text, words.reasoning) if words else ())


def _shorten_answer(answer: Answer, length: int) -> Answer:
    judge = _shorten_words(answer.judge, length) if answer.judge else None
    prediction = truncate(answer.prediction, MAX_SUMMARY, "…")
    return replace(answer, prediction=prediction, words=_shorten_words(answer.words, length), judge=judge)


def _shorten_words(words: Words, length: int) -> Words:
    text, reasoning = (
        None if text is None else truncate(text, length) for text in (words.text, words.reasoning)
    )
    return replace(words, text=text, reasoning=reasoning)
