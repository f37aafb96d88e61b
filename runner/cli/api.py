"""Runs and sweeps as functions, for notebooks and scripts: the command line without tables and exit codes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from runner.cli.arguments import put_options_first
from runner.cli.main import start
from runner.cli.run import Outcome, Unfinished, carry_out, find_objective, log_sweep
from runner.cli.sweep import collect_sweeps
from runner.config import schema
from runner.config.explain import explain
from runner.core.errors import ConfigError, RunnerError
from runner.core.paths import CONF
from runner.records.folder import list_points
from runner.records.result import RunResult, SweepResult, load_sweep

log = logging.getLogger(__name__)


def run_once(overrides: Sequence[str], config_dir: str | Path | None) -> RunResult:
    """Run one experiment. Raises :class:`RunnerError` if it fails."""
    outcomes: list[Outcome] = []

    def command(config: DictConfig) -> None:
        outcomes.append(carry_out(config))

    try:
        _start(command, overrides, config_dir)
    except Unfinished as stopped:
        raise stopped.reason from None
    return RunResult(outcomes[0].folder, outcomes[0].record)


def run_sweep(overrides: Sequence[str], config_dir: str | Path | None) -> SweepResult:
    """Run a sweep; failed points are in the result too. Raises :class:`RunnerError` if none has a record."""
    with collect_sweeps() as sweeps:
        failure = None
        try:
            _start(run_point, ["-m", *overrides], config_dir)
        except RunnerError as error:
            failure = error
        results = [load_sweep(sweep.folder) for sweep in sweeps]
        if not results or not results[0].results:
            raise failure or ConfigError("the sweep has no points")
        if failure:
            log.warning("a point failed: %s", failure)
        for sweep in sweeps:
            log_sweep(sweep, list_points(sweep.folder))
    return results[0]


def run_point(config: DictConfig) -> float | None:
    """Run one point of a sweep and return its objective, for optimising sweepers."""
    try:
        return find_objective(carry_out(config).record, config.objective)
    except Unfinished as stopped:
        raise stopped.reason from None


def compose_config(overrides: Sequence[str], config_dir: str | Path | None) -> DictConfig:
    """Compose the config of the overrides. Raises :class:`ConfigError` with one plain message."""
    schema.register()
    search = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else []
    with _translate_errors(), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", [*overrides, *search])


def _start(command: object, overrides: Sequence[str], config_dir: str | Path | None) -> None:
    options = ["--config-dir", str(Path(config_dir).absolute())] if config_dir else []
    with _translate_errors(), _restore_logging():
        start(command, put_options_first([*options, *overrides]))  # type: ignore[arg-type]


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise errors of Hydra as :class:`ConfigError`, with the message of the command line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error)[0].removeprefix("error: ")) from error


@contextmanager
def _restore_logging() -> Iterator[None]:
    """Restore the logging of the process, which Hydra replaces for each run."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        for handler in set(logging.root.handlers) - set(handlers):
            handler.close()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
