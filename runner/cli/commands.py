"""What each command does with a composed config."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner import tracking
from runner.cli import screen
from runner.cli import sweep as sweeping
from runner.cli.progress import progress
from runner.config import hydra_job
from runner.config.schema import RunnerConfig, TrackingConfig
from runner.core.errors import BudgetError, ConfigError, RunnerError
from runner.core.provider import Deployer
from runner.engine.ledger import Ledger
from runner.experiment import plan as build
from runner.experiment.run import check_objective
from runner.experiment.run import run as carry_out
from runner.pipeline import finetune
from runner.records.environment import find_git_sha, find_versions
from runner.records.record import RECORD, Record, find_runs, flatten, keep_record, read_record
from runner.records.sweep import summarize
from runner.reproduce import past_run

log = logging.getLogger(__name__)

OUTPUTS = Path("outputs")
BESIDE_THE_RUN = ("reference", "report")
"""Groups of the config that are not among a run's params: published figures, the report."""


def run(config: DictConfig) -> float | None:
    """Run one experiment; returns its objective, for optimising sweepers."""
    folder = Path(hydra_job.get_settings().runtime.output_dir)
    record = _new(config)
    try:
        with keep_record(record, folder), progress(screen.point(record)) as (advance, report):
            plan = build.plan(config)
            tracking.check(plan.config.tracking)
            describe(record, plan)
            past_run.keep_prompts(plan, folder)
            carry_out(plan, record, folder, advance, report)
    except ConfigError:
        if record.sweep:  # a failed point belongs in the sweep's table, a typo in no tracking store
            _track(record, folder, config)
        raise
    except BudgetError:
        screen.summary(record, folder, _track(record, folder, config))
        raise
    except Exception:
        _track(record, folder, config)
        raise
    screen.summary(record, folder, _track(record, folder, config))
    return _objective(record, plan.config)


def _new(config: DictConfig) -> Record:
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
        swept=sweeping.swept(overrides, Path(hydra.sweep.dir)) if sweep else {},
    )


def describe(record: Record, plan: build.Plan) -> None:
    """Params and tags that are known before the first call."""
    config = plan.config
    record.config = build.resolved(config)
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
    tracked = _tracking(config)
    if not tracked.enabled:
        return None
    parent = None
    if record.sweep:
        with suppress(RunnerError):  # logging the run meets it again, and says so
            parent = sweeping.parent(folder.parent, config)
    return tracking.log_run(folder, tracked, parent)


def _tracking(config: DictConfig) -> TrackingConfig:
    return cast(TrackingConfig, OmegaConf.to_object(config.tracking))


def _objective(record: Record, config: RunnerConfig) -> float | None:
    if config.objective is None:
        return next((score.value for score in record.scores.values()), None)
    check_objective(config.objective, record.scores)
    return record.scores[config.objective].value


def close_sweep(folder: Path, config: DictConfig, code: int) -> int:
    """Show the sweep's table here and on its parent run; 1 if a point failed."""
    folders, done = sweeping.points(folder), find_runs(folder)
    records = [read_record(point) for point in done]
    if not records:
        return code
    line, comparison = _compared(done)
    screen.sweep(summarize(records), folder, line)
    files = {"comparison.csv": comparison} if comparison else {}
    tracking.close_sweep(sweeping.read(folder).get("parent"), folders, _tracking(config), files)
    return int(any(record.status != "finished" for record in records)) or code


def _compared(folders: Sequence[Path]) -> tuple[str, str]:
    """The points of a sweep against its first one; what cannot be compared stops no sweep."""
    from runner.report.write import compare_with_first

    try:
        return compare_with_first(folders, build.build)
    except Exception:
        log.debug("the points are not compared", exc_info=True)
        return "", ""


def list_runs(_: DictConfig) -> None:
    """Show the runs and sweeps recorded under outputs/, newest last."""
    found = sorted(OUTPUTS.glob(f"runs/*/{RECORD}")) + sorted(OUTPUTS.glob(f"sweeps/*/*/{RECORD}"))
    screen.runs([(file.parent, read_record(file.parent)) for file in found])


def write_report(config: DictConfig) -> None:
    """Turn runs and sweeps into a page and tables under outputs/reports."""
    # draws, tests and renders, which no other command needs
    from runner.report.points import find_folders
    from runner.report.write import name_report, write_report

    folders = find_folders(list(config.report.folders), OUTPUTS)
    target = OUTPUTS / "reports" / (config.report.name or name_report(folders))
    for file in write_report(folders, target, build.build, config.report.rows):
        screen.console.print(str(file))


def sync(config: DictConfig) -> None:
    """Log to MLflow what is recorded but not there, for example after the server was down."""
    logged = tracking.sync_records(OUTPUTS, _tracking(config))
    screen.console.print(f"{len(logged)} runs logged")


def cleanup(config: DictConfig) -> None:
    """Delete deployments that killed runs left behind at this provider; each costs money by the hour."""
    tuner = build.build(OmegaConf.to_container(config.provider, resolve=True), "provider").tuner()
    if not isinstance(tuner, Deployer):
        screen.console.print("this provider hosts nothing by the hour")
        return
    with closing(Ledger(config.ledger.url)) as ledger:
        names = finetune.clean_up(tuner, ledger)
    screen.console.print("\n".join(f"deleted {name}" for name in names) or "nothing was left over")
