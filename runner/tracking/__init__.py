"""Runs in MLflow: a copy of the local records, which are complete without it.

Nothing here stops a run. If a store cannot be reached there is one warning, and ``runner sync`` copies later.
MLflow is imported at the first call, or ahead of it by :func:`import_all`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from runner.config.schema import TrackingConfig
from runner.core.errors import RunnerError
from runner.records.progress import Progress

log = logging.getLogger(__name__)

Result = TypeVar("Result")
HANGS_S = 5.0
"""A request that takes longer than this before it fails is not tried again for a while."""
KILL_S = 1.0
"""How long the end of an interrupted run may wait for MLflow."""
PAUSE_S = 60.0
"""A server that failed is left alone for so long: its time-outs would delay every point of a sweep."""

_turn = threading.Lock()
_warned: set[str] = set()
_paused_until: dict[str, float] = {}


def import_all() -> None:
    """Import what logging needs, which takes seconds. Points of a sweep wait for the first of them."""
    with _turn, suppress(Exception):  # reported when a run is logged
        from runner.tracking import store

        store.import_mlflow()
        from runner.report import figures
        from runner.tracking import runs, sweeps, sync  # noqa: F401

        figures.import_matplotlib()


def check(config: TrackingConfig) -> None:
    """Refuse an address in which MLflow cannot keep runs, without importing MLflow.

    Raises :class:`runner.core.errors.ConfigError`.
    """
    from runner.tracking import store

    if config.enabled:
        store.check(config)


def name_place(config: TrackingConfig) -> str:
    """Store and experiment in one text, without credentials."""
    from runner.tracking import store

    return f"{config.experiment_name or store.EXPERIMENT} in {store.describe_store(config)}"


def read_place(text: object, config: TrackingConfig) -> TrackingConfig | None:
    """The settings for a place that :func:`name_place` named; None if it is not in ``config``'s store."""
    from runner.tracking import store

    experiment, _, address = str(text).rpartition(" in ")
    return replace(config, experiment_name=experiment) if address == store.describe_store(config) else None


def is_reachable(config: TrackingConfig) -> bool:
    """Whether tracking is on, and its store has not failed in this process: the next command tries again."""
    from runner.tracking import store

    with suppress(OSError, ValueError):
        store.probe(config)  # without importing MLflow
        return config.enabled and store.describe_store(config) not in _warned
    return False


def prepare(config: TrackingConfig) -> bool:
    """Create store and experiment, if other processes have not; False if the store is unreachable.

    Raises :class:`runner.core.errors.ConfigError` for an address or an experiment that cannot be used.
    """

    def work() -> bool:
        from runner.tracking import store

        store.connect(config)
        return True

    return config.enabled and bool(_run_or_warn(work, config, RunnerError))


def log_run(
    folder: Path, config: TrackingConfig, parent: str | None = None, last: Progress | None = None
) -> str | None:
    """Log the record in ``folder`` as a run below ``parent`` and return the run id, None if that fails.

    It may be repeated: one record is one run. Without ``parent``, a point of a sweep goes below the parent
    run of its sweep, which is created if necessary. ``last`` is how far it came, if it was shown meanwhile.
    """

    def work() -> str:
        from runner.tracking import store, sync

        return sync.log_record(folder, store.connect(config), config.traces, parent, last)

    return _run_or_warn(work, config) if config.enabled else None


def open_sweep(
    name: str,
    sweep_id: str,
    config: TrackingConfig,
    tags: Mapping[str, str] | None = None,
    started: float | None = None,
) -> str | None:
    """Find or create a sweep's parent run and return its id, None if that fails.

    Raises :class:`runner.core.errors.ConfigError` for an address or an experiment that cannot be used.
    """

    def work() -> str:
        from runner.tracking import store, sweeps

        return sweeps.open_sweep(name, sweep_id, store.connect(config), tags, started)

    return _run_or_warn(work, config, RunnerError) if config.enabled else None


def close_sweep(
    parent: str | None,
    folders: Sequence[Path],
    config: TrackingConfig,
    files: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
    killed: bool = False,
) -> bool:
    """Log the summary of the points in ``folders``, the outcome and further texts on their parent run.

    Returns whether there is nothing left to log.
    """

    def work() -> bool:
        from runner.tracking import store, sweeps

        sweeps.close_sweep(str(parent), folders, store.connect(config), files or {}, warnings, killed)
        return True

    return parent is None or not config.enabled or bool(_run_or_warn(work, config))


def drop_run(run_id: str | None, config: TrackingConfig) -> None:
    """Delete the run of what never began, if it was opened."""

    def work() -> None:
        from runner.tracking import store

        store.connect(config).client.delete_run(str(run_id))

    if config.enabled and run_id is not None:
        _run_or_warn(work, config)


def kill_runs(run_ids: Sequence[str], config: TrackingConfig) -> None:
    """End runs as KILLED, as far as it can be done within a second; the next command does the rest."""

    def work() -> None:
        from runner.tracking import store

        client = store.connect(config).client
        for run_id in run_ids:
            if client.get_run(run_id).info.status == "RUNNING":
                client.set_terminated(run_id, "KILLED")

    if config.enabled and run_ids and "mlflow" in sys.modules:
        killer = threading.Thread(target=_run_guarded, args=[work], daemon=True)
        killer.start()
        killer.join(KILL_S)


def sync_records(outputs: Path, config: TrackingConfig) -> dict[Path, str]:
    """Log all finished records below ``outputs`` that are not in the store yet; return run ids by folder.

    Without ``config.experiment_name`` each goes into the experiment that its own config names.

    Raises :class:`runner.core.errors.RunnerError` if the store cannot be used.
    """
    from runner.tracking import store

    def work() -> dict[Path, str]:
        from runner.tracking import store, sync

        store.probe(config)  # also where nothing is to be logged

        def connect(name: str) -> store.Store:
            return store.connect(replace(config, experiment_name=config.experiment_name or name))

        return sync.sync_records(outputs, connect, config.traces)

    logged, reason = _run_guarded(work, RunnerError)
    if logged is None:
        raise RunnerError(f"MLflow at {store.describe_store(config)} cannot be used ({reason})")
    return logged


def show_or_warn(work: Callable[[], None], config: TrackingConfig) -> None:
    """Show a run that is under way. A failure is one warning for each store, and the next try may succeed.

    Only a server that hangs is left alone for a while, since the end of the run would have to wait for it.
    """
    from runner.tracking import store

    if time.monotonic() < _paused_until.get(store.describe_store(config), 0.0):
        return
    began = time.monotonic()
    _, reason = _run_guarded(work)
    if reason and time.monotonic() - began > HANGS_S:
        leave_alone(config, reason)
    elif reason:
        _warn(config, reason)


def leave_alone(config: TrackingConfig, reason: str) -> None:
    """Warn that a store cannot be used; a server is not tried again for a while."""
    from runner.tracking import store

    _warn(config, reason)
    if store.is_server(config):
        _paused_until[store.describe_store(config)] = time.monotonic() + PAUSE_S


def _warn(config: TrackingConfig, reason: str) -> None:
    from runner.tracking import store

    where = store.describe_store(config)
    level = logging.DEBUG if where in _warned else logging.WARNING
    _warned.add(where)
    said = "MLflow at %s cannot be used (%s); `runner sync` logs later what is missing there"
    log.log(level, said, where, reason)


def _run_or_warn(
    work: Callable[[], Result], config: TrackingConfig, *passed: type[Exception]
) -> Result | None:
    """The result, or None with one warning per store; a server that failed is not tried again for a while."""
    from runner.tracking import store

    where = store.describe_store(config)
    if time.monotonic() < _paused_until.get(where, 0.0):
        return None
    result, reason = _run_guarded(work, *passed)
    if reason:
        leave_alone(config, reason)
    return result


def _run_guarded(work: Callable[[], Result], *passed: type[Exception]) -> tuple[Result | None, str]:
    """The result, or None and the reason of the failure; only errors of the types ``passed`` are raised.

    Everything else is caught, since the run is paid for and its record is complete. MLflow lets errors of its
    database and of its migrations through as they are.
    """
    from runner.tracking import store

    try:
        store.import_mlflow()  # before any other import of MLflow, which reads its settings then
        return work(), ""
    except passed:
        raise
    except Exception as error:
        log.debug("tracking failed", exc_info=True)
        return None, store.describe_error(error)


__all__ = [
    "check",
    "close_sweep",
    "drop_run",
    "import_all",
    "is_reachable",
    "kill_runs",
    "log_run",
    "name_place",
    "open_sweep",
    "prepare",
    "read_place",
    "sync_records",
]
