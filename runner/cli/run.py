"""``runner``: one run or one point of a sweep."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner.cli import screen
from runner.cli.screen.progress import show_progress
from runner.cli.sweep import find_keeper, get_name, settle_experiment
from runner.cli.sweep_start import make_checked_plan
from runner.cli.watch import Watch
from runner.config import hydra_job
from runner.config.explain import tell_places
from runner.config.points import find_swept
from runner.core.errors import BudgetError, ConfigError, FailedRowsError, MetricError, RunnerError, note_calls
from runner.experiment.plan import Plan, to_plain
from runner.experiment.rehearsal import check_objective
from runner.experiment.run import Screen, run
from runner.experiment.unused import find_unused, warn_of_unused
from runner.pipeline.keeping import SweepKeeper
from runner.records.alive import hold_alive
from runner.records.environment import find_code, find_git_sha, find_versions
from runner.records.folder import read_notes, remove_traces
from runner.records.ranking import choose_objective
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
        if isinstance(stopped.reason, BudgetError | FailedRowsError | MetricError):
            screen.show_run(outcome.record, outcome.folder, outcome.tracked)
        raise stopped.reason from None
    screen.show_run(outcome.record, outcome.folder, outcome.tracked)
    record = outcome.record
    reasons = [f"the scores are kept, but {'; '.join(record.warnings)}"] if record.warnings else []
    reasons += record.unmet
    if reasons and not record.sweep:  # a sweep says so at its end
        raise RunnerError("\nerror: ".join(reasons))
    return find_objective(record, config.objective)


class Unfinished(Exception):
    """A run that ended early. ``reason`` is the error, and ``outcome`` holds what was recorded."""

    def __init__(self, outcome: Outcome, reason: Exception) -> None:
        super().__init__(str(reason))
        self.outcome, self.reason = outcome, reason


def carry_out(config: DictConfig) -> Outcome:
    """Run one experiment, record it and log it to MLflow. Raises :class:`Unfinished` if it ends early."""
    hydra = hydra_job.get_settings()
    folder, sweep = Path(hydra.runtime.output_dir), Path(hydra.sweep.dir)
    settle_experiment(config, sweep if hydra.mode == RunMode.MULTIRUN else None)
    record = new_record(config)
    watch = Watch(record, folder, config)
    failure: Exception | None = None
    # alive until it is logged: nobody else may end its run in MLflow
    with hold_alive(folder), watch.keep():
        try:
            _carry_out(record, folder, config, watch)
        except Exception as error:
            failure = error
        tracked = watch.end()
    if failure is None:
        return Outcome(record, folder, tracked)
    if record.mistake and not record.sweep:
        remove_traces(folder)
    raise Unfinished(Outcome(record, folder, tracked), failure) from failure


def _carry_out(record: Record, folder: Path, config: DictConfig, watch: Watch) -> None:
    keeper = find_keeper(Path(hydra_job.get_settings().sweep.dir)) if record.sweep else None
    with (
        keep_record(record, folder),
        show_progress(screen.name_point(record)) as bars,
        end_point(keeper, record),
        tell_places(hydra_job.get_settings()),
    ):
        _refuse_averages(record, config)
        plan = make_checked_plan(config)
        if not record.sweep:  # of a sweep it is told before its first point
            warn_of_unused(find_unused(plan, hydra_job.list_typed(record.overrides)))
        describe_run(record, plan)
        watch.prepare(lambda: write_prompts(plan, folder))
        shown = Screen(bars.open_bar, bars.show_status, watch.tally)
        run(plan, record, folder, shown, keeper, name_command(record))


def _refuse_averages(record: Record, config: DictConfig) -> None:
    """Raise :class:`ConfigError` if the command averages a single run.

    That of an experiment file is meant for its sweeps.
    """
    typed = any(override.lstrip("+").startswith("average_over=") for override in record.overrides)
    if typed and config.average_over and not record.sweep:
        raise ConfigError("average_over: a single run has no points; add -m, and values of the keys it names")


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
        swept=find_swept(overrides, read_notes(Path(hydra.sweep.dir)).get("fixed", {})) if sweep else {},
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


def find_objective(record: Record, name: str | None) -> float | None:
    """Return the score that a sweeper optimises: the one named ``name``, or else the first with a direction.

    Where none has one it is the first.
    """
    if name is not None:
        with note_calls():
            check_objective(name, record.scores)
    chosen = choose_objective(name, {key: score.direction for key, score in record.scores.items()})
    chosen = chosen or next(iter(record.scores), None)
    return None if chosen is None else record.scores[chosen].value
