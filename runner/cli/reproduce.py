"""``runner reproduce``: recorded runs made again, and what differs as tables."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.cli.progress import show_progress
from runner.cli.screen import console
from runner.config.hydra_job import get_overrides
from runner.core.errors import ConfigError, RunnerError
from runner.core.types import Score
from runner.records.record import read_record
from runner.report.formats import format_number
from runner.reproduce import past_run
from runner.reproduce.compare import compare_with_today
from runner.reproduce.differences import Change, Check, Differences, is_same_score

SHOWN_ROWS = 20
LENGTH = 48
STYLES = {"same": "green", "different": "red", "missing": "yellow"}


TAKEN = ("reproduce.", "ledger.url=")


def reproduce_command(config: DictConfig) -> None:
    """Reproduce the given runs; raises :class:`RunnerError` naming what is not the same."""
    _refuse_others(get_overrides())
    if not config.reproduce.folders:
        raise ConfigError("runner reproduce FOLDER: name the folder of a run or a sweep, or an export")
    failed = [part for name in config.reproduce.folders for part in _reproduce(Path(name), config)]
    if failed:
        raise RunnerError("not reproduced: " + "; ".join(failed))


def _refuse_others(overrides: list[str]) -> None:
    for override in overrides:
        if not override.startswith(TAKEN):
            raise ConfigError(
                f"{override}: the config is that of the record; only reproduce.ask and ledger.url can change"
            )


def _reproduce(given: Path, config: DictConfig) -> list[str]:
    """Show what became of each run of a folder; return the names of what is not the same."""
    failed = []
    with unpack(given) as top:
        export, folders = past_run.find_export(top), past_run.require_runs(top)
        for folder in folders:
            name = str(given / folder.relative_to(top))
            if len(folders) > 1 and (status := read_record(folder).status) != "finished":
                console.print(f"{name}: {status}, so there is nothing to reproduce")
                continue
            past, ledger_url = past_run.read_past_run(folder, export), past_run.get_ledger_override(config)
            with show_progress() as bars:
                report = compare_with_today(past, ledger_url, config.reproduce.ask, bars.open_bar)
            console.print(make_tables(report, name, brief=len(folders) > 1))
            failed += [f"{name}: {', '.join(report.failed)}"] if report.failed else []
    return failed


@contextmanager
def unpack(given: Path) -> Iterator[Path]:
    """The folder itself, or what is in a ``.zip``, for as long as the context is open."""
    if not zipfile.is_zipfile(given):
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(given) as file:
            file.extractall(folder)
        yield Path(folder)


def make_tables(report: Differences, name: str, brief: bool = False) -> RenderableType:
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
    if is_same_score(then, now):
        return Text("0", style="dim")
    values = [score.value if score else None for score in (then, now)]
    if values[0] is None or values[1] is None or values[0] == values[1]:
        return Text("value, interval or n", style="red")
    return Text(f"{values[1] - values[0]:+.4g}", style="red")


def _changes(changes: Sequence[Change]) -> Table:
    table = _table("row", "column", "then", "now")
    for change in changes[:SHOWN_ROWS]:
        table.add_row(change.id, change.column, *map(Text, cut_to_difference(change.then, change.now)))
    if len(changes) > SHOWN_ROWS:
        table.add_row("…", "", f"{len(changes) - SHOWN_ROWS} more", "")
    return table


def cut_to_difference(then: Any, now: Any) -> tuple[str, str]:
    """Both values from shortly before the place where they part.

    >>> cut_to_difference("x" * 60 + "cat", "x" * 60 + "dog")
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
