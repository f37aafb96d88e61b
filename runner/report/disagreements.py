"""Rows to read: where points disagree with each other or with the target, the most telling first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from runner.core.errors import RunnerError
from runner.metrics.base import Metric
from runner.report.comparisons import Build, Family
from runner.report.points import Point

LENGTH = 4000
"""Characters of a text that are shown."""
SUMMARY = 180
UNPARSED = "unparsed"
COLUMNS = ("id", "target", "prediction", "verdict", "completion", "error")


@dataclass(frozen=True)
class Answer:
    """What one point said in a row. ``right`` is None where right and wrong do not apply."""

    number: str
    said: str
    right: bool | None
    off: float
    """How far the prediction is from the target."""
    prediction: str
    verdict: str | None
    completion: str
    error: str | None


@dataclass(frozen=True)
class Row:
    """One row with the answers of all points, in their order."""

    id: str
    summary: str
    question: str
    target: str
    answers: list[Answer]

    @property
    def torn(self) -> bool:
        """Whether the points say different things."""
        return len({answer.said for answer in self.answers}) > 1

    @property
    def rank(self) -> tuple[bool, float]:
        return not self.torn, -max(answer.off for answer in self.answers)


@dataclass(frozen=True)
class Reading:
    """The first ``rows`` of a family's telling rows; ``torn`` and ``missed`` count all of them."""

    points: list[Point]
    rows: list[Row]
    n: int
    torn: int
    missed: int
    """Rows in which some point is wrong, or its number is not the target's."""
    total: int
    graded: bool
    """Whether answers are right or wrong, and not only near or far."""

    @property
    def longest(self) -> int:
        """Characters of the longest answer, as far as a column is made for it."""
        return min(16, max((len(answer.said) for row in self.rows for answer in row.answers), default=0))


def read(family: Family, build: Build, most: int) -> Reading:
    """The rows of a family in which something went wrong or apart."""
    answers = [_answers(point, build) for point in family.points]
    rows = _rows(family, answers)
    telling = [row for row in rows if row.torn or _missed(row)]
    telling.sort(key=lambda row: row.rank)
    return Reading(
        points=family.points,
        rows=_summarised(telling[:most]),
        n=family.n,
        torn=sum(row.torn for row in telling),
        missed=sum(_missed(row) for row in telling),
        total=len(telling),
        graded=any(answer.right is not None for row in rows[:1] for answer in row.answers),
    )


def _missed(row: Row) -> bool:
    return any(answer.right is False or answer.off > 0 for answer in row.answers)


def _rows(family: Family, answers: Sequence[Mapping[str, Answer]]) -> list[Row]:
    frame = family.points[0].rows
    assert frame is not None
    messages = frame["messages"].to_list() if "messages" in frame.columns else [[]] * frame.height
    targets = frame["target"].to_list() if "target" in frame.columns else [None] * frame.height
    return [
        Row(name, "", _chat(chat), shown(target), [each[name] for each in answers])
        for name, chat, target in zip(frame["id"].to_list(), messages, targets, strict=True)
    ]


def _chat(messages: Sequence[Mapping[str, str]]) -> str:
    """The last turn, which is what the row asks."""
    return messages[-1]["content"] if messages else ""


def _summarised(rows: Sequence[Row]) -> list[Row]:
    """The rows with the beginning of each question, without the words that all questions begin with."""
    texts = [" ".join(row.question.split()) for row in rows]
    start = _shared(texts)
    return [
        Row(row.id, cut(text[start:], SUMMARY, "…"), cut(row.question), row.target, row.answers)
        for row, text in zip(rows, texts, strict=True)
    ]


def _shared(texts: Sequence[str]) -> int:
    """How many characters all texts begin with, up to the last whole word; 0 for a single text."""
    first, last = (min(texts), max(texts)) if len(texts) > 1 else ("", "")
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[:same].rfind(" ") + 1


def _answers(point: Point, build: Build) -> dict[str, Answer]:
    """The answers of a point by row id, judged by its verdict where there is one, else by its prediction."""
    frame = point.rows
    assert frame is not None
    judged = "verdict" in frame.columns
    expected = _expected(point, build) if judged else None
    near = not judged and _graduated(frame)
    given = [name for name in COLUMNS if name in frame.columns]
    answers = {}
    for row, off in zip(frame.select(given).iter_rows(named=True), _distances(frame, near), strict=True):
        said, wanted = (row["verdict"], expected) if judged else (row["prediction"], row.get("target"))
        right = None if near or wanted is None else said == wanted
        answers[str(row["id"])] = _answer(point, row, said, right, off)
    return answers


def _answer(point: Point, row: Mapping[str, Any], said: Any, right: bool | None, off: float) -> Answer:
    return Answer(
        number=point.number,
        said=UNPARSED if said is None else shown(said),
        right=right,
        off=off,
        prediction=shown(row["prediction"]),
        verdict=shown(row["verdict"]) if "verdict" in row else None,
        completion=cut(shown(row["completion"])),
        error=row.get("error"),
    )


def _distances(frame: pl.DataFrame, ranked: bool) -> list[float]:
    """How far each prediction is from its target; 0 where they are no numbers.

    Measures may be on scales of their own, so by rank: 1 is from the lowest to the highest.
    """
    sides = [frame[name] for name in ("prediction", "target") if name in frame.columns]
    if len(sides) < 2 or not all(side.dtype.is_numeric() for side in sides):
        return [0.0] * frame.height
    said, wanted = (side.rank() / frame.height if ranked else side.cast(pl.Float64) for side in sides)
    return (said - wanted).abs().fill_null(0.0).to_list()


def _graduated(frame: pl.DataFrame) -> bool:
    """Whether answers are measures, of which no two are ever equal, and not labels or whole ratings."""
    sides = [frame[name] for name in ("prediction", "target") if name in frame.columns]
    return all(side.dtype.is_float() for side in sides) and any((side % 1 != 0).any() for side in sides)


def _expected(point: Point, build: Build) -> Any:
    """The verdict that counts as right, as far as a metric says so."""
    for name, node in (point.record.config.get("metric") or {}).items():
        try:
            metric = build(node, f"metric.{name}")
        except RunnerError:
            continue
        if isinstance(metric, Metric) and metric.prediction == "verdict":
            return metric.expected
    return None


def shown(value: Any) -> str:
    """A value as a reader sees it: numbers short, nothing as a dash.

    >>> shown(0.123456), shown(3.0), shown(None), shown("a")
    ('0.123', '3', '–', 'a')
    """
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def cut(text: str, length: int = LENGTH, note: str = "") -> str:
    """The text, or its beginning with a note of how long it is."""
    if len(text) <= length:
        return text
    return text[:length].rstrip() + (note or f" … [cut; {len(text):,} characters in all]")
