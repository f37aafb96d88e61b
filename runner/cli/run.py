"""``runner``: one run or one point of a sweep, and the end of a sweep."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner import tracking
from runner.cli import screen
from runner.cli.progress import show_progress
from runner.cli.sweep import Sweep, find_swept, get_name, open_parent
from runner.config import hydra_job
from runner.config.explain import explain
from runner.config.instantiate import instantiate
from runner.config.schema import TrackingConfig
from runner.core.errors import BudgetError, ConfigError, FailedRowsError, RunnerError, note_calls
from runner.experiment.plan import Plan, make_plan, to_plain
from runner.experiment.rehearsal import check_objective
from runner.experiment.run import Screen, run
from runner.records.environment import find_code, find_git_sha, find_versions
from runner.records.folder import MISTAKE, SWEEP, find_runs, list_points, read_notes, remove_traces
from runner.records.record import Record, flatten, keep_record, read_mistakes, read_records
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
        if isinstance(stopped.reason, BudgetError | FailedRowsError):
            screen.show_run(outcome.record, outcome.folder, outcome.tracked)
        raise stopped.reason from None
    screen.show_run(outcome.record, outcome.folder, outcome.tracked)
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
    try:
        with keep_record(record, folder), show_progress(screen.name_point(record)) as bars:
            plan = _make_plan(config)
            describe_run(record, plan)
            shown = Screen(bars.open_bar, bars.show_status, _during_calls(plan, folder))
            run(plan, record, folder, shown, name_command(record))
    except Exception as error:
        tracked = None if record.mistake else _track(record, folder, config)
        if record.mistake and not record.sweep:
            remove_traces(folder)
        raise Unfinished(Outcome(record, folder, tracked), error) from error
    return Outcome(record, folder, _track(record, folder, config))


def _make_plan(config: DictConfig) -> Plan:
    """Return the plan of a config. Raises :class:`ConfigError` also for a value that cannot be resolved."""
    try:
        plan = make_plan(config)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)[0].removeprefix("error: ")) from error
    tracking.check(plan.config.tracking)
    return plan


@contextmanager
def _during_calls(plan: Plan, folder: Path) -> Iterator[None]:
    """Write the prompts, now that there is no mistake in them, and prepare MLflow while servers answer."""
    write_prompts(plan, folder)
    with tracking.warm_up_in_background(plan.config.tracking):
        yield


def new_record(config: DictConfig) -> Record:
    """Return the record of a run that is about to start."""
    hydra = hydra_job.get_settings()
    sweep = Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None
    overrides = hydra_job.get_overrides(hydra)
    return Record(
        id=uuid.uuid4().hex,
        name=get_name(config, "run"),
        started=time.time(),
        sweep=sweep,
        overrides=overrides,
        job=hydra.job.num if sweep else None,
        swept=find_swept(overrides, Path(hydra.sweep.dir)) if sweep else {},
        # for `runner sync`; the rest follows when the plan is made
        config={"tracking": OmegaConf.to_container(config.tracking)},
    )


def name_command(record: Record) -> str:
    """Return what the points of a sweep share, and what no other command has, even in the same folder."""
    if record.sweep is None:
        return record.id
    started = read_notes(Path(hydra_job.get_settings().sweep.dir)).get("started")
    return f"{record.sweep} {started}"


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
    return tracking.log_run(folder, settings, parent)


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

    It is 2 if all points were mistakes, so that nothing was paid; 1 if a point failed; else ``code``.
    """
    points = list_points(sweep.folder)
    mistakes = read_mistakes(points)
    recorded = [folder for folder in find_runs(sweep.folder) if folder not in mistakes]
    records = list(read_records(recorded).values())
    if not records and not mistakes and code != 2:
        return code
    line, comparison = _compare_points(recorded)
    if records or mistakes:
        table = summarize([*records, *mistakes.values()])
        screen.show_sweep(table, sweep.folder if recorded else None, line)
    log_sweep(sweep, points, mistakes, comparison, began=bool(recorded))
    if not recorded:
        return 2
    return int(bool(mistakes) or any(record.status != "finished" for record in records)) or code


def log_sweep(
    sweep: Sweep, points: Sequence[Path], mistakes: Iterable[Path], comparison: str = "", began: bool = True
) -> None:
    """Log a sweep's table to its parent run in MLflow, and remove the folders of points with mistakes.

    Of a sweep that never ``began``, since all of it was a mistake, nothing is left here or there.
    """
    files = {"comparison.csv": comparison} if comparison else {}
    parent, settings = read_notes(sweep.folder).get("parent"), read_tracking(sweep.config)
    for folder in mistakes:
        (folder / MISTAKE).unlink(missing_ok=True)
        remove_traces(folder)
    if began:
        tracking.close_sweep(parent, points, settings, files)
    else:
        tracking.drop_sweep(parent, settings)
        remove_traces(sweep.folder, (SWEEP,))


def _compare_points(folders: Sequence[Path]) -> tuple[str, str]:
    """Compare the points of a sweep with its first one; return empty texts if that fails."""
    from runner.report.write import compare_with_first

    try:
        return compare_with_first(folders, instantiate)
    except Exception:
        log.debug("the points cannot be compared", exc_info=True)
        return "", ""
