"""The description that MLflow shows on a run's page, as markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.record import Record
from runner.types import Score


def of_run(record: Record) -> str:
    """Why it stopped, the scores with their intervals, published against measured."""
    parts = [f"**{record.status}**: {record.error}"] if record.error else []
    if record.scores:
        rows = [[name, *_score(score)] for name, score in record.scores.items()]
        parts.append(table(["metric", "value", "95% interval", "n"], rows))
    if record.reference:
        rows = [_comparison(row) for row in record.reference]
        parts.append(table(["metric", "published", "measured", "agrees"], rows))
    return "\n\n".join(parts)


def _score(score: Score) -> list[str]:
    interval = "" if score.low is None else f"{number(score.low)} to {number(score.high)}"
    return [number(score.value), interval, str(score.n)]


def _comparison(row: Mapping[str, Any]) -> list[str]:
    agrees = {True: "yes", False: "no", None: ""}[row.get("agrees")]
    return [str(row["metric"]), number(row.get("published")), number(row.get("measured")), agrees]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table.

    >>> print(table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\\|y |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def number(value: Any) -> str:
    """Four significant digits; an empty text for None.

    >>> number(0.123456), number(1234567), number(None)
    ('0.1235', '1234567', '')
    """
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 10_000 else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
