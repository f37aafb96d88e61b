"""The description that MLflow shows on a run's page, as markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.core.types import Score
from runner.records.published import describe_standing
from runner.records.record import Record
from runner.records.sweep import PARSED, main_score_names
from runner.report.results import explain_scores

# MLflow's page leaves no space between the columns of a table
GAP = "\u00a0" * 4


def describe_run(record: Record) -> str:
    """Why the run stopped, its warnings, its scores with intervals or reasons, and published figures."""
    parts = [f"**{record.status}**: {record.error}"] if record.error else []
    parts += [f"**warning**: {warning}" for warning in record.warnings]
    if record.scores:
        rows = [_format_score(name, record.scores) for name in main_score_names([record])]
        parts.append(format_table(["metric", "value", "95% interval", "parsed only", "n"], rows, GAP))
    parts += explain_scores(record)
    if record.reference:
        rows = [_format_comparison(row) for row in record.reference]
        parts.append(format_table(["metric", "published", "measured", "compared"], rows, GAP))
    return "\n\n".join(parts)


def _format_score(name: str, scores: Mapping[str, Score]) -> list[str]:
    score, parsed = scores[name], scores.get(name + PARSED)
    interval = "" if score.low is None else f"{format_cell(score.low)} to {format_cell(score.high)}"
    return [name, format_cell(score.value), interval, format_cell(parsed and parsed.value), str(score.n)]


def _format_comparison(row: Mapping[str, Any]) -> list[str]:
    numbers = [format_cell(row.get(name)) for name in ("published", "measured")]
    return [str(row["metric"]), *numbers, describe_standing(row)]


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]], gap: str = "") -> str:
    """A markdown table; ``gap`` is added to every cell.

    >>> print(format_table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\\|y |
    """
    rule = f"| {' | '.join('---' for _ in header)} |"
    first, *others = (f"| {' | '.join(_escape(text) + gap for text in line)} |" for line in (header, *rows))
    return "\n".join([first, rule, *others])


def format_cell(value: Any) -> str:
    """A value as text: numbers with four significant digits, ``yes`` or ``no``, empty for None.

    >>> format_cell(0.123456), format_cell(1234567), format_cell(True), format_cell(None)
    ('0.1235', '1234567', 'yes', '')
    """
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 10_000 else str(value)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
