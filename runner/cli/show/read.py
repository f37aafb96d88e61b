"""Reads a recorded run for the screen, also one that is old, or a stranger's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from runner.cli.screen.grading import Grades, grade_rows
from runner.core.errors import DataError
from runner.core.files import require_plain
from runner.records.folder import PREDICTIONS, SCORED
from runner.records.record import ROW_COLUMNS, Record, find_scored, read_record


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
        return self.frame["id"].unique(maintain_order=True).to_list()

    def list_places(self, row: int) -> list[int]:
        """Where the answers to a row are in the frame; ``row`` is its place in :attr:`ids`."""
        return (self.frame["id"] == self.ids[row]).arg_true().to_list()


def read_run(folder: Path, scored: bool = True) -> Recorded:
    """Read a run as far as its files go: a record or columns that are missing are noted.

    The rows are the scored ones, or the answered ones, of which ``scoring.steps`` made these.

    Raises :class:`DataError` if there are no rows, or if they cannot be read.
    """
    notes: list[str] = []
    try:
        record = read_record(folder)
    except DataError as error:
        record = Record("", folder.name, status="not known")
        notes.append(str(error))
    if not (folder / PREDICTIONS).exists():
        said = record.error or ""
        state = said if said.startswith(record.status) else f"{record.status}: {said}".removesuffix(": ")
        yet = " yet" if record.status == "running" else ""
        raise DataError(f"{folder} has no rows{yet} (the run is {state})")
    file = find_scored(folder) if scored else folder / PREDICTIONS
    frame, missing = _read_rows(file)
    if file.name == SCORED:
        notes.append("these are the rows that scoring.steps made; row=… shows an answered one")
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
