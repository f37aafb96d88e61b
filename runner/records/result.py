"""Recorded runs and sweeps, read back for use from Python."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.records.folder import PREDICTIONS, RECORD, SWEEP, find_runs
from runner.records.record import Record, read_predictions, read_record, read_records
from runner.records.sweep import summarize


@dataclass(frozen=True)
class RunResult:
    """One run: its ``folder`` and its ``record``, with the rows and scores in it."""

    folder: Path
    record: Record

    @property
    def scores(self) -> dict[str, Score]:
        """Value and interval per metric: ``<metric>`` over all rows, ``<metric>_parsed`` over parsed rows."""
        return self.record.scores

    @cached_property
    def frame(self) -> pl.DataFrame:
        """A line per evaluated row: inputs, chat, completion, prediction, verdict, and each metric's value.

        Empty if the run ended before any row was answered.
        """
        exists = (self.folder / PREDICTIONS).exists()
        return read_predictions(self.folder) if exists else pl.DataFrame()


class SweepResult(NamedTuple):
    """A sweep: the ``results`` of its points in their order, and their ``summary`` with one line each."""

    results: list[RunResult]
    summary: pl.DataFrame


def load_run(folder: Path) -> RunResult:
    """Load the run that is recorded in a folder. Raises :class:`DataError` if its record cannot be read."""
    return RunResult(folder, read_record(folder))


def load_sweep(folder: Path) -> SweepResult:
    """Load the sweep that is recorded in a folder; points without a readable record are left out."""
    results = [RunResult(point, record) for point, record in read_records(find_runs(folder)).items()]
    return SweepResult(results, summarize([result.record for result in results]))


def load_result(folder: Path) -> RunResult | SweepResult:
    """Load the run or the sweep in a folder.

    Raises :class:`ConfigError` if it is neither, and :class:`DataError` if a run's record cannot be read.
    """
    if (folder / RECORD).exists():
        return load_run(folder)
    if (folder / SWEEP).exists() or (folder.is_dir() and find_runs(folder)):
        return load_sweep(folder)
    raise ConfigError(f"{folder} is neither a run nor a sweep: it has no {RECORD} and no {SWEEP}")
