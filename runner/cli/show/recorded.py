"""``runner show run=…``: a table of the rows of a recorded run, one row whole, or the points of a sweep."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from runner.cli import screen
from runner.cli.arguments import CHOICES
from runner.cli.show.choose import find_folder, find_row
from runner.cli.show.page import show_page
from runner.cli.show.read import Recorded, read_run
from runner.cli.show.row import make_row
from runner.cli.show.values import clean, has_text, join_lines, make_part, make_title, show_value
from runner.config.command_schema import ShowConfig
from runner.core.errors import ConfigError, DataError, count_of
from runner.core.paths import show_file
from runner.core.types import REPEAT, list_members
from runner.records.folder import LAST, PREDICTIONS, RECORD, SWEEP, find_runs
from runner.records.record import read_records

ROWS = 50
"""How many rows are shown."""


def show_recorded(asked: ShowConfig) -> None:
    """Show the rows of the run that is asked for, or the points of a sweep.

    Raises :class:`ConfigError` for a run or a row that does not exist, and :class:`DataError` for rows that
    cannot be read or do not exist yet.
    """
    folder = find_folder(asked.run or LAST)
    if (folder / SWEEP).exists() or not (folder / RECORD).exists():
        show_page(_list_points(folder, asked))
        return
    run = read_run(folder, scored=asked.row is None)
    if asked.row is not None:
        place = find_row(run.ids, asked.row)
        show_page([*_make_header(run), *make_row(run, place)])
        return
    show_page([*_make_header(run), *_make_list(run, asked)])


def _list_points(folder: Path, asked: ShowConfig) -> list[RenderableType]:
    """The points of a sweep with the command that shows each; with a row, what each point says of it."""
    runs = read_records(find_runs(folder))
    if not runs:
        raise DataError(f"{folder}: none of its records can be read")
    parts: list[RenderableType] = [make_title(f"sweep {folder.name}", count_of(len(runs), "point"))]
    words = [*asked.only, *_name_choice(asked)]
    for point, record in runs.items():
        name, said = screen.name_point(record) or record.name, record.status
        if (point / PREDICTIONS).exists():
            run = read_run(point, scored=asked.row is None)
            said = _describe_counts(run)
            if asked.row is not None:
                said = _summarize_row(run, find_row(run.ids, asked.row))
        command = shlex.join(["runner", "show", f"run={show_file(point)}", *words])
        parts.append(make_part(make_title(clean(name), clean(said)), _make_command(f"  {command}")))
    return parts


def _make_command(text: str) -> Text:
    """A line that can be copied: the terminal may break it, but no end of a line comes in between."""
    return Text(text, style="dim", no_wrap=True, overflow="ignore")


def _name_choice(asked: ShowConfig) -> list[str]:
    return [
        f"{name}={value}" for name, value in (("row", asked.row), ("text", asked.text)) if value is not None
    ]


def _summarize_row(run: Recorded, place: int) -> str:
    places = run.list_places(place)
    row = run.frame.row(places[0], named=True)
    said = row.get("error") or f"prediction {show_value(row['prediction'], 60)}"
    verdict = f", verdict {show_value(row['verdict'], 60)}" if "verdict" in row else ""
    target = f", target {show_value(row['target'], 60)}" if "target" in row else ""
    said += f" (the first of {len(places)} answers)" if len(places) > 1 else ""
    state = f"{run.grades.name(places[0])}, ".removeprefix(", ")
    return f"row {run.ids[place]}: {state}{said}{target}{verdict}"


def _make_header(run: Recorded) -> list[RenderableType]:
    header = screen.make_header(run.record)
    status = "" if run.record.status == "finished" else f"  {run.record.status}"
    lines: list[RenderableType] = [header.append(status, "yellow")]
    lines += [Text(show_file(run.folder), style="dim")]
    if run.record.error:
        lines.append(Text(clean(run.record.error), style="yellow"))
    return [*lines, *(Text(clean(note), style="yellow") for note in run.notes)]


def _describe_counts(run: Recorded) -> str:
    """How many rows there are, and how many of them (or of the answers) are wrong, unread, failed."""
    grades, several = run.grades, REPEAT in run.frame.columns
    parts = [count_of(len(run.ids), "row")]
    if several:
        parts.append(count_of(len(grades.right), "answer"))
    if grades.rule:
        parts.append(f"{grades.right.count(False):,} wrong")
    parts += [f"{sum(grades.unparsed):,} unread"] if any(grades.unparsed) else []
    parts += [f"{sum(grades.failed):,} failed"] if any(grades.failed) else []
    return " · ".join(parts)


def _make_list(run: Recorded, asked: ShowConfig) -> list[RenderableType]:
    """A table of the rows that are asked for: id, state, target, prediction, verdict and answer."""
    if "wrong" in asked.only and not run.grades.rule:
        raise ConfigError("show.only: nothing says which rows are wrong; no metric grades single rows")
    if "disagreeing" in asked.only and run.grades.disagreeing is None:
        raise ConfigError(
            "show.only: to see where the judge disagrees, one metric must say which predictions are right,"
            " and another one which verdicts are, such as metric=[accuracy,verdict_share]; or the judge must"
            " be a panel (judge.members)"
        )
    places = run.grades.choose(asked.only) if asked.only else list(range(run.frame.height))
    if asked.text is not None:
        places = [place for place in places if _has_text(run.frame.row(place, named=True), asked.text)]
    most = ROWS if asked.rows is None else asked.rows
    what = [" or ".join(asked.only)] if asked.only else []
    what += [f"with the text {clean(asked.text)!r}"] if asked.text is not None else []
    rows = _group_by_row(run, places)
    note = _describe_counts(run)
    if run.grades.rule:
        note += f" (right: {run.grades.rule}{' is 1' if ' ' not in run.grades.rule else ''})"
    lines: list[RenderableType] = [Text(clean(note), style="dim")]
    if what:
        lines += [Text(""), Text(f"{count_of(len(rows), 'row')}: {', '.join(what)}")]
    if not places:
        return lines
    lines += [Text(""), _make_table(run, rows[:most])]
    command = shlex.join(
        ["runner", "show", f"run={show_file(run.folder)}", f"row={run.frame['id'][places[0]]}"]
    )
    if len(rows) > most:
        lines.append(Text(f"\n{most:,} of {len(rows):,} are shown; rows={len(rows)} shows all", style="dim"))
    lines += [Text(""), _make_command(f"one whole: {command}")]
    if not asked.only:
        words = [word for word in CHOICES if word != "disagreeing" or run.grades.disagreeing is not None]
        lines.append(Text(f"only some: {', '.join(words)}, text=…", style="dim"))
    return lines


def _group_by_row(run: Recorded, places: Sequence[int]) -> list[list[int]]:
    """The places of answers, those of one row together."""
    if REPEAT not in run.frame.columns:
        return [[place] for place in places]
    rows: dict[str, list[int]] = {}
    for place in places:
        rows.setdefault(run.frame["id"][place], []).append(place)
    return [*rows.values()]


def _make_table(run: Recorded, rows: Sequence[Sequence[int]]) -> Table:
    """A line for each row. Of several answers it shows the first chosen one, and how many are like it."""
    frame, members = run.frame, list_members(run.frame.columns)
    asked = Counter(frame["id"]) if REPEAT in frame.columns else Counter()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), expand=True)
    table.add_column("row", overflow="fold", max_width=32)
    table.add_column("", no_wrap=True)
    names = [name for name in ("target", "prediction", "verdict") if name in frame.columns]
    for name in names:
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=18)
    if members:
        table.add_column(clean(" / ".join(members)), overflow="fold", max_width=30)
    table.add_column("answer or error", overflow="ellipsis", no_wrap=True, ratio=1, min_width=16)
    for place, *others in rows:
        row, state = frame.row(place, named=True), run.grades.name(place)
        values = [join_lines(show_value(row[name])[:200]) for name in names]
        said = row["completion"] if row["error"] is None else row["error"]
        if members:
            each = (show_value(row.get(f"judge_{name}_verdict")) for name in members)
            values.append(join_lines(" / ".join(each)[:200]))
        alike = 1 + sum(run.grades.name(other) == state for other in others)
        share = f" in {alike} of {asked[row['id']]}" if asked else ""
        number = f", repeat {row[REPEAT]}" if asked else ""
        cells = [clean(row["id"]) + number, state + share, *values, join_lines(show_value(said)[:400])]
        colour = {"right": "green", "wrong": "red"}.get(state, "yellow")
        table.add_row(*(Text(cell, style=colour if at == 1 else "") for at, cell in enumerate(cells)))
    return table


def _has_text(row: dict[str, Any], wanted: str) -> bool:
    """Whether a text stands in a value, the chat, or an answer; not in keys and digests."""
    return has_text(
        wanted, (value for name, value in row.items() if not name.endswith(("ledger_key", "logprobs")))
    )
