"""Runs and sweeps as functions, for notebooks and scripts: the command line without tables and exit codes."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import DictConfig

from runner.cli.arguments import put_options_first, quote
from runner.cli.arguments.config_dir import CONFIG_DIR
from runner.cli.main import start
from runner.cli.run import Outcome, Unfinished, carry_out, find_objective
from runner.cli.sweep import collect_sweeps
from runner.cli.sweep_end import log_sweep
from runner.config import schema
from runner.config.explain import ADD_M, explain
from runner.core.errors import ConfigError, RunnerError
from runner.core.paths import CONF
from runner.engine.event_loop import end_on_signals
from runner.engine.fresh import name_fresh
from runner.records.folder import list_points
from runner.records.result import RunResult, SweepResult, load_sweep

log = logging.getLogger(__name__)

_turn = threading.RLock()

SWEEPING = ("-m", "--multirun", "hydra.mode=MULTIRUN")
SWEEP_INSTEAD = "use runner.sweep, which runs every point"


def run_once(overrides: Sequence[str], config_dir: str | Path | None) -> RunResult:
    """Run one experiment. Raises :class:`RunnerError` if it fails."""
    _check_overrides(overrides)
    if sweeping := [override for override in overrides if override in SWEEPING]:
        raise ConfigError(f"{sweeping[0]}: {SWEEP_INSTEAD}")
    ended: list[Outcome | Unfinished] = []

    def command(config: DictConfig) -> None:
        try:
            ended.append(carry_out(config))
        except Unfinished as stopped:  # raised below, since Hydra would print the overrides
            ended.append(stopped)

    _start(command, overrides, config_dir)
    (end,) = ended
    if isinstance(end, Unfinished):
        raise _shorten_traceback(end.reason) from None
    return RunResult(end.folder, end.record)


def run_sweep(overrides: Sequence[str], config_dir: str | Path | None) -> SweepResult:
    """Run a sweep; failed points are in the result too. Raises :class:`RunnerError` if none has a record."""
    _check_overrides(overrides)
    with collect_sweeps() as sweeps:
        failure: Exception | None = None
        try:
            _start(run_point, ["-m", *overrides], config_dir)
        except Exception as error:  # whatever one point raised, the others are kept
            failure = error
        results = [load_sweep(sweep.folder) for sweep in sweeps]
        for sweep, result in zip(sweeps, results, strict=True):
            mistakes = [point.folder for point in result.results if point.record.mistake]
            began = len(mistakes) < len(result.results)
            log_sweep(sweep, list_points(sweep.folder), mistakes, began=began)
        if not results or not results[0].results:
            raise failure or ConfigError("the sweep has no points")
        if failure:
            log.warning("a point failed: %s", failure)
    return results[0]


def run_point(config: DictConfig) -> float | None:
    """Run one point of a sweep and return its objective, for optimising sweepers."""
    try:
        return find_objective(carry_out(config).record, config.objective)
    except Unfinished as stopped:
        raise stopped.reason from None


def compose_config(overrides: Sequence[str], config_dir: str | Path | None) -> DictConfig:
    """Compose the config of the overrides. Raises :class:`ConfigError` with one plain message."""
    _check_overrides(overrides)
    schema.register()
    search = [f"hydra.searchpath=[{quote(f'file://{_find_folder(config_dir)}')}]"] if config_dir else []
    with _translate_errors(), _take_turn(), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", [*overrides, *search])


def _check_overrides(overrides: Sequence[str]) -> None:
    """Raise :class:`ConfigError` for a single text, and for an option of the command line."""
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: expected a list, such as [{overrides!r}], got a text")
    for override in overrides:
        if not isinstance(override, str):
            raise ConfigError(f"overrides: expected texts, such as ['dataset.limit=2'], got {override!r}")
        if override.startswith("-") and override not in (*SWEEPING, *CONFIG_DIR):
            raise ConfigError(f"{override} is an option of the command line, not an override")


def _start(command: object, overrides: Sequence[str], config_dir: str | Path | None) -> None:
    options = ["--config-dir", str(_find_folder(config_dir))] if config_dir else []
    with _translate_errors(), _take_turn(), _restore_logging(), end_on_signals():
        start(command, put_options_first([*options, *name_fresh(overrides)]))  # type: ignore[arg-type]


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise what Hydra refuses as :class:`ConfigError`, with the message of the command line.

    They are its cause only with HYDRA_FULL_ERROR=1, since their tracebacks fill the screen.
    """
    try:
        yield
    except RunnerError as error:
        if _wants_traceback():
            raise
        raise copy(error) from None  # contextlib gives the error itself its frames back
    except Exception as error:
        said, code = explain(error)
        if code != 2:
            raise
        message = said.removeprefix("error: ").replace(ADD_M, SWEEP_INSTEAD)
        raise ConfigError(message) from (error if _wants_traceback() else None)


def _find_folder(config_dir: str | Path) -> Path:
    if not Path(config_dir).is_dir():
        raise ConfigError(f"config_dir={str(config_dir)!r}: no such folder")
    return Path(config_dir).absolute()


@contextmanager
def _take_turn() -> Iterator[None]:
    """Wait for Hydra, of which a process has one, and afterwards give it back as it was.

    A notebook may have called ``hydra.initialize``, or this may be inside of ``hydra.main``.
    """
    with _turn:
        hydra_before, config_before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        GlobalHydra.instance().clear()
        try:
            yield
        finally:
            GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra_before, config_before
            setup_globals()


def _shorten_traceback(error: Exception) -> Exception:
    """Remove the many frames of Hydra from an error with a message for the user."""
    if isinstance(error, RunnerError) and not _wants_traceback():
        return error.with_traceback(None)
    return error


def _wants_traceback() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def _restore_logging() -> Iterator[None]:
    """Restore the logging of the process, which Hydra replaces for each run."""
    handlers, level, show = logging.root.handlers[:], logging.root.level, warnings.showwarning
    try:
        yield
    finally:
        for handler in set(logging.root.handlers) - set(handlers):
            handler.close()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        if warnings.showwarning is not show:
            logging.captureWarnings(False)
