"""The end of a sweep: its table, its parent run, and what killed sweeps and mistakes have left."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner import tracking
from runner.cli import screen
from runner.cli.screen import sweep_table
from runner.cli.sweep import Sweep, read_tracking
from runner.config.instantiate import instantiate
from runner.config.schema import TrackingConfig
from runner.records.alive import is_alive
from runner.records.averages import Average, average_points, describe_averages, read_plan
from runner.records.folder import (
    MISTAKE,
    PROGRESS,
    RECORD,
    SWEEP,
    find_runs,
    list_points,
    read_notes,
    remove_traces,
    write_notes,
)
from runner.records.progress import Progress, read_progress, write_progress
from runner.records.record import read_mistakes, read_records
from runner.records.sweep import summarize

if TYPE_CHECKING:
    from runner.report.write import Ending

log = logging.getLogger(__name__)


def close_sweep(sweep: Sweep, code: int) -> int:
    """Print a sweep's table, log it to the parent run, and return the exit code.

    It is 2 if all points were mistakes, so that nothing was paid; 1 if a point failed, does not meet what the
    config requires, or left a deployment; else ``code``.
    """
    points = list_points(sweep.folder)
    mistakes = read_mistakes(points)
    recorded = [folder for folder in find_runs(sweep.folder) if folder not in mistakes]
    records = list(read_records(recorded).values())
    if not records and not mistakes and code != 2:
        return code
    found = [*records, *mistakes.values()]
    averages = average_points(found, read_plan(sweep.folder))
    ending = _rank_points(recorded, averages)
    if found:
        labels = [average.label for average in averages]
        table = summarize(found, averages)
        table = sweep_table.sort_by_rank(table, ending.objective, ending.order, ending.verdicts, labels)
        said = [*ending.lines, *describe_averages(averages)]
        screen.show_sweep(table, sweep.folder if recorded else None, said)
    log_sweep(sweep, points, mistakes, ending.csv, began=bool(recorded))
    if not recorded:
        return 2
    close_killed(sweep.folder.absolute().parents[1], read_tracking(sweep.config))
    warnings = [warning for record in records for warning in record.warnings] + _find_warnings(sweep)
    warnings = list(dict.fromkeys(warnings))  # each point tries again to delete what is left over
    unmet = [f"[{record.job}] {line}" for record in records for line in record.unmet]
    for line in (*warnings, *unmet):
        print(f"error: {line}", file=sys.stderr)
    unfinished = any(record.status != "finished" for record in records)
    return int(bool(mistakes) or bool(warnings) or bool(unmet) or unfinished) or code


def log_sweep(
    sweep: Sweep, points: Sequence[Path], mistakes: Iterable[Path], comparison: str = "", began: bool = True
) -> None:
    """Log a sweep's table to its parent run in MLflow, and remove the folders of points with mistakes.

    Of a sweep that never ``began``, since all of it was a mistake, nothing is left here or there.
    """
    files = {"comparison.csv": comparison} if comparison else {}
    notes, settings = read_notes(sweep.folder), read_tracking(sweep.config)
    _remove_mistakes(mistakes)
    if began:
        ended = {"ended": True, "warnings": _find_warnings(sweep), "points": len(points)}
        write_notes(sweep.folder, notes | ended)
        _log_notes(sweep.folder, points, settings, files)
    else:
        tracking.drop_run(notes.get("parent"), settings)
        sweep.alive.close()  # the lock is one of the traces
        remove_traces(sweep.folder, (SWEEP,))


def _remove_mistakes(folders: Iterable[Path]) -> None:
    """Remove what points of a sweep left that could not begin."""
    for folder in folders:
        (folder / MISTAKE).unlink(missing_ok=True)
        remove_traces(folder)


def _find_warnings(sweep: Sweep) -> list[str]:
    return sweep.keeper.warnings if sweep.keeper else []


def _log_notes(
    folder: Path, folders: Sequence[Path], settings: TrackingConfig, files: Mapping[str, str] | None = None
) -> None:
    """Close the parent run of a sweep, and note in its folder that this is done."""
    notes = read_notes(folder)
    warnings, killed = list(notes.get("warnings", [])), not notes.get("ended")
    gone = notes.get("points", 0) - len(folders)  # those of mistakes, if MLflow could not be reached then
    folders = [*folders, *[folder / MISTAKE] * gone]
    if tracking.close_sweep(notes.get("parent"), folders, settings, files, warnings, killed):
        write_notes(folder, notes | {"closed": True})


def close_killed(outputs: Path, settings: TrackingConfig) -> None:
    """End in MLflow the runs and sweeps below ``outputs`` that no living process will end.

    They were killed or interrupted, or the tracking server was down at their end. Those that are tracked in
    another store than ``settings`` say are left alone: an address in a folder may be a stranger's.
    """
    runs = _find_killed_runs(outputs, settings)
    sweeps = _find_killed_sweeps(outputs, settings)
    if (runs or sweeps) and tracking.is_reachable(settings):
        for folder, (progress, there) in runs.items():
            if tracking.log_run(folder, there, last=progress):
                write_progress(folder, replace(progress, tracked=""))  # how far it came stays
        for folder, there in sweeps.items():
            points = list_points(folder)
            _remove_mistakes(read_mistakes(points))
            _log_notes(folder, points, there)


def _find_killed_runs(outputs: Path, settings: TrackingConfig) -> dict[Path, tuple[Progress, TrackingConfig]]:
    """How far each run came that was killed while it was shown in this store, and the settings for it."""
    found = {}
    for place in ("runs/*", "sweeps/*/*"):
        for folder in sorted(file.parent for file in outputs.glob(f"{place}/{PROGRESS}")):
            progress = read_progress(folder)
            there = tracking.read_place(progress.tracked, settings) if progress else None
            if progress and there and (folder / RECORD).exists() and not is_alive(folder):
                found[folder] = progress, there
    return found


def _find_killed_sweeps(outputs: Path, settings: TrackingConfig) -> dict[Path, TrackingConfig]:
    """The sweeps that nobody closed although no process of theirs lives, and the settings for each."""
    found = {}
    for folder in sorted(file.parent for file in outputs.glob(f"sweeps/*/{SWEEP}")):
        with suppress(OSError, ValueError, TypeError, AttributeError):  # a file that cannot be read
            notes = read_notes(folder)
            there = tracking.read_place(notes.get("tracked") or "", settings)
            if there is None or not notes.get("parent") or notes.get("closed"):
                continue
            if not any(map(is_alive, [folder, *list_points(folder)])):  # points may outlive the first process
                found[folder] = there
    return found


def _rank_points(folders: Sequence[Path], averages: Sequence[Average]) -> Ending:
    """Rank the points of a sweep, or its averages; return an empty ending if that fails."""
    from runner.report.write import Ending, rank_points

    try:
        return rank_points(folders, instantiate, averages)
    except Exception:
        log.debug("the points cannot be ranked", exc_info=True)
        return Ending()
