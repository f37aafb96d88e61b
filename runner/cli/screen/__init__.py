"""Prints runs and sweeps: a header, a table with intervals, counts, and where the record is."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from runner.cli.screen import sweep_table
from runner.cli.screen.grading import count_wrong, read_cut
from runner.core.errors import count_of
from runner.core.paths import show_file
from runner.core.redact import drop_controls
from runner.core.types import Score, advise_on_cut, format_dollars
from runner.records.averages import average_points, read_plan
from runner.records.judges import tell_panel
from runner.records.progress import read_progress, say_progress
from runner.records.published import describe_standing, summarize_standings
from runner.records.ranking import rank
from runner.records.record import Record, flatten
from runner.records.repeats import tell_repeats
from runner.records.sweep import PARSED, last_part, main_score_names
from runner.report.formats import format_number
from runner.report.results import explain_scores

REASON_LETTERS = 60
HYPER = "hyperparameter"
UNFINISHED = ("running", "killed", "stopped")
_WIDTH = None if sys.stdout.isatty() else 160  # a file or a pipe has room for full tables


class Screen(Console):
    """Shows texts as they are: a record, a row or a server may hold markup or control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=drop_controls(segment.text))


console = Screen(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDTH)


def make_header(record: Record) -> Text:
    """Return the experiment in one line; a point of a sweep starts with its number and swept values."""
    hidden = {record.name, "", None}  # an experiment often has the name of its data set
    tags = [record.tags.get(name) for name in ("dataset", "provider", "model", "stage")]
    tags = [tag for tag in tags if tag not in hidden]
    title = name_point(record) or record.name
    return Text.assemble((title, "bold"), " ", (" · ".join(map(str, tags)), "dim"))


def name_point(record: Record) -> str:
    """Name a point of a sweep by its number and its swept values; empty for a single run."""
    swept = ", ".join(f"{key}={value}" for key, value in record.swept.items())
    return f"[{record.job}] {swept}" if swept else ""


def show_run(record: Record, folder: Path, tracked: str | None) -> None:
    """Print scores with intervals and published figures, counts, and where the record is, all at once."""
    lines: list[RenderableType] = [make_header(record)]
    if record.scores:
        lines.append(make_scores_table(record))
    lines += [Text(line, style="yellow") for line in explain_scores(record)]
    if record.reference:
        lines.append(Text(_describe_published(record), style="dim"))
    lines += [
        _describe_counts(record.figures, record.finished or 0, record.started),
        *(Text(told, style="dim") for told in (tell_panel(record), tell_repeats(record)) if told),
        *_describe_failures(record),
        *_describe_cut(record, folder),
    ]
    shown = show_file(folder)
    lines += _describe_rows(record, folder, shown)
    lines.append(Text(f"record  {shown}", style="dim"))
    if tracked:
        lines.append(Text(f"mlflow  {tracked}", style="dim"))
    console.print(Group(*lines))


def make_scores_table(record: Record) -> Table:
    """Return a line per metric: strict value, interval, value over parsed rows, and the published figure."""
    reference = {row["metric"]: row for row in record.reference}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("metric", "value", "95% interval", "parsed only", "n"):
        table.add_column(title, justify="left" if title == "metric" else "right")
    if reference:
        table.add_column("published", justify="right")
        table.add_column("compared")
    for name in main_score_names([record]):
        score, parsed = record.scores[name], record.scores.get(f"{name}{PARSED}")
        cells = [
            name,
            format_number(score.value, score.low is not None),
            format_interval(score),
            format_number(parsed.value) if parsed else "",
            str(score.n),
        ]
        if reference:
            cells += _make_published_cells(reference.pop(name, None))
        table.add_row(*cells)
    for name, row in reference.items():
        table.add_row(name, "not measured", "", "", "", *_make_published_cells(row))
    return table


def format_interval(score: Score) -> str:
    """Format an interval as ``0.512 – 0.701``; empty without an interval."""
    return "" if score.low is None or score.high is None else f"{score.low:.3f} – {score.high:.3f}"


def _make_published_cells(row: Mapping[str, Any] | None) -> list[str]:
    if row is None:
        return ["", ""]
    printed = str(row.get("printed", ""))
    shown = printed if 0 < len(printed) <= 8 else format_number(row["published"])
    return [shown, describe_standing(row)]


def _describe_published(record: Record) -> str:
    """Return ``published in PAPER, TABLE: 3 of 4 figures met``."""
    config = record.config.get("reference", {})
    place = ", ".join(str(config[key]) for key in ("source", "table") if config.get(key))
    summary = summarize_standings(record.reference)
    return f"published in {place or 'the experiment'}" + (f": {summary}" if summary else "")


def _describe_counts(figures: Mapping[str, float], finished: float, started: float) -> Text:
    asked = count_of(figures.get("n", 0), "row")
    if "repeats" in figures:
        asked = (
            f"{figures['n']:.0f} ({count_of(figures['rows'], 'row')}, {figures['repeats']:.0f} times each)"
        )
    parts = [
        f"{figures.get('answered', 0):.0f} of {asked} answered",
        f"{figures.get('parsed', 0):.0f} parsed",
        f"{count_of(figures.get('calls', 0) + figures.get('judge_calls', 0), 'call')} made",
    ]
    if not figures.get("n"):  # stopped before, by a budget for example
        parts[:2] = ["no row was asked"]
    if figures.get("judge_answered"):
        parts.insert(2, f"{figures['judged']:.0f} of {count_of(figures['judge_answered'], 'verdict')} read")
    if "scored_rows" in figures:
        left = figures.get("left_out", 0)
        parts.append(f"{count_of(figures['scored_rows'], 'row')} scored")
        parts += [f"{left:,.0f} left out ({figures.get('left_out_unread', 0):,.0f} unread)"] if left else []
    new = figures.get("new_tokens", 0)
    parts += [count_of(new, "token")] if new else []
    parts += [_describe_cost(figures)] if new or figures.get("input_tokens") else []
    return Text(f"{' · '.join(parts)} · {finished - started:.1f} s", style="dim")


def _describe_rows(record: Record, folder: Path, shown: str) -> list[Text]:
    """Return how many rows are wrong or unread and the command that shows them; nothing if all are right."""
    figures, wrong = record.figures, count_wrong(record, folder)
    unread = [
        (figures.get("answered", 0) - figures.get("parsed", 0), "answer"),
        (figures.get("judge_answered", 0) - figures.get("judged", 0), "verdict"),
    ]
    said = count_of(wrong, "wrong answer") if "repeats" in figures else f"{wrong:,} wrong"
    parts = [said] if wrong else []
    parts += [f"{count_of(count, noun)} unread" for count, noun in unread if count > 0]
    word = "wrong" if wrong else "unparsed"
    command = shlex.join(["runner", "show", f"run={shown}", word])
    lines = [f"rows    {' · '.join(parts)}", f"        {command}"] if parts else []
    return [Text(line, style="dim") for line in lines]


def _describe_cost(figures: Mapping[str, float]) -> str:
    """Return the dollars spent now and, if it is more, what the answers cost when they were bought."""
    if "cost_usd" not in figures:
        return "cost not known"
    now, total = figures["cost_usd"], figures.get("cost_usd_total", 0.0)
    worth = f" (answers worth ${format_dollars(total)})" if total > now else ""
    return f"${format_dollars(now)}{worth}"


def _describe_failures(record: Record) -> list[Text]:
    failed = record.figures.get("failed", 0)
    what = "answer" if "repeats" in record.figures else "row"
    return (
        [Text(f"{count_of(failed, what)} failed; first: {record.tags.get('first_error')}", style="yellow")]
        if failed
        else []
    )


def _describe_cut(record: Record, folder: Path) -> list[Text]:
    """Return how many answers a token limit ended, and what to change, for the model and for the judge."""
    lines = []
    for prefix, key in (("", HYPER), ("judge_", f"judge.{HYPER}")):
        if cut := record.figures.get(f"{prefix}cut"):
            limit = flatten(record.config).get(f"{key}.max_tokens")
            what = f"{count_of(cut, 'answer')}{' of the judge' if prefix else ''}"
            reasons = read_cut(folder, f"{prefix}finish_reason") or ["length"]
            how = advise_on_cut(reasons, key.removesuffix(HYPER))
            if how.endswith("max_tokens"):
                how = f"{how}={limit}" if limit else f"{key}.max_tokens is null, so it is the model's"
            lines.append(Text(f"{what} cut by the token limit: {how}", style="yellow"))
    return lines


def show_sweep(frame: pl.DataFrame, folder: Path | None, ranked: Sequence[str] = ()) -> None:
    """Print the table of a sweep, and below it why points failed, which is best, and what was spent.

    Without a ``folder`` nothing is recorded of it.
    """
    points = frame.filter(pl.col("points").is_null()) if "points" in frame.columns else frame
    console.print()
    console.print(sweep_table.fit_table(frame, console))
    for row in frame.filter(pl.col("reason").is_not_null()).iter_rows(named=True):
        console.print(Text(f"[{row['job']}] {row['status']}: {row['reason']}", style="red"))
    for line in (*ranked, sweep_table.describe_agreement(frame), sweep_table.describe_spending(points)):
        if line:
            console.print(line)
    if folder:
        console.print(Text(f"sweep   {folder}", style="dim"))


def show_runs(found: Sequence[tuple[Path, Record]]) -> None:
    """Print a line per recorded run: when, what, how it ended, its score or error; and one above a sweep."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("started", "experiment", "point", "model", "status"):
        table.add_column(title)
    table.add_column("score or error", no_wrap=True)
    table.add_column("folder", min_width=max((len(str(folder)) for folder, _ in found), default=0))
    sweeps: dict[Path, list[Record]] = {}
    for folder, record in found:
        if record.sweep:
            sweeps.setdefault(folder.parent, []).append(record)
    for folder, record in sorted(found, key=lambda pair: pair[1].started):
        if points := sweeps.pop(folder.parent, []):
            table.add_row(*map(Text, _make_sweep_cells(folder.parent, points)), style="bold")
        started = _format_minute(record.started)
        point = ", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in record.swept.items())
        model, result = record.tags.get("model", ""), _describe_result(folder, record)
        cells = [started, record.name, point, model, record.status, result, str(folder)]
        table.add_row(*map(Text, cells))
    console.print(table if found else "no run is recorded under outputs/")


def _make_sweep_cells(folder: Path, points: Sequence[Record]) -> list[str]:
    """Return when a sweep began, its name, how many points began and finished, and its folder."""
    finished = sum(record.status == "finished" for record in points)
    started = _format_minute(min(record.started for record in points))
    point, status = f"sweep, {len(points)} begun", f"{finished} finished"
    return [started, points[0].name, point, "", status, _describe_average(folder, points), str(folder)]


def _describe_average(folder: Path, points: Sequence[Record]) -> str:
    """Return the best average of a sweep by its objective, or its only one; nothing if it has none."""
    averages = average_points(points, read_plan(folder))
    ranking = rank(averages)
    chosen = averages[ranking.best[0][0]] if ranking.best else averages[0] if len(averages) == 1 else None
    name = ranking.objective or next(iter(chosen.scores), "") if chosen else ""
    score = chosen.scores.get(name) if chosen else None
    if chosen is None or score is None:
        return ""
    of = ", ".join(f"{last_part(key)}={value}" for key, value in chosen.swept.items())
    count = "" if chosen.is_whole(name) else f", {score.reason}"
    return f"mean {name} {format_number(score.value)}{count}{f' (best: {of})' if ranking.best else ''}"


def _describe_result(folder: Path, record: Record) -> str:
    """Return how far a run is or came, else its first score, or else the start of the error that ended it."""
    if said := _describe_progress(folder, record):
        return said
    reason = (record.error or "").partition("\n")[0]
    shortened = f"{reason[: REASON_LETTERS - 1]}…" if len(reason) > REASON_LETTERS else reason
    return next((_format_score(name, score) for name, score in record.scores.items()), shortened)


def _describe_progress(folder: Path, record: Record) -> str:
    """Return how far a run under way is, or how far a killed or interrupted one came; else nothing."""
    progress = read_progress(folder) if record.status in UNFINISHED else None
    if progress is None:
        return ""
    if record.status == "running":
        return say_progress(progress, record.started, time.time())
    return f"after {say_progress(progress, record.started)}"


def _format_score(name: str, score: Score) -> str:
    return f"{name} {format_number(score.value, score.low is not None)}"


def _format_minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
