"""A run or a sweep as it was recorded, read back for use from Python."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.records.folder import PREDICTIONS, RECORD, SWEEP, find_runs
from runner.records.record import Record, read_predictions, read_record
from runner.records.sweep import summarize


@dataclass(frozen=True)
class RunResult:
    """One run: its ``folder`` and its ``record``, with the rows and scores in it."""

    folder: Path
    record: Record

    @property
    def scores(self) -> dict[str, Score]:
        """Each metric's value and interval: ``<metric>`` is strict, ``<metric>_parsed`` over parsed rows."""
        return self.record.scores

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One line per evaluated row: inputs, chat, completion, prediction, verdict, each metric's row value.

        Empty where the run ended before there were any.
        """
        known = (self.folder / PREDICTIONS).exists()
        return read_predictions(self.folder) if known else pl.DataFrame()


class SweepResult(NamedTuple):
    """A sweep: the ``results`` of its points in their order, and their ``summary`` with one line each."""

    results: list[RunResult]
    summary: pl.DataFrame


def load_run(folder: Path) -> RunResult:
    """The run recorded in a folder."""
    return RunResult(folder, read_record(folder))


def load_sweep(folder: Path) -> SweepResult:
    """The sweep recorded in a folder, as far as its points have records."""
    results = [load_run(point) for point in find_runs(folder)]
    return SweepResult(results, summarize([result.record for result in results]))


def load_result(folder: Path) -> RunResult | SweepResult:
    """What is recorded in a folder. Raises :class:`ConfigError` where it is neither a run nor a sweep."""
    if (folder / RECORD).exists():
        return load_run(folder)
    if (folder / SWEEP).exists() or (folder.is_dir() and find_runs(folder)):
        return load_sweep(folder)
    raise ConfigError(f"{folder}: holds no {RECORD} and no {SWEEP}, so it is neither a run nor a sweep")
