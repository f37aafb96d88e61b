"""The table of results: a line for each point, a cell for each score and its published figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.core.types import Score
from runner.records.averages import Average
from runner.records.published import describe_standing, summarize_standings
from runner.records.record import Record
from runner.records.sweep import PARSED, column_names, main_score_names
from runner.report.formats import format_number
from runner.report.points import Point

MAX_PRINTED = 9
"""A published figure with more characters is rounded."""


@dataclass(frozen=True)
class Cell:
    """A score as shown; a text is empty if there is nothing to show."""

    value: str
    low: str = ""
    high: str = ""
    parsed: str = ""
    """The score over parsed rows, if it differs."""
    published: str = ""
    printed: str = ""
    """The published figure as the paper prints it."""
    agrees: bool | None = None
    """Whether an exact replay meets the figure."""
    compared: str = ""
    """What the comparison says, in words."""
    sd: str = ""
    """The standard deviation between the points of an average."""


@dataclass(frozen=True)
class Line:
    """A point, its settings and its cells; a cell is None if the point does not have the score."""

    number: str
    setting: list[str]
    cells: list[Cell | None]
    n: str
    failure: str
    average: bool = False
    """Whether this is an average over points."""


@dataclass(frozen=True)
class Results:
    """``keys`` are the titles of settings, ``metrics`` those of cells.

    ``met`` of ``compared`` published figures are met by exact replays; ``summary`` says this and what else
    the comparisons say.
    """

    keys: list[str]
    metrics: list[str]
    lines: list[Line]
    met: int
    compared: int
    summary: str
    notes: list[str]
    """Why scores are not defined, and what to know about others."""

    def sort_lines(self, numbers: Sequence[str]) -> Results:
        """The ranked points first, in this order of their numbers, then those that did not finish.

        Averages stay below the points, in the same order.
        """
        ranks = {number: rank for rank, number in enumerate(numbers)}

        def place(line: Line) -> tuple[bool, bool, int]:
            return line.average, bool(line.failure), ranks.get(line.number, len(ranks))

        lines = sorted(self.lines, key=place)
        return replace(self, lines=lines)

    def split_panels(self, most: int) -> list[Results]:
        """Split into tables of at most ``most`` scores each; a point without any of them is left out."""
        count = max(1, math.ceil(len(self.metrics) / most))
        size = max(1, math.ceil(len(self.metrics) / count))
        return [
            self._select_metrics(slice(first, first + size))
            for first in range(0, len(self.metrics) or 1, size)
        ]

    def _select_metrics(self, chosen: slice) -> Results:
        lines = [replace(line, cells=line.cells[chosen]) for line in self.lines]
        return replace(
            self,
            metrics=self.metrics[chosen],
            lines=[line for line in lines if line.failure or any(line.cells)],
        )


def tabulate_results(points: Sequence[Point], averages: Sequence[Average] = ()) -> Results:
    """The results of all points, and below them their averages."""
    records = [point.record for point in points]
    keys, metrics = column_names(records), main_score_names(records)
    points, records = [*points, *map(Point.of, averages)], [*records, *averages]
    compared = [row["agrees"] for record in records for row in record.reference if row["agrees"] is not None]
    return Results(
        keys=list(keys.values()),
        metrics=metrics,
        lines=[_make_line(point, list(keys), metrics) for point in points],
        met=sum(compared),
        compared=len(compared),
        summary=summarize_standings(row for record in records for row in record.reference),
        notes=_collect_notes(points),
    )


def _collect_notes(points: Sequence[Point]) -> list[str]:
    """What :func:`explain_scores` says, with the points of which it says so."""
    said: dict[str, list[str]] = {}
    for point in points:
        for line in explain_scores(point.record):
            said.setdefault(line, []).append(point.number)
    return [
        f"{', '.join(numbers[:5])}{f' and {len(numbers) - 5} more' if len(numbers) > 5 else ''} {line}"
        for line, numbers in said.items()
    ]


def explain_scores(record: Record) -> list[str]:
    """Say why scores are not defined and what to know about others, in one line for each reason."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, score in record.scores.items():
        if score.reason and not name.endswith(PARSED):
            kind = "not defined" if score.value is None else "note"
            names.setdefault((kind, score.reason), []).append(name)
    return [f"{kind}: {', '.join(each)} ({reason})" for (kind, reason), each in names.items()]


def _make_line(point: Point, keys: Sequence[str], metrics: Sequence[str]) -> Line:
    record = point.record
    average = record if isinstance(record, Average) else None
    counts = [score.n for score in record.scores.values() if score.n and not average]
    is_whole = record.status == "finished" or average
    failure = "" if is_whole else f"{record.status}: {record.error or 'no reason given'}"
    return Line(
        number=point.number,
        setting=[_describe_setting(record, key) for key in keys],
        cells=[make_cell(record, metric) for metric in metrics],
        n=str(max(counts)) if counts else "",
        failure=failure.partition("\n")[0],
        average=average is not None,
    )


def _describe_setting(record: Record, key: str) -> str:
    """The value of a swept key; of an averaged one, over how many points the average is."""
    if isinstance(record, Average) and key in record.over:
        return f"mean of {record.size}"
    return "" if record.swept.get(key) is None else str(record.swept[key])


def make_cell(record: Record, metric: str) -> Cell | None:
    """One score of one run; None if the run does not have it."""
    score = record.scores.get(metric)
    if score is None:
        return None
    bounded = score.low is not None and score.high is not None
    row = next((row for row in record.reference if row["metric"] == metric), {})
    printed = str(row.get("printed", ""))
    return Cell(
        value=format_number(score.value, bounded or isinstance(record, Average)),
        low=format_number(score.low) if bounded else "",
        high=format_number(score.high) if bounded else "",
        parsed=_format_parsed(score, record.scores.get(f"{metric}{PARSED}")),
        published=printed if len(printed) <= MAX_PRINTED else format_number(row["published"], bounded),
        printed=printed,
        agrees=row.get("agrees"),
        compared=describe_standing(row) if row else "",
        sd=format_sd(record, metric),
    )


def format_sd(record: Record, metric: str) -> str:
    """The standard deviation of an average between its points, in three decimals; empty for a point."""
    sd = record.find_sd(metric) if isinstance(record, Average) else None
    return "" if sd is None else format_number(sd)


def _format_parsed(strict: Score, parsed: Score | None) -> str:
    if parsed is None or parsed.value is None or format_number(parsed.value) == format_number(strict.value):
        return ""
    return f"{format_number(parsed.value)} of {parsed.n}"
