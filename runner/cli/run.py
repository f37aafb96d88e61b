"""``runner``: one run or one point of a sweep, and the end of a sweep."""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner import tracking
from runner.cli import screen
from runner.cli.progress import show_progress
from runner.cli.sweep import Sweep, find_keeper, find_swept, open_parent
from runner.config import hydra_job
from runner.config.instantiate import instantiate
from runner.config.schema import TrackingConfig
from runner.core.errors import BudgetError, RunnerError, note_calls
from runner.experiment.plan import Plan, make_plan, to_plain
from runner.experiment.run import Screen, run
from runner.experiment.stages import check_objective
from runner.pipeline.keeping import SweepKeeper
from runner.records.alive import is_alive
from runner.records.environment import find_code, find_git_sha, find_versions
from runner.records.folder import SWEEP, find_runs, list_points, read_notes, write_notes
from runner.records.record import Record, flatten, keep_record, read_records
from runner.records.sweep import summarize
from runner.reproduce.past_run import write_prompts

log = logging.getLogger(__name__)

NOT_PARAMS = ("reference", "report")
"""Groups of the config that are not logged as params of a run."""


@dataclass(frozen=True)
class Outcome:
    """A run that has ended: its record, its folder, and the id of its MLflow run, if it has one."""

    record: Record
    folder: Path
    tracked: str | None = None


def run_command(config: DictConfig) -> float | None:
    """Run one experiment, print its results and return its objective, for optimising sweepers."""
    try:
        outcome = carry_out(config)
    except Unfinished as stopped:
        outcome = stopped.outcome
        if isinstance(stopped.reason, BudgetError):
            screen.show_run(outcome.record, outcome.folder, outcome.tracked)
        raise stopped.reason from None
    screen.show_run(outcome.record, outcome.folder, outcome.tracked)
    if outcome.record.warnings and not outcome.record.sweep:  # a sweep says so at its end
        raise RunnerError(f"the scores are kept, but {'; '.join(outcome.record.warnings)}")
    return find_objective(outcome.record, config.objective)


class Unfinished(Exception):
    """A run that ended early. ``reason`` is the error, and ``outcome`` holds what was recorded."""

    def __init__(self, outcome: Outcome, reason: Exception) -> None:
        super().__init__(str(reason))
        self.outcome, self.reason = outcome, reason


def carry_out(config: DictConfig) -> Outcome:
    """Run one experiment, record it and log it to MLflow. Raises :class:`Unfinished` if it ends early."""
    folder = Path(hydra_job.get_settings().runtime.output_dir)
    record = new_record(config)
    keeper = find_keeper(Path(hydra_job.get_settings().sweep.dir)) if record.sweep else None
    try:
        with keep_record(record, folder), show_progress(screen.name_point(record)) as bars:
            plan = make_plan(config)
            tracking.check(plan.config.tracking)
            describe_run(record, plan)
            write_prompts(plan, folder)
            during_calls = tracking.warm_up_in_background(plan.config.tracking)
            with end_point(keeper, record):
                run(plan, record, folder, Screen(bars.open_bar, bars.show_status, during_calls), keeper)
    except Exception as error:
        # a failed point belongs in the sweep's table; a single mistake need not be tracked
        tracked = None if record.mistake and not record.sweep else _track(record, folder, config)
        raise Unfinished(Outcome(record, folder, tracked), error) from error
    return Outcome(record, folder, _track(record, folder, config))


@contextmanager
def end_point(keeper: SweepKeeper | None, record: Record) -> Iterator[None]:
    """After the block, delete the deployments that were kept for this point of a sweep only."""
    try:
        yield
    finally:
        if keeper and record.job is not None:
            keeper.end_point(record.job)


def new_record(config: DictConfig) -> Record:
    """Return the record of a run that is about to start."""
    hydra = hydra_job.get_settings()
    sweep = Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None
    overrides = hydra_job.get_overrides(hydra)
    return Record(
        id=uuid.uuid4().hex,
        name=str(config.name),
        started=time.time(),
        sweep=sweep,
        overrides=overrides,
        job=hydra.job.num if sweep else None,
        swept=find_swept(overrides, Path(hydra.sweep.dir)) if sweep else {},
        # for `runner sync`; the rest follows when the plan is made
        config={"tracking": OmegaConf.to_container(config.tracking)},
    )


def describe_run(record: Record, plan: Plan) -> None:
    """Record the config, the params and the tags that are known before the first call."""
    config = plan.config
    record.config = to_plain(config)
    record.environment = find_versions()
    leaves = flatten({key: value for key, value in record.config.items() if key not in NOT_PARAMS})
    record.params = {
        key: value
        for key, value in leaves.items()
        if value not in (None, {}, []) and not key.startswith("dataset.params.")
    }
    record.params |= record.swept
    record.tags = {
        "stage": "base",
        "provider": plan.responder.provider.name,
        "model": plan.responder.provider.model,
        "dataset": config.dataset.name,
        "git_sha": find_git_sha(),
        "code": find_code(),
    }


def _track(record: Record, folder: Path, config: DictConfig) -> str | None:
    settings = read_tracking(config)
    if not settings.enabled:
        return None
    parent = None
    if record.sweep:
        with suppress(RunnerError):  # logging the run fails with the same error and reports it
            parent = open_parent(Path(hydra_job.get_settings().sweep.dir), config)
    tracked = tracking.log_run(folder, settings, parent)
    if tracked and not record.sweep:
        close_killed(folder.parents[1], settings)
    return tracked


def read_tracking(config: DictConfig) -> TrackingConfig:
    """Return the group ``tracking`` of a config."""
    return cast(TrackingConfig, OmegaConf.to_object(config.tracking))


def find_objective(record: Record, name: str | None) -> float | None:
    """Return the score that a sweeper optimises: the one named ``name``, or else the first."""
    if name is None:
        return next((score.value for score in record.scores.values()), None)
    with note_calls():
        check_objective(name, record.scores)
    return record.scores[name].value


def close_sweep(sweep: Sweep, code: int) -> int:
    """Print a sweep's table, log it to the parent run, and return the exit code.

    It is 2 if all points were mistakes, so that nothing was paid; 1 if a point failed or a deployment was
    left; else ``code``.
    """
    folders, recorded = list_points(sweep.folder), find_runs(sweep.folder)
    records = list(read_records(recorded).values())
    if not records:
        return code
    line, comparison = _compare_points(recorded)
    screen.show_sweep(summarize(records), sweep.folder, line)
    log_sweep(sweep, folders, comparison)
    close_killed(sweep.folder.absolute().parents[1], read_tracking(sweep.config))
    if all(record.mistake for record in records):
        return 2
    warnings = [warning for record in records for warning in record.warnings] + _find_warnings(sweep)
    for warning in warnings:
        print(f"error: {warning}", file=sys.stderr)
    return int(bool(warnings) or any(record.status != "finished" for record in records)) or code


def log_sweep(sweep: Sweep, folders: Sequence[Path], comparison: str = "") -> None:
    """Log a sweep's table to its parent run in MLflow."""
    files = {"comparison.csv": comparison} if comparison else {}
    warnings = _find_warnings(sweep)
    write_notes(sweep.folder, read_notes(sweep.folder) | {"ended": True, "warnings": warnings})
    _log_notes(sweep.folder, folders, read_tracking(sweep.config), files)


def _find_warnings(sweep: Sweep) -> list[str]:
    return sweep.keeper.warnings if sweep.keeper else []


def _log_notes(
    folder: Path, folders: Sequence[Path], settings: TrackingConfig, files: Mapping[str, str] | None = None
) -> None:
    """Close the parent run of a sweep, and note in its folder that this is done."""
    notes = read_notes(folder)
    warnings, killed = list(notes.get("warnings", [])), not notes.get("ended")
    if tracking.close_sweep(notes.get("parent"), folders, settings, files, warnings, killed):
        write_notes(folder, notes | {"closed": True})


def close_killed(outputs: Path, settings: TrackingConfig) -> None:
    """Close the parent runs of sweeps below ``outputs`` that no living process will close.

    Such sweeps were killed or interrupted, or the tracking server was down at their end. Sweeps that are
    tracked elsewhere than ``settings`` say are left alone: an address in a folder may be a stranger's.
    """
    for folder in sorted(file.parent for file in outputs.glob(f"sweeps/*/{SWEEP}") if settings.enabled):
        with suppress(OSError, ValueError, TypeError, AttributeError):  # a file that cannot be read
            notes = read_notes(folder)
            if not notes.get("parent") or notes.get("tracked") != tracking.name_place(settings):
                continue
            points = list_points(folder)  # processes of their own may outlive the first one
            if not notes.get("closed") and not any(map(is_alive, [folder, *points])):
                _log_notes(folder, points, settings)


def _compare_points(folders: Sequence[Path]) -> tuple[str, str]:
    """Compare the points of a sweep with its first one; return empty texts if that fails."""
    from runner.report.write import compare_with_first

    try:
        return compare_with_first(folders, instantiate)
    except Exception:
        log.debug("the points cannot be compared", exc_info=True)
        return "", ""
