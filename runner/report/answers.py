"""What the points were asked, and what each answered in each row, with its score.

What is right and how good an answer is follows from the rows' scores (:func:`runner.metrics.score_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from runner.core.errors import RunnerError
from runner.core.types import REPEAT, list_members, write_value
from runner.metrics import row_score_kinds, score_rows
from runner.records.result import list_right_scores
from runner.report.comparisons import Build, Family
from runner.report.formats import truncate
from runner.report.points import Point

UNPARSED = "unparsed"
SAID = ("completion", "reasoning", "reading", "error")
COLUMNS = {"id", "target", "prediction", "verdict", *SAID, *(f"judge_{name}" for name in SAID)}
MAX_TURN, MAX_TURNS = 8_000, 60
"""How many characters of a turn, and how many turns, are shown."""


@dataclass(frozen=True)
class Words:
    """What a model said in a row; None where it said nothing. ``unread`` is why nothing was read from it."""

    text: str | None
    reasoning: str | None
    is_read: bool
    unread: str | None
    error: str | None


@dataclass(frozen=True)
class Answer:
    """What one point said in a row. ``right`` is None if no metric says whether the row is right."""

    number: str
    said: str
    right: bool | None
    distance: float
    """How far it is from the best answer. It puts rows in order and does not say what is right."""
    prediction: str
    verdict: str | None
    words: Words
    judge: Words | None

    @property
    def is_missed(self) -> bool:
        """Whether it is wrong, or not the best answer if no metric says what is right."""
        return self.distance > 0 if self.right is None else not self.right

    @property
    def is_failed(self) -> bool:
        """Whether a call failed, so that there is no answer or no verdict."""
        return any(words.error for words in self._words)

    @property
    def is_unread(self) -> bool:
        """Whether nothing was read from an answer, the model's or the judge's."""
        return any(words.text is not None and not words.is_read for words in self._words)

    @property
    def shown(self) -> str:
        """What the list of rows has for it; what could not be read is told apart from what is not there."""
        if self.said != UNPARSED or self.is_unread:
            return self.said
        return "failed" if self.is_failed else "no answer"

    @property
    def flags(self) -> str:
        """What a filter looks for: w (wrong), u (not read), e (a call failed); a dash if none of these."""
        found = {"w": self.is_missed, "u": self.is_unread, "e": self.is_failed}
        return "".join(flag for flag, is_so in found.items() if is_so) or "-"

    @property
    def _words(self) -> list[Words]:
        return [words for words in (self.words, self.judge) if words]


def read_answers(point: Point, build: Build, several: bool = False) -> dict[str, Answer]:
    """The answers of a point by the names of :func:`name_lines`, scored."""
    scored = _score(point, build)
    frame = scored.frame
    scores = frame[scored.right].to_list() if scored.right else [None] * frame.height
    given = frame.select(name for name in frame.columns if name in COLUMNS)
    rows = zip(given.iter_rows(named=True), scores, _measure_distances(scored), strict=True)
    return {
        name: _make_answer(
            point.number, row, row[scored.said], _is_right(score, row[scored.said], scored), distance
        )
        for name, (row, score, distance) in zip(name_lines(frame, several), rows, strict=True)
    }


def name_lines(frame: pl.DataFrame, several: bool) -> list[str]:
    """What each line is called: the row's id and, where points have ``several`` answers to a row, its repeat.

    >>> name_lines(pl.DataFrame({"id": ["a", "a"], "repeat": [0, 1]}), several=True)
    ['a, repeat 0', 'a, repeat 1']
    """
    numbers = frame[REPEAT].to_list() if REPEAT in frame.columns else [0] * frame.height
    return [
        f"{name}, repeat {number}" if several else str(name)
        for name, number in zip(frame["id"].to_list(), numbers, strict=True)
    ]


def _make_answer(
    number: str, row: Mapping[str, Any], said: Any, right: bool | None, distance: float
) -> Answer:
    judged = row.get("judge_completion") is not None or row.get("judge_error") is not None
    return Answer(
        number=number,
        said=UNPARSED if said is None else format_value(said),
        right=right,
        distance=distance,
        prediction=format_value(row["prediction"]),
        verdict=format_value(row["verdict"]) if "verdict" in row else None,
        words=_read_words(row, "", row["prediction"]),
        judge=_read_words(row, "judge_", row.get("verdict")) if judged else None,
    )


def _read_words(row: Mapping[str, Any], prefix: str, value: Any) -> Words:
    text, error = row.get(f"{prefix}completion"), row.get(f"{prefix}error")
    return Words(
        text=None if text is None else format_value(text),
        reasoning=row.get(f"{prefix}reasoning") or None,
        is_read=value is not None,
        unread=row.get(f"{prefix}reading") if value is None else None,
        error=None if error is None else str(error),
    )


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
    right = next(iter(list_right_scores(known, point.record.config.get("metric") or {}).values()), None)
    return _Scored(frame, said, right, value, best)


def _get_row_scores(point: Point, metrics: Mapping[str, Any]) -> tuple[pl.DataFrame, Mapping[str, str]]:
    """The rows with the scores of their record; they are computed for records that were written without."""
    rows, kinds = point.rows, point.record.row_scores
    assert rows is not None
    if not kinds:
        with suppress(RunnerError):
            return score_rows(metrics, rows), row_score_kinds(metrics)
    return rows, kinds


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


@dataclass(frozen=True)
class Chat:
    """What these points sent for a row: turns with their role; ``cut`` is how many more there are."""

    row: str
    numbers: list[str]
    turns: list[tuple[str, str]]
    cut: int
    is_judge: bool = False


def find_chats(family: Family) -> list[Chat]:
    """The chats of the family's first row, then its judges' chats of the first row that was judged."""
    found = {name for point in family.points if point.rows is not None for name in point.rows.columns}
    judges = [f"judge_{name}_messages" for name in sorted(list_members(found))]
    names = ["messages", "judge_messages", *judges]
    return [chat for name in names for chat in _find_chats(family.points, name)]


def _find_chats(points: Sequence[Point], column: str) -> list[Chat]:
    chats: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for point in points:
        if (found := _read_first(point, column)) is not None:
            chats.setdefault(found, []).append(point.number)
    return [
        Chat(
            row=row,
            numbers=numbers,
            turns=[(role, truncate(text, MAX_TURN)) for role, text in turns[:MAX_TURNS]],
            cut=max(0, len(turns) - MAX_TURNS),
            is_judge=column != "messages",
        )
        for (row, turns), numbers in chats.items()
    ]


def _read_first(point: Point, column: str) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """The id and the chat of the first row that has one."""
    if point.rows is None or column not in point.rows.columns:
        return None
    for row in point.rows.select("id", column).iter_rows(named=True):
        if row[column]:
            return str(row["id"]), tuple(map(_read_turn, row[column]))
    return None


def _read_turn(turn: dict[str, Any]) -> tuple[str, str]:
    return str(turn["role"]), str(turn["content"] or "")
