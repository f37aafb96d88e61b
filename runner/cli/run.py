"""``runner``: one run, or one point of a sweep, and what closes the sweep."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner import tracking
from runner.cli import screen
from runner.cli.progress import show_progress
from runner.cli.sweep import Sweep, find_swept, open_parent
from runner.config import hydra_job
from runner.config.instantiate import instantiate
from runner.config.schema import RunnerConfig, TrackingConfig
from runner.core.errors import BudgetError, ConfigError, RunnerError
from runner.experiment.plan import Plan, make_plan, to_plain
from runner.experiment.run import Screen, run
from runner.experiment.stages import check_objective
from runner.records.environment import find_git_sha, find_versions
from runner.records.folder import find_runs, list_points, read_notes
from runner.records.record import Record, flatten, keep_record, read_record
from runner.records.sweep import summarize
from runner.reproduce.past_run import write_prompts

log = logging.getLogger(__name__)

BESIDE_THE_RUN = ("reference", "report")
"""Groups of the config that are not among a run's params: published figures, the report."""


@dataclass(frozen=True)
class Outcome:
    """A run that is through: its record, where it is, and the id of its MLflow run if there is one."""

    record: Record
    folder: Path
    tracked: str | None = None


def run_command(config: DictConfig) -> float | None:
    """Run one experiment and show it; returns its objective, for optimising sweepers."""
    try:
        outcome = carry_out(config)
    except Unfinished as stopped:
        outcome = stopped.outcome
        if isinstance(stopped.reason, BudgetError):
            screen.show_run(outcome.record, outcome.folder, outcome.tracked)
        raise stopped.reason from None
    screen.show_run(outcome.record, outcome.folder, outcome.tracked)
    return find_objective(outcome.record, config.objective)


class Unfinished(Exception):
    """A run that ended early. ``reason`` says why, and ``outcome`` holds what there is of it."""

    def __init__(self, outcome: Outcome, reason: Exception) -> None:
        super().__init__(str(reason))
        self.outcome, self.reason = outcome, reason


def carry_out(config: DictConfig) -> Outcome:
    """Run one experiment, with its record and its run in MLflow; raises :class:`Unfinished`."""
    folder = Path(hydra_job.get_settings().runtime.output_dir)
    record = new_record(config)
    try:
        with keep_record(record, folder), show_progress(screen.name_point(record)) as bars:
            plan = make_plan(config)
            tracking.check(plan.config.tracking)
            describe_run(record, plan)
            write_prompts(plan, folder)
            beside = tracking.warm_up_in_background(plan.config.tracking)
            run(plan, record, folder, Screen(bars.open_bar, bars.show_status, beside))
    except ConfigError as error:
        # a failed point belongs in the sweep's table, a typo in no tracking store
        tracked = _track(record, folder, config) if record.sweep else None
        raise Unfinished(Outcome(record, folder, tracked), error) from error
    except Exception as error:
        raise Unfinished(Outcome(record, folder, _track(record, folder, config)), error) from error
    return Outcome(record, folder, _track(record, folder, config))


def new_record(config: DictConfig) -> Record:
    """The record of a run that is about to start."""
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
    )


def describe_run(record: Record, plan: Plan) -> None:
    """Write down the params and tags that are known before the first call."""
    config = plan.config
    record.config = to_plain(config)
    record.environment = find_versions()
    leaves = flatten({key: value for key, value in record.config.items() if key not in BESIDE_THE_RUN})
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
    }


def _track(record: Record, folder: Path, config: DictConfig) -> str | None:
    settings = read_tracking(config)
    if not settings.enabled:
        return None
    parent = None
    if record.sweep:
        with suppress(RunnerError):  # logging the run meets it again, and says so
            parent = open_parent(folder.parent, config)
    return tracking.log_run(folder, settings, parent)


def read_tracking(config: DictConfig) -> TrackingConfig:
    """The group ``tracking`` of a config."""
    return cast(TrackingConfig, OmegaConf.to_object(config.tracking))


def find_objective(record: Record, name: str | None) -> float | None:
    """The score that a run is optimised by: the one that is named, else the first."""
    if name is None:
        return next((score.value for score in record.scores.values()), None)
    check_objective(name, record.scores)
    return record.scores[name].value


def close_sweep(sweep: Sweep, code: int) -> int:
    """Show a sweep's table here and on its parent run; 1 if a point failed, else ``code``."""
    folders, done = list_points(sweep.folder), find_runs(sweep.folder)
    records = [read_record(point) for point in done]
    if not records:
        return code
    line, comparison = _compare(done)
    screen.show_sweep(summarize(records), sweep.folder, line)
    log_sweep(sweep, folders, comparison)
    return int(any(record.status != "finished" for record in records)) or code


def log_sweep(sweep: Sweep, folders: Sequence[Path], comparison: str = "") -> None:
    """Put a sweep's table on its parent run in MLflow."""
    files = {"comparison.csv": comparison} if comparison else {}
    parent = read_notes(sweep.folder).get("parent")
    tracking.close_sweep(parent, folders, read_tracking(sweep.config), files)


def _compare(folders: Sequence[Path]) -> tuple[str, str]:
    """The points of a sweep against its first one; what cannot be compared stops no sweep."""
    from runner.report.write import compare_with_first

    try:
        return compare_with_first(folders, instantiate)
    except Exception:
        log.debug("the points are not compared", exc_info=True)
        return "", ""


__all__ = ["Outcome", "RunnerConfig", "Unfinished", "carry_out", "close_sweep", "run_command"]
