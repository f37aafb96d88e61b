"""``runner``: one run or one point of a sweep."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner import tracking
from runner.cli import screen
from runner.cli.screen.progress import show_progress
from runner.cli.sweep import find_keeper, find_swept, get_name, open_parent, read_tracking
from runner.cli.sweep_end import close_killed
from runner.config import hydra_job
from runner.config.explain import tell_places
from runner.core.errors import BudgetError, FailedRowsError, RunnerError, note_calls
from runner.experiment.plan import Plan, make_plan, to_plain
from runner.experiment.rehearsal import check_objective
from runner.experiment.run import Screen, run
from runner.pipeline.keeping import SweepKeeper
from runner.records.environment import find_code, find_git_sha, find_versions
from runner.records.folder import (
    read_notes,
    remove_traces,
)
from runner.records.record import Record, flatten, keep_record
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
        with (
            keep_record(record, folder),
            show_progress(screen.name_point(record)) as bars,
            end_point(keeper, record),
            tell_places(hydra_job.get_settings()),
        ):
            plan = _make_plan(config)
            describe_run(record, plan)
            shown = Screen(bars.open_bar, bars.show_status, _during_calls(plan, folder))
            run(plan, record, folder, shown, keeper, name_command(record))
    except Exception as error:
        tracked = None if record.mistake else _track(record, folder, config)
        if record.mistake and not record.sweep:
            remove_traces(folder)
        raise Unfinished(Outcome(record, folder, tracked), error) from error
    return Outcome(record, folder, _track(record, folder, config))


def _make_plan(config: DictConfig) -> Plan:
    """Return the plan of a config, whose address of MLflow is checked, too."""
    plan = make_plan(config)
    tracking.check(plan.config.tracking)
    return plan


@contextmanager
def _during_calls(plan: Plan, folder: Path) -> Iterator[None]:
    """Write the prompts, now that there is no mistake in them, and prepare MLflow while servers answer."""
    write_prompts(plan, folder)
    with tracking.warm_up_in_background(plan.config.tracking):
        yield


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
    tracked = tracking.log_run(folder, settings, parent)
    if tracked and not record.sweep:
        close_killed(folder.parents[1], settings)
    return tracked


def find_objective(record: Record, name: str | None) -> float | None:
    """Return the score that a sweeper optimises: the one named ``name``, or else the first."""
    if name is None:
        return next((score.value for score in record.scores.values()), None)
    with note_calls():
        check_objective(name, record.scores)
    return record.scores[name].value
