"""``runner reproduce``: make recorded runs again and show the differences as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.cli.screen import console
from runner.cli.screen.progress import show_progress
from runner.config.hydra_job import get_overrides
from runner.core.errors import ConfigError, RunnerError
from runner.core.paths import OUTPUTS
from runner.core.types import Score
from runner.records.folder import find_given
from runner.report.formats import format_number
from runner.reproduce import past_run
from runner.reproduce.addresses import read_own
from runner.reproduce.archive import unpack
from runner.reproduce.compare import compare_with_today
from runner.reproduce.differences import Change, Check, Differences, is_same_score

SHOWN_ROWS = 20
SHOWN_LETTERS = 48
STYLES = {"same": "green", "different": "red", "missing": "yellow"}


ALLOWED = ("reproduce.", "ledger.url=")


def reproduce_command(config: DictConfig) -> None:
    """Reproduce the given runs. Raises :class:`RunnerError` that names what differs."""
    _refuse_other_overrides(get_overrides())
    if not config.reproduce.folders:
        raise ConfigError("runner reproduce FOLDER: name the folder of a run or a sweep, or an export")
    folders = [find_given(name, OUTPUTS, "reproduce.folders") for name in config.reproduce.folders]
    failed = [part for folder in folders for part in _reproduce(folder, config)]
    if failed:
        raise RunnerError("not reproduced: " + "; ".join(failed))


def _refuse_other_overrides(overrides: list[str]) -> None:
    for override in overrides:
        if not override.startswith(ALLOWED):
            raise ConfigError(
                f"{override}: the config comes from the record; only reproduce.ask, reproduce.trust, "
                "ledger.url and addresses such as provider.base_url can be set"
            )


def _reproduce(given: Path, config: DictConfig) -> list[str]:
    """Reproduce and show each run of a folder; return what differs, one text per run."""
    failed = []
    with unpack(given) as top:
        export = past_run.find_export(top)
        many = len(past_run.require_runs(top)) > 1
        for past in past_run.read_past_runs(top, export, lambda text: console.print(Text(text))):
            name = str(given / past.folder.relative_to(top))
            own = read_own(past.record, config.reproduce.named, config.ledger.url)
            with show_progress() as bars:
                ask, trust = config.reproduce.ask, config.reproduce.trust
                report = compare_with_today(past, own, ask, trust, bars.open_bar)
            console.print(make_tables(report, name, brief=many))
            failed += [f"{name}: {', '.join(report.failed)}"] if report.failed else []
    return failed


def make_tables(report: Differences, name: str, brief: bool = False) -> RenderableType:
    """Return the tables of the differences; with ``brief`` one line for a run without any."""
    if not report.failed:
        end = Text(f"{name}: reproduced", style="green")
    else:
        end = Text(f"{name}: not the same: {', '.join(report.failed)}", style="red")
    if brief and not report.failed:
        return end
    parts: list[RenderableType] = [_make_checks_table(report.checks), _make_scores_table(report.scores)]
    if report.changes:
        parts.append(_make_changes_table(report.changes))
    return Group(*parts, end)


def _make_table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title)
    return table


def _make_checks_table(checks: Sequence[Check]) -> Table:
    table = _make_table("checked", "", "what")
    for check in checks:
        style = STYLES[check.state] if check.fails or check.state == "same" else "dim"
        table.add_row(check.what, Text(check.state, style=style), Text(check.detail))
    return table


def _make_scores_table(scores: Mapping[str, tuple[Score | None, Score | None]]) -> Table:
    table = _make_table("score", "then", "now", "difference")
    for name, (then, now) in scores.items():
        table.add_row(name, _format_score(then), _format_score(now), _format_difference(then, now))
    return table


def _format_score(score: Score | None) -> str:
    return "gone" if score is None else format_number(score.value)


def _format_difference(then: Score | None, now: Score | None) -> Text:
    if is_same_score(then, now):
        return Text("0", style="dim")
    values = [score.value if score else None for score in (then, now)]
    if values[0] is None or values[1] is None or values[0] == values[1]:
        return Text("value, interval or n", style="red")
    return Text(f"{values[1] - values[0]:+.4g}", style="red")


def _make_changes_table(changes: Sequence[Change]) -> Table:
    table = _make_table("row", "column", "then", "now")
    for change in changes[:SHOWN_ROWS]:
        table.add_row(change.id, change.column, *map(Text, cut_to_difference(change.then, change.now)))
    if len(changes) > SHOWN_ROWS:
        table.add_row("…", "", f"{len(changes) - SHOWN_ROWS} more", "")
    return table


def cut_to_difference(then: Any, now: Any) -> tuple[str, str]:
    """Return both values as texts, cut to start shortly before their first difference.

    >>> cut_to_difference("x" * 60 + "cat", "x" * 60 + "dog")
    ('…xxxxxxxxcat', '…xxxxxxxxdog')
    """
    texts = [" ".join(_format_value(value).split()) for value in (then, now)]
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))))
    start = 0 if max(map(len, texts)) <= SHOWN_LETTERS else max(0, common - 8)
    one, other = (("…" if start else "") + text[start : start + SHOWN_LETTERS] for text in texts)
    return one, other


def _format_value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, dict) and "content" in item for item in value):
        return " ".join(f"{turn['role']}: {turn['content']}" for turn in value)
    return "null" if value is None else str(value)
