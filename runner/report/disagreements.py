"""Rows to read: those that points answer differently or not right.

What is right and how good an answer is follows from the rows' scores (:func:`runner.metrics.score_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from runner.core.errors import RunnerError
from runner.core.types import write_value
from runner.metrics import row_score_kinds, score_rows
from runner.report.comparisons import Build, Family
from runner.report.points import Point

MAX_TEXT = 4000
"""How many characters of a text are shown."""
MAX_SUMMARY = 180
UNPARSED = "unparsed"
COLUMNS = ("id", "target", "prediction", "reading", "verdict", "completion", "error")


@dataclass(frozen=True)
class Answer:
    """What one point said in a row. ``right`` is None if no metric says whether the row is right."""

    number: str
    said: str
    right: bool | None
    distance: float
    """How far it is from the best answer. It puts rows in order and does not say what is right."""
    prediction: str
    unread: str | None
    """Why the parser read nothing, where it says so."""
    verdict: str | None
    completion: str
    error: str | None

    @property
    def is_missed(self) -> bool:
        """Whether it is wrong, or not the best answer if no metric says what is right."""
        return self.distance > 0 if self.right is None else not self.right


@dataclass(frozen=True)
class Row:
    """One row with the answers of all points, in their order."""

    id: str
    summary: str
    question: str
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
    def rank(self) -> tuple[bool, float]:
        """The sort key: disputed rows first, and among them those with the farthest answer."""
        return not self.is_disputed, -max(answer.distance for answer in self.answers)


@dataclass(frozen=True)
class Disagreements:
    """The first ``rows`` that are disputed or missed; the counts are of all such rows."""

    points: list[Point]
    rows: list[Row]
    n: int
    disputed: int
    missed: int
    total: int
    is_graded: bool
    """Whether a metric says that single answers are right or wrong."""

    @property
    def longest(self) -> int:
        """The width of an answer's column, in characters."""
        return min(16, max((len(answer.said) for row in self.rows for answer in row.answers), default=0))


def find_disagreements(family: Family, build: Build, most: int) -> Disagreements:
    """The rows of a family that its points answer differently or not right, at most ``most`` of them."""
    answers = [_read_answers(point, build) for point in family.points]
    rows = _join_answers(family, answers)
    found = [row for row in rows if row.is_disputed or row.is_missed]
    found.sort(key=lambda row: row.rank)
    return Disagreements(
        points=family.points,
        rows=_summarize(found[:most]),
        n=family.n,
        disputed=sum(row.is_disputed for row in found),
        missed=sum(row.is_missed for row in found),
        total=len(found),
        is_graded=any(answer.right is not None for row in rows for answer in row.answers),
    )


def _join_answers(family: Family, answers: Sequence[Mapping[str, Answer]]) -> list[Row]:
    frame = family.points[0].rows
    assert frame is not None
    messages = frame["messages"].to_list() if "messages" in frame.columns else [[]] * frame.height
    targets = frame["target"].to_list() if "target" in frame.columns else [None] * frame.height
    return [
        Row(str(name), "", _read_question(chat), format_value(target), [each[str(name)] for each in answers])
        for name, chat, target in zip(frame["id"].to_list(), messages, targets, strict=True)
    ]


def _read_question(messages: Sequence[Mapping[str, str]]) -> str:
    """The last turn of a chat, which holds the question."""
    return messages[-1]["content"] if messages else ""


def _summarize(rows: Sequence[Row]) -> list[Row]:
    """The rows with a summary: the beginning of the question, without the words that all questions share."""
    texts = [" ".join(row.question.split()) for row in rows]
    start = _count_common_letters(texts)
    return [
        Row(row.id, truncate(text[start:], MAX_SUMMARY, "…"), truncate(row.question), row.target, row.answers)
        for row, text in zip(rows, texts, strict=True)
    ]


def _count_common_letters(texts: Sequence[str]) -> int:
    """The length of the beginning that all texts share, in whole words; 0 for a single text."""
    first, last = (min(texts), max(texts)) if len(texts) > 1 else ("", "")
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[:same].rfind(" ") + 1


def _read_answers(point: Point, build: Build) -> dict[str, Answer]:
    """The answers of a point by row id, scored."""
    scored = _score(point, build)
    frame, said = scored.frame, scored.said
    given = [name for name in COLUMNS if name in frame.columns]
    scores = frame[scored.right].to_list() if scored.right else [None] * frame.height
    rows = zip(frame.select(given).iter_rows(named=True), scores, _measure_distances(scored), strict=True)
    return {
        str(row["id"]): _make_answer(point, row, row[said], _is_right(score, row[said], scored), distance)
        for row, score, distance in rows
    }


@dataclass(frozen=True)
class _Scored:
    """Rows with their scores. ``said`` is the column to show; ``right`` and ``value`` hold scores."""

    frame: pl.DataFrame
    said: str
    right: str | None
    value: str | None
    best: float
    """The best value of the column ``value``."""


def _score(point: Point, build: Build) -> _Scored:
    """The rows of a point with their scores, and which of these to use."""
    metrics = _build_metrics(point, build)
    frame, kinds = _get_row_scores(point, metrics)
    said = "verdict" if "verdict" in frame.columns else "prediction"
    known = {name: kind for name, kind in kinds.items() if name in frame.columns}
    value, best = _choose_value(known, metrics)
    return _Scored(frame, said, _choose_right(known, metrics, said), value, best)


def _get_row_scores(point: Point, metrics: Mapping[str, Any]) -> tuple[pl.DataFrame, Mapping[str, str]]:
    """The rows with the scores of their record; they are computed for records that were written without."""
    rows, kinds = point.rows, point.record.row_scores
    assert rows is not None
    if not kinds:
        with suppress(RunnerError):
            return score_rows(metrics, rows), row_score_kinds(metrics)
    return rows, kinds


def _choose_right(kinds: Mapping[str, str], metrics: Mapping[str, Any], said: str) -> str | None:
    """The first metric that says what is right, preferably one that reads the column shown."""
    names = [name for name, kind in kinds.items() if kind == "right"]
    names.sort(key=lambda name: getattr(metrics.get(name), "prediction", None) != said)
    return next(iter(names), None)


def _choose_value(kinds: Mapping[str, str], metrics: Mapping[str, Any]) -> tuple[str | None, float]:
    """The first metric that gives a value of which the best is known, and that best value."""
    for name, kind in kinds.items():
        best = getattr(metrics.get(name), "best", None)
        if kind == "value" and best is not None:
            return name, float(best)
    return None, 0.0


def _build_metrics(point: Point, build: Build) -> dict[str, Any]:
    """The metrics of a run, without those that can no longer be built."""
    metrics = {}
    for name, node in (point.record.config.get("metric") or {}).items():
        with suppress(RunnerError):
            metrics[name] = build(node, f"metric.{name}")
    return metrics


def _is_right(score: float | None, said: Any, scored: _Scored) -> bool | None:
    """Whether the row's score says right; an answer that could not be parsed is wrong."""
    if score is None:
        return False if scored.right and said is None else None
    return score == 1


def _make_answer(
    point: Point, row: Mapping[str, Any], said: Any, right: bool | None, distance: float
) -> Answer:
    return Answer(
        number=point.number,
        said=UNPARSED if said is None else format_value(said),
        right=right,
        distance=distance,
        prediction=format_value(row["prediction"]),
        unread=row.get("reading") if row["prediction"] is None else None,
        verdict=format_value(row["verdict"]) if "verdict" in row else None,
        completion=truncate(format_value(row["completion"])),
        error=row.get("error"),
    )


def _measure_distances(scored: _Scored) -> list[float]:
    """How far each answer is from the best one; an unparsed answer counts as far as the farthest."""
    frame = scored.frame
    if scored.value:
        distance = (frame[scored.value] - scored.best).abs()
    else:
        distance = _compare_with_target(frame, ranked=scored.right is None and _is_continuous(frame))
    farthest = distance.max() or 1.0
    unparsed = frame[scored.said].is_null()
    return (
        pl.select(pl.when(unparsed).then(farthest).otherwise(distance.fill_null(0.0))).to_series().to_list()
    )


def _compare_with_target(frame: pl.DataFrame, ranked: bool) -> pl.Series:
    """How far each prediction is from its target: the difference of numbers; else 0 if equal, 1 if not.

    Numbers may be on different scales. ``ranked`` therefore compares ranks, divided by the number of rows.
    """
    sides = [frame[name] for name in ("prediction", "target") if name in frame.columns]
    if len(sides) == 2 and all(side.dtype.is_numeric() for side in sides):
        said, wanted = (side.rank() / frame.height if ranked else side.cast(pl.Float64) for side in sides)
        return (said - wanted).abs()
    if len(sides) == 2 and sides[0].dtype == sides[1].dtype and "verdict" not in frame.columns:
        return (sides[0] != sides[1]).cast(pl.Float64)
    return pl.repeat(0.0, frame.height, eager=True)


def _is_continuous(frame: pl.DataFrame) -> bool:
    """Whether predictions and targets are real numbers, and not labels or whole ratings."""
    sides = [frame[name] for name in ("prediction", "target") if name in frame.columns]
    return all(side.dtype.is_float() for side in sides) and any((side % 1 != 0).any() for side in sides)


def format_value(value: Any) -> str:
    """A value as text: numbers with three significant digits, None as a dash.

    >>> format_value(0.123456), format_value(3.0), format_value(None), format_value("a")
    ('0.123', '3', '–', 'a')
    """
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else write_value(value)


def truncate(text: str, length: int = MAX_TEXT, note: str = "") -> str:
    """The text, or its beginning and a note of its length."""
    if len(text) <= length:
        return text
    return text[:length].rstrip() + (note or f" … [cut; {len(text):,} characters in all]")
