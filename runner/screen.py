"""What a person sees: a header, a progress bar, a table with intervals, where to look further."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from runner import sweep_table
from runner.record import Record
from runner.types import Score, TuningStatus

_WIDTH = None if sys.stdout.isatty() else 160  # a file or a pipe has room for whole tables
console = Console(highlight=False, soft_wrap=True, width=_WIDTH)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} rows/s" if speed else "", style="dim")


Advance = Callable[[str, int], Callable[[int], None]]
Report = Callable[[TuningStatus], None]


@contextmanager
def progress() -> Iterator[tuple[Advance, Report]]:
    """Bars with rate and time left, on a terminal; silent where the screen is a file.

    Gives what opens a bar for rows, and what shows the state of a fine-tuning job.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        tuning: list[TaskID] = []

        def advance(title: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(title, total=total)
            return lambda count: bars.advance(task, count)

        def report(status: TuningStatus) -> None:
            title = f"fine-tuning {status.state} {status.detail}".strip()
            task = tuning[0] if tuning else bars.add_task(title, total=1.0)
            tuning[:] = [task]
            bars.update(task, description=title, completed=status.progress or 0.0)

        yield advance, report


def header(record: Record) -> None:
    """The experiment in one line; a point of a sweep starts with its number and swept values."""
    point = ", ".join(f"{key}={value}" for key, value in record.swept.items())
    title = f"[{record.job}] {point}" if point else record.name
    tags = [record.tags[name] for name in ("dataset", "provider", "model", "stage") if record.tags.get(name)]
    console.print(Text(title, style="bold"), Text(" · ".join(tags), style="dim"))


def summary(record: Record, folder: Path, tracked: str | None) -> None:
    """Scores with intervals, published figures beside them, counts, places."""
    if record.scores:
        console.print(scores_table(record))
    if record.reference:
        console.print(Text(_published_where(record), style="dim"))
    console.print(_counts(record.figures, record.finished or 0, record.started))
    for line in _failures(record):
        console.print(line)
    console.print(f"[dim]record  {folder}[/]")
    if tracked:
        console.print(f"[dim]mlflow  {tracked}[/]")


def scores_table(record: Record) -> Table:
    """One line per metric: strict value, interval, over parsed rows; published where there is one."""
    reference = {row["metric"]: row for row in record.reference}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("metric", "value", "95% interval", "parsed only", "n"):
        table.add_column(title, justify="left" if title == "metric" else "right")
    if reference:
        table.add_column("published", justify="right")
        table.add_column("agrees")
    for name, score in record.scores.items():
        if name.endswith("_parsed") and name.removesuffix("_parsed") in record.scores:
            continue
        parsed = record.scores.get(f"{name}_parsed")
        cells = [
            name,
            number(score.value),
            interval(score),
            number(parsed.value) if parsed else "",
            str(score.n),
        ]
        if reference:
            cells += _published(reference.get(name))
        table.add_row(*cells)
    return table


def number(value: float | None) -> str:
    """Three decimals, or a dash for what is not defined."""
    return "–" if value is None else f"{value:.3f}"


def interval(score: Score) -> str:
    """``0.512 – 0.701``, or nothing where there is no interval."""
    return "" if score.low is None or score.high is None else f"{score.low:.3f} – {score.high:.3f}"


def _published(row: Mapping[str, Any] | None) -> list[str]:
    if row is None:
        return ["", ""]
    return [number(row["published"]), {True: "yes", False: "no", None: "–"}[row["agrees"]]]


def _published_where(record: Record) -> str:
    """``published in PAPER, TABLE: 3 of 4 figures agree``."""
    config = record.config.get("reference", {})
    place = ", ".join(str(config[key]) for key in ("source", "table") if config.get(key))
    met = sum(row["agrees"] is True for row in record.reference)
    return f"published in {place or 'the experiment'}: {met} of {len(record.reference)} figures agree"


def _counts(figures: Mapping[str, float], finished: float, started: float) -> str:
    parts = [
        f"{figures.get('answered', 0):.0f} of {figures.get('n', 0):.0f} rows answered",
        f"{figures.get('parsed', 0):.0f} parsed",
        f"{figures.get('calls', 0) + figures.get('judge_calls', 0):.0f} calls made",
    ]
    tokens = sum(figures.get(name, 0) for name in ("input_tokens", "output_tokens"))
    parts += [f"{tokens:,.0f} tokens"] if tokens else []
    parts += [f"${figures['cost_usd']:.4f}"] if "cost_usd" in figures else []
    return f"[dim]{' · '.join(parts)} · {finished - started:.1f} s[/]"


def _failures(record: Record) -> list[str]:
    failed = record.figures.get("failed", 0)
    return [f"[yellow]{failed:.0f} rows failed; first: {record.tags.get('first_error')}[/]"] if failed else []


def sweep(frame: pl.DataFrame, folder: Path) -> None:
    """The table of a sweep; below it why points failed, and how many published figures are met."""
    console.print()
    console.print(sweep_table.fitting(frame, console))
    for row in frame.filter(pl.col("reason").is_not_null()).iter_rows(named=True):
        console.print(Text(f"[{row['job']}] {row['status']}: {row['reason']}", style="red"))
    if met := sweep_table.agreement(frame):
        console.print(met)
    console.print(f"[dim]sweep   {folder}[/]")


def runs(found: Sequence[tuple[Path, Record]]) -> None:
    """A line per recorded run: when, what, how it ended, its first score."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("started", "experiment", "point", "model", "status", "score", "folder"):
        table.add_column(title)
    for folder, record in sorted(found, key=lambda pair: pair[1].started):
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.started))
        point = ", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in record.swept.items())
        score = next((f"{name} {number(score.value)}" for name, score in record.scores.items()), "")
        cells = [started, record.name, point, record.tags.get("model", ""), record.status, score, str(folder)]
        table.add_row(*map(Text, cells))
    console.print(table if found else "no run is recorded under outputs/")
