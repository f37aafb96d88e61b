"""The rows of a recorded run: a table of them, or one row whole with its chat, answer, scores and verdict."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from runner.cli import screen
from runner.cli.arguments import CHOICES
from runner.cli.screen.grading import Grades, grade_rows
from runner.cli.show.choose import LAST, find_folder, find_row
from runner.cli.show.page import show_page
from runner.cli.show.values import (
    clean,
    has_text,
    join_lines,
    make_chat,
    make_pairs,
    make_part,
    make_title,
    show_value,
)
from runner.config.show_schema import ShowConfig
from runner.core.errors import ConfigError, DataError, count_of
from runner.core.files import require_plain
from runner.core.types import RESERVED
from runner.records.folder import PREDICTIONS, RECORD, SWEEP, find_runs
from runner.records.record import ROW_COLUMNS, Record, read_record, read_records

ROWS, LETTERS = 50, 100
"""How many rows are shown, and how many letters of a value that the chat shows, too."""


@dataclass(frozen=True)
class Recorded:
    """A recorded run: its rows and how they are graded. ``notes`` say what its folder lacks."""

    folder: Path
    record: Record
    frame: pl.DataFrame
    grades: Grades
    notes: list[str]

    @property
    def ids(self) -> list[str]:
        """The ids of the rows, in their order."""
        return self.frame["id"].to_list()


def show_recorded(asked: ShowConfig) -> None:
    """Show the rows of the run that is asked for, or the points of a sweep.

    Raises :class:`ConfigError` for a run or a row that does not exist, and :class:`DataError` for rows that
    cannot be read or do not exist yet.
    """
    folder = find_folder(asked.run or LAST)
    if (folder / SWEEP).exists() or not (folder / RECORD).exists():
        show_page(_list_points(folder, asked))
        return
    run = _read_run(folder)
    if asked.row is not None:
        place = find_row(run.ids, asked.row)
        show_page([*_make_header(run), *_make_row(run, place)])
        return
    show_page([*_make_header(run), *_make_list(run, asked)])


def _read_run(folder: Path) -> Recorded:
    """Read a run as far as its files go: a record or columns that are missing are noted."""
    notes: list[str] = []
    try:
        record = read_record(folder)
    except DataError as error:
        record = Record("", folder.name, status="not known")
        notes.append(str(error))
    if not (folder / PREDICTIONS).exists():
        why = f": {record.error}" if record.error else ""
        yet = " yet" if record.status == "running" else ""
        raise DataError(f"{folder} has no rows{yet} (the run is {record.status}{why})")
    frame, missing = _read_rows(folder / PREDICTIONS)
    if missing:
        notes.append(f"the rows have no column {', '.join(missing)}")
    return Recorded(folder, record, frame, grade_rows(record, frame), notes)


def _read_rows(file: Path) -> tuple[pl.DataFrame, list[str]]:
    """The rows in a file, and the columns of :data:`ROW_COLUMNS` that it lacks, which are null."""
    try:
        frame = pl.read_parquet(require_plain(file))
    except Exception as error:  # polars has many
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise DataError(f"{file} cannot be read as the rows of a run ({reason})") from error
    missing = [name for name in ROW_COLUMNS if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in missing)
    ids = [str(number) if name is None else str(name) for number, name in enumerate(frame["id"].to_list(), 1)]
    return frame.with_columns(id=pl.Series(ids, dtype=pl.String)), missing


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
            run = _read_run(point)
            said = _describe_counts(run.grades)
            if asked.row is not None:
                said = _summarize_row(run, find_row(run.ids, asked.row))
        command = shlex.join(["runner", "show", f"run={_shorten(point)}", *words])
        parts.append(make_part(make_title(clean(name), clean(said)), Text(f"  {command}", style="dim")))
    return parts


def _name_choice(asked: ShowConfig) -> list[str]:
    return [
        f"{name}={value}" for name, value in (("row", asked.row), ("text", asked.text)) if value is not None
    ]


def _summarize_row(run: Recorded, place: int) -> str:
    row = run.frame.row(place, named=True)
    said = row.get("error") or f"prediction {show_value(row['prediction'], 60)}"
    verdict = f", verdict {show_value(row['verdict'], 60)}" if "verdict" in row else ""
    return f"row {run.ids[place]}: {run.grades.name(place)}, {said}{verdict}".replace(": ,", ":")


def _make_header(run: Recorded) -> list[RenderableType]:
    header = screen.make_header(run.record)
    status = "" if run.record.status == "finished" else f"  {run.record.status}"
    lines: list[RenderableType] = [header.append(status, "yellow")]
    lines += [Text(f"{_shorten(run.folder)}", style="dim")]
    if run.record.error:
        lines.append(Text(clean(run.record.error), style="yellow"))
    return [*lines, *(Text(clean(note), style="yellow") for note in run.notes)]


def _describe_counts(grades: Grades) -> str:
    """How many rows are wrong, unread and failed."""
    parts = [count_of(len(grades.right), "row")]
    if grades.rule:
        parts.append(f"{grades.right.count(False):,} wrong")
    parts += [f"{sum(grades.unparsed):,} unread"] if any(grades.unparsed) else []
    parts += [f"{sum(grades.failed):,} failed"] if any(grades.failed) else []
    return " · ".join(parts)


def _make_list(run: Recorded, asked: ShowConfig) -> list[RenderableType]:
    """A table of the rows that are asked for: id, state, target, prediction, verdict and answer."""
    if "wrong" in asked.only and not run.grades.rule:
        raise ConfigError("show.only: nothing says which rows are wrong: there is no target, and no metric")
    if "disagreeing" in asked.only and run.grades.disagreeing is None:
        raise ConfigError(
            "show.only: to see where the judge disagrees, one metric must say which predictions are right,"
            " and another one which verdicts are, such as metric=[accuracy,verdict_share]"
        )
    places = run.grades.choose(asked.only) if asked.only else list(range(run.frame.height))
    if asked.text is not None:
        places = [place for place in places if _has_text(run.frame.row(place, named=True), asked.text)]
    most = ROWS if asked.rows is None else asked.rows
    what = [*asked.only, *([f"with the text {asked.text!r}"] if asked.text is not None else [])]
    note = _describe_counts(run.grades)
    if run.grades.rule:
        note += f" (right: {run.grades.rule}{' is 1' if ' ' not in run.grades.rule else ''})"
    lines: list[RenderableType] = [Text(clean(note), style="dim")]
    if what:
        lines += [Text(""), Text(f"{count_of(len(places), 'row')}: {' or '.join(what)}")]
    if not places:
        return lines
    lines += [Text(""), _make_table(run, places[:most])]
    command = shlex.join(["runner", "show", f"run={_shorten(run.folder)}", f"row={run.ids[places[0]]}"])
    if len(places) > most:
        lines.append(
            Text(f"\n{most:,} of {len(places):,} are shown; rows={len(places)} shows all", style="dim")
        )
    lines.append(Text(f"\none row whole: {command}", style="dim"))
    if not asked.only:
        lines.append(Text(f"only some: {', '.join(CHOICES)}, text=…", style="dim"))
    return lines


def _make_table(run: Recorded, places: Sequence[int]) -> Table:
    frame = run.frame
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), expand=True)
    table.add_column("row", overflow="fold", max_width=32)
    table.add_column("", no_wrap=True)
    names = [name for name in ("target", "prediction", "verdict") if name in frame.columns]
    for name in names:
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=18)
    table.add_column("answer or error", overflow="ellipsis", no_wrap=True, ratio=1, min_width=16)
    for place in places:
        row = frame.row(place, named=True)
        values = [join_lines(show_value(row[name])[:200]) for name in names]
        said = row["completion"] if row["error"] is None else row["error"]
        state = run.grades.name(place)
        cells = [clean(row["id"]), state, *values, join_lines(show_value(said)[:400])]
        colour = {"right": "green", "wrong": "red"}.get(state, "yellow")
        table.add_row(*(Text(cell, style=colour if at == 1 else "") for at, cell in enumerate(cells)))
    return table


def _has_text(row: dict[str, Any], wanted: str) -> bool:
    """Whether a text stands in a value, the chat, or an answer; not in keys and digests."""
    return has_text(
        wanted, (value for name, value in row.items() if not name.endswith(("ledger_key", "logprobs")))
    )


def _make_row(run: Recorded, place: int) -> list[RenderableType]:
    """Everything about one row: its chat, the answer and how it was read, scores, verdict, costs, values."""
    row = run.frame.row(place, named=True)
    state = run.grades.name(place)
    title = f"row {clean(row['id'])}"
    note = f"{place + 1:,} of {run.frame.height:,}{f', {state}' if state else ''}"
    note += f" ({run.grades.rule})" if state in ("right", "wrong") else ""
    parts: list[RenderableType] = [make_part(make_title(title, note))]
    if row.get("messages"):
        shots = row.get("shots")
        shown = f"shots {', '.join(map(clean, map(str, shots)))}" if shots else ""
        parts.append(make_part(make_title("chat", shown), make_chat(row["messages"])))
    answer = [("thinking", row.get("reasoning")), ("error", row.get("error"))]
    lines = [(name, clean(str(value))) for name, value in answer if value is not None]
    lines.append(("completion", _show_text(row["completion"])))
    lines.append(("prediction", show_value(row["prediction"])))
    lines += [("", clean(str(row["reading"])))] if row.get("reading") else []
    lines += [("target", show_value(row["target"]))] if "target" in row else []
    lines += [(name, show_value(row[name])) for name in _list_scores(run)]
    lines += [("cost", _describe_call(row, ""))]
    parts.append(make_part(make_title("answer"), make_pairs(lines)))
    if "verdict" in row:
        parts.append(make_part(make_title("judge"), *_make_verdict(row)))
    parts.append(make_part(make_title("values"), make_pairs(_list_values(run, row))))
    return parts


def _show_text(text: Any) -> str:
    """A text as it came; nothing and an empty text are told apart."""
    return show_value(text) if text is None or not str(text).strip() else clean(str(text))


def _list_scores(run: Recorded) -> list[str]:
    names = [name for name in run.record.row_scores if name in run.frame.columns]
    return [*names, *(["probability"] if "probability" in run.frame.columns else [])]


def _make_verdict(row: dict[str, Any]) -> Iterable[RenderableType]:
    if row.get("judge_messages"):
        yield make_chat(row["judge_messages"])
    said = [("thinking", "judge_reasoning"), ("error", "judge_error")]
    lines = [(label, clean(str(row[name]))) for label, name in said if row.get(name) is not None]
    lines += [("its words", _show_text(row.get("judge_completion"))), ("verdict", show_value(row["verdict"]))]
    lines += [("", clean(str(row["judge_reading"])))] if row.get("judge_reading") else []
    yield make_pairs([*lines, ("cost", _describe_call(row, "judge_"))])


def _describe_call(row: dict[str, Any], prefix: str) -> str:
    """Tokens, dollars, time and who answered, as far as they are known."""

    def get(name: str) -> Any:
        return row.get(f"{prefix}{name}")

    counts = [(get("input_tokens"), "read"), (get("output_tokens"), "written")]
    parts = [f"{count_of(count, 'token')} {what}" for count, what in counts if count is not None]
    parts += [f"${get('cost_usd'):.6f}"] if get("cost_usd") is not None else []
    parts += [f"{get('latency_s'):.1f} s"] if get("latency_s") is not None else []
    parts += ["from the ledger"] if get("stored") else []
    parts += [f"ended by {get('finish_reason')}"] if get("finish_reason") else []
    parts += [f"from {get('answered_by')}"] if get("answered_by") else []
    return clean(" · ".join(map(join_lines, parts))) or "not known"


def _list_values(run: Recorded, row: dict[str, Any]) -> list[tuple[str, str]]:
    """The values of the data set, those that the run did not add; a long one that the chat shows is cut."""
    added = {*RESERVED, *run.record.row_scores, "id", "target"}
    chat = "\n".join(str(turn.get("content")) for turn in row.get("messages") or () if turn)
    lines = []
    for name, value in row.items():
        if name in added:
            continue
        is_shown = isinstance(value, str) and len(value) > LETTERS and value in chat
        shown = f"{show_value(value, LETTERS)}, as in the chat" if is_shown else show_value(value)
        lines.append((name, shown))
    return lines


def _shorten(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
