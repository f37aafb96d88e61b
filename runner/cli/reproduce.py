"""What was compared with a recorded run, as tables for the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.core.types import Score
from runner.report.formats import format_number
from runner.reproduce.differences import Change, Check, Report, same_score

SHOWN_ROWS = 20
LENGTH = 48
STYLES = {"same": "green", "different": "red", "missing": "yellow"}


def shown(report: Report, name: str, brief: bool = False) -> RenderableType:
    """The tables of a report; ``brief`` leaves one line for a run that is the same."""
    if not report.failed:
        end = Text(f"{name}: reproduced", style="green")
    else:
        end = Text(f"{name}: not the same: {', '.join(report.failed)}", style="red")
    if brief and not report.failed:
        return end
    parts: list[RenderableType] = [_checks(report.checks), _scores(report.scores)]
    if report.changes:
        parts.append(_changes(report.changes))
    return Group(*parts, end)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title)
    return table


def _checks(checks: Sequence[Check]) -> Table:
    table = _table("checked", "", "what")
    for check in checks:
        style = STYLES[check.state] if check.fails or check.state == "same" else "dim"
        table.add_row(check.what, Text(check.state, style=style), Text(check.detail))
    return table


def _scores(scores: Mapping[str, tuple[Score | None, Score | None]]) -> Table:
    table = _table("score", "then", "now", "difference")
    for name, (then, now) in scores.items():
        table.add_row(name, _score(then), _score(now), _difference(then, now))
    return table


def _score(score: Score | None) -> str:
    return "gone" if score is None else format_number(score.value)


def _difference(then: Score | None, now: Score | None) -> Text:
    if same_score(then, now):
        return Text("0", style="dim")
    values = [score.value if score else None for score in (then, now)]
    if values[0] is None or values[1] is None or values[0] == values[1]:
        return Text("value, interval or n", style="red")
    return Text(f"{values[1] - values[0]:+.4g}", style="red")


def _changes(changes: Sequence[Change]) -> Table:
    table = _table("row", "column", "then", "now")
    for change in changes[:SHOWN_ROWS]:
        table.add_row(change.id, change.column, *map(Text, excerpts(change.then, change.now)))
    if len(changes) > SHOWN_ROWS:
        table.add_row("…", "", f"{len(changes) - SHOWN_ROWS} more", "")
    return table


def excerpts(then: Any, now: Any) -> tuple[str, str]:
    """Both values from shortly before the place where they part.

    >>> excerpts("x" * 60 + "cat", "x" * 60 + "dog")
    ('…xxxxxxxxcat', '…xxxxxxxxdog')
    """
    texts = [" ".join(_text(value).split()) for value in (then, now)]
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))))
    start = 0 if max(map(len, texts)) <= LENGTH else max(0, common - 8)
    one, other = (("…" if start else "") + text[start : start + LENGTH] for text in texts)
    return one, other


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, dict) and "content" in item for item in value):
        return " ".join(f"{turn['role']}: {turn['content']}" for turn in value)
    return "null" if value is None else str(value)
