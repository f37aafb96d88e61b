"""Rows to read: where points disagree with each other or with the target, the most telling first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from runner.core.errors import RunnerError
from runner.metrics import row_score_kinds, score_rows
from runner.report.comparisons import Build, Family
from runner.report.points import Point

LENGTH = 4000
"""Characters of a text that are shown."""
SUMMARY = 180
UNPARSED = "unparsed"
COLUMNS = ("id", "target", "prediction", "verdict", "completion", "error")


@dataclass(frozen=True)
class Answer:
    """What one point said in a row. ``right`` is None where no metric says whether a single row is right."""

    number: str
    said: str
    right: bool | None
    distance: float
    """How far it is from the best answer; it puts rows in order, and decides nothing where ``right`` does."""
    prediction: str
    verdict: str | None
    completion: str
    error: str | None

    @property
    def is_missed(self) -> bool:
        """Wrong, or away from the target where nothing says what is right."""
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
        """Whether some point missed it."""
        return any(answer.is_missed for answer in self.answers)

    @property
    def rank(self) -> tuple[bool, float]:
        """Sorts disputed rows first, and those with the farthest answer first among them."""
        return not self.is_disputed, -max(answer.distance for answer in self.answers)


@dataclass(frozen=True)
class Disagreements:
    """The first ``rows`` that are disputed or missed; ``disputed``, ``missed`` and ``total`` count all."""

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
        """Characters of the longest answer, as far as a column is made for it."""
        return min(16, max((len(answer.said) for row in self.rows for answer in row.answers), default=0))


def find_disagreements(family: Family, build: Build, most: int) -> Disagreements:
    """The rows of a family that its points answer differently, or not all of them right."""
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
    """The last turn, which is what the row asks."""
    return messages[-1]["content"] if messages else ""


def _summarize(rows: Sequence[Row]) -> list[Row]:
    """The rows with the beginning of each question, without the words that all questions begin with."""
    texts = [" ".join(row.question.split()) for row in rows]
    start = _count_common_letters(texts)
    return [
        Row(row.id, truncate(text[start:], SUMMARY, "…"), truncate(row.question), row.target, row.answers)
        for row, text in zip(rows, texts, strict=True)
    ]


def _count_common_letters(texts: Sequence[str]) -> int:
    """How many characters all texts begin with, up to the last whole word; 0 for a single text."""
    first, last = (min(texts), max(texts)) if len(texts) > 1 else ("", "")
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[:same].rfind(" ") + 1


def _read_answers(point: Point, build: Build) -> dict[str, Answer]:
    """The answers of a point by row id, with what the metrics of its run say of each."""
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
    """Rows with their scores. ``right`` and ``value`` name columns of scores, ``said`` the column shown."""

    frame: pl.DataFrame
    said: str
    right: str | None
    value: str | None
    best: float
    """What ``value`` is in a row that could not be better."""


def _score(point: Point, build: Build) -> _Scored:
    """The rows of a point with their scores, which records of earlier versions do not have yet."""
    frame, kinds = point.rows, point.record.row_scores
    assert frame is not None
    metrics = _build_metrics(point, build)
    if not kinds:
        with suppress(RunnerError):
            frame, kinds = score_rows(metrics, frame), row_score_kinds(metrics)
    said = "verdict" if "verdict" in frame.columns else "prediction"
    known = {name: kind for name, kind in kinds.items() if name in frame.columns}
    right = [name for name, kind in known.items() if kind == "right"]
    right.sort(key=lambda name: getattr(metrics.get(name), "prediction", None) != said)
    best = {name: getattr(metrics.get(name), "best", None) for name, kind in known.items() if kind == "value"}
    value = next((name for name in best if best[name] is not None), None)
    return _Scored(frame, said, next(iter(right), None), value, best[value] or 0.0 if value else 0.0)


def _build_metrics(point: Point, build: Build) -> dict[str, Any]:
    """The metrics of a run, without those that cannot be made any more."""
    metrics = {}
    for name, node in (point.record.config.get("metric") or {}).items():
        with suppress(RunnerError):
            metrics[name] = build(node, f"metric.{name}")
    return metrics


def _is_right(score: float | None, said: Any, scored: _Scored) -> bool | None:
    """Right or wrong by the row's score; an answer that could not be read is wrong."""
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
        verdict=format_value(row["verdict"]) if "verdict" in row else None,
        completion=truncate(format_value(row["completion"])),
        error=row.get("error"),
    )


def _measure_distances(scored: _Scored) -> list[float]:
    """How far each answer is from the best one, to put rows in order; an unread one is as far as any."""
    frame = scored.frame
    if scored.value:
        distance = (frame[scored.value] - scored.best).abs()
    else:
        distance = _compare_with_target(frame, ranked=scored.right is None and _is_continuous(frame))
    farthest = distance.max() or 1.0
    unread = frame[scored.said].is_null()
    return pl.select(pl.when(unread).then(farthest).otherwise(distance.fill_null(0.0))).to_series().to_list()


def _compare_with_target(frame: pl.DataFrame, ranked: bool) -> pl.Series:
    """How far each prediction is from its target: numbers by their difference, others 1 where they differ.

    Numbers may be on scales of their own, so ``ranked`` compares ranks: 1 is from the lowest to the highest.
    """
    sides = [frame[name] for name in ("prediction", "target") if name in frame.columns]
    if len(sides) == 2 and all(side.dtype.is_numeric() for side in sides):
        said, wanted = (side.rank() / frame.height if ranked else side.cast(pl.Float64) for side in sides)
        return (said - wanted).abs()
    if len(sides) == 2 and sides[0].dtype == sides[1].dtype and "verdict" not in frame.columns:
        return (sides[0] != sides[1]).cast(pl.Float64)
    return pl.repeat(0.0, frame.height, eager=True)


def _is_continuous(frame: pl.DataFrame) -> bool:
    """Whether predictions and targets are measurements, and not labels or whole ratings."""
    sides = [frame[name] for name in ("prediction", "target") if name in frame.columns]
    return all(side.dtype.is_float() for side in sides) and any((side % 1 != 0).any() for side in sides)


def format_value(value: Any) -> str:
    """A value as a reader sees it: numbers short, nothing as a dash.

    >>> format_value(0.123456), format_value(3.0), format_value(None), format_value("a")
    ('0.123', '3', '–', 'a')
    """
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def truncate(text: str, length: int = LENGTH, note: str = "") -> str:
    """The text, or its beginning with a note of how long it is."""
    if len(text) <= length:
        return text
    return text[:length].rstrip() + (note or f" … [cut; {len(text):,} characters in all]")
