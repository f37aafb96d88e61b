"""The description that MLflow shows on a run's page, as markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.core.types import Score
from runner.records.record import Record

# MLflow's page sets the columns of a table side by side with nothing between them
GAP = "\u00a0" * 4


def of_run(record: Record) -> str:
    """Why it stopped, the scores with their intervals, published against measured."""
    parts = [f"**{record.status}**: {record.error}"] if record.error else []
    if record.scores:
        rows = [[name, *_score(score)] for name, score in record.scores.items()]
        parts.append(table(["metric", "value", "95% interval", "n"], rows, GAP))
    if record.reference:
        rows = [_comparison(row) for row in record.reference]
        parts.append(table(["metric", "published", "measured", "agrees"], rows, GAP))
    return "\n\n".join(parts)


def _score(score: Score) -> list[str]:
    interval = "" if score.low is None else f"{cell(score.low)} to {cell(score.high)}"
    return [cell(score.value), interval, str(score.n)]


def _comparison(row: Mapping[str, Any]) -> list[str]:
    return [str(row["metric"]), *(cell(row.get(name)) for name in ("published", "measured", "agrees"))]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], gap: str = "") -> str:
    """A markdown table; ``gap`` is added to every cell.

    >>> print(table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\\|y |
    """
    rule = f"| {' | '.join('---' for _ in header)} |"
    first, *others = (f"| {' | '.join(_escaped(text) + gap for text in line)} |" for line in (header, *rows))
    return "\n".join([first, rule, *others])


def cell(value: Any) -> str:
    """A cell: four significant digits, yes or no, an empty text for None.

    >>> cell(0.123456), cell(1234567), cell(True), cell(None)
    ('0.1235', '1234567', 'yes', '')
    """
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 10_000 else str(value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
