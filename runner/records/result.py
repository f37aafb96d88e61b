"""Recorded runs and sweeps, read back for use from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from runner.core.errors import ConfigError, count_of
from runner.core.types import REPEAT, Score
from runner.records.averages import average_points, read_plan
from runner.records.folder import PREDICTIONS, RECORD, SWEEP, find_runs, list_points
from runner.records.record import Record, read_mistakes, read_predictions, read_record, read_records
from runner.records.sweep import main_score_names, summarize

NO_ROWS = pl.DataFrame(schema=dict.fromkeys(("id", "target", "completion", "prediction", "error"), pl.String))
"""The rows of a run that ended before any was answered."""


ANSWER = ("id", REPEAT, "completion", "prediction", "target", "correct")
"""The first columns of a table of rows. The scores of the rows follow, then everything else."""


def order_columns(columns: Iterable[str], row_scores: Iterable[str]) -> list[str]:
    """The columns of a run's rows as a reader wants them: the answer, its scores, the rest as it was.

    >>> order_columns(["document", "id", "target", "accuracy", "completion"], ["accuracy"])
    ['id', 'completion', 'target', 'accuracy', 'document']
    """
    given = dict.fromkeys(columns)
    first = [name for name in dict.fromkeys([*ANSWER, *row_scores]) if name in given]
    return first + [name for name in given if name not in first]


def list_right_scores(row_scores: Mapping[str, str], metrics: Mapping[str, Any]) -> dict[str, str]:
    """The first score that says whether the ``verdict`` is right, and the first one of the ``prediction``.

    ``row_scores`` are kinds of scores by name, ``metrics`` their nodes in the config.

    >>> list_right_scores({"accuracy": "right", "share": "right"}, {"share": {"column": "verdict"}})
    {'verdict': 'share', 'prediction': 'accuracy'}
    """
    found: dict[str, str] = {}
    for name, kind in row_scores.items():
        if kind == "right":
            found.setdefault(_find_column(metrics.get(name)), name)
    return {said: found[said] for said in ("verdict", "prediction") if said in found}


def _find_column(node: Any) -> str:
    """What a metric reads: the verdict, a column of a judge, or else the prediction."""
    settings = node if isinstance(node, dict) else {}
    named = str(settings.get("prediction") or settings.get("column"))
    return named if named == "verdict" or named.startswith("judge_") else "prediction"


def find_right_score(record: Record) -> str | None:
    """The score that says which rows are right: that of the verdict if there is one; None without any."""
    return next(iter(list_right_scores(record.row_scores, record.config.get("metric") or {}).values()), None)


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

        Empty if the run ended before any row was answered; the columns of the data set are then missing.
        """
        exists = (self.folder / PREDICTIONS).exists()
        return read_predictions(self.folder) if exists else NO_ROWS

    def __repr__(self) -> str:
        """Return the status and the folder, and below them the error and the scores over all rows."""
        scores = [_format_score(name, self.scores[name]) for name in main_score_names([self.record])]
        reasons = [self.record.error.partition("\n")[0]] if self.record.error else []
        return "\n  ".join([f"{self.record.status}: {self.folder}", *reasons, *scores])


class SweepResult(NamedTuple):
    """A sweep: the ``results`` of its points in their order, and their ``summary`` with one line each.

    With ``average_over`` a line for each average is below them, without a ``job``.
    """

    results: list[RunResult]
    summary: pl.DataFrame

    def __repr__(self) -> str:
        """Return the table, with the number of points before it."""
        return f"{count_of(len(self.results), 'point')}\n{self.summary}"

    def _repr_html_(self) -> str:
        return self.summary._repr_html_()


def _format_score(name: str, score: Score) -> str:
    if score.value is None or score.low is None or score.high is None:
        return f"{name} {score.value}"
    return f"{name} {score.value:.3f} ({score.low:.3f} – {score.high:.3f})"


def load_run(folder: Path) -> RunResult:
    """Load the run that is recorded in a folder. Raises :class:`DataError` if its record cannot be read."""
    return RunResult(folder, read_record(folder))


def load_sweep(folder: Path) -> SweepResult:
    """Load the sweep that is recorded in a folder; points without a readable record are left out."""
    mistakes = read_mistakes(list_points(folder))
    records = mistakes | read_records(point for point in find_runs(folder) if point not in mistakes)
    results = [RunResult(point, records[point]) for point in sorted(records, key=list_points(folder).index)]
    found = [result.record for result in results]
    return SweepResult(results, summarize(found, average_points(found, read_plan(folder))))


def load_result(folder: Path) -> RunResult | SweepResult:
    """Load the run or the sweep in a folder.

    Raises :class:`ConfigError` if it is neither, and :class:`DataError` if a run's record cannot be read.
    """
    if (folder / RECORD).exists():
        return load_run(folder)
    if (folder / SWEEP).exists() or (folder.is_dir() and find_runs(folder)):
        return load_sweep(folder)
    raise ConfigError(f"{folder} is neither a run nor a sweep: it has no {RECORD} and no {SWEEP}")
