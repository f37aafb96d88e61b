"""Runs in MLflow: a projection of the local records, which are complete without it.

Nothing here stops a run. A store that cannot be reached costs one warning and, later, ``runner sync``.
MLflow is imported at the first call, or ahead of it within :func:`beside`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from runner.config.schema import TrackingConfig
from runner.core.errors import RunnerError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
HEAD_START_S = 1.0
SPARED_S = 60.0
"""A hanging server costs its time-outs once in so many seconds, and not at every point of a sweep."""

_turn = threading.Lock()
_warned: set[str] = set()
_spared_until: dict[str, float] = {}


@contextmanager
def beside(config: TrackingConfig) -> Iterator[None]:
    """Get ready for logging while the block waits for servers: imports take seconds, a fresh store more.

    It begins once the block has lasted a moment, so that quick calls are not slowed, and is waited for at the
    block's end, since two threads that import the same packages may see them half made.
    """
    timer = threading.Timer(HEAD_START_S, warm_up, [config])
    timer.daemon = True
    if config.enabled:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if config.enabled:
        timer.join()


def warm_up(config: TrackingConfig) -> None:
    """Import all that logging needs, and open the store. What fails here is told when a run is logged.

    The points of a sweep do it at the same time: one works, the others wait.
    """
    with _turn, suppress(RunnerError):
        if prepare(config):
            from runner.report import figures
            from runner.tracking import runs, sweeps, sync  # noqa: F401

            figures.load()


def check(config: TrackingConfig) -> None:
    """Refuse an address that can hold no runs, without importing MLflow.

    Raises :class:`runner.core.errors.ConfigError`.
    """
    from runner.tracking import store

    if config.enabled:
        store.check(config)


def prepare(config: TrackingConfig) -> bool:
    """Create store and experiment, also while other processes do; False where the store is unreachable.

    Raises :class:`runner.core.errors.ConfigError` for an address or an experiment that cannot be used.
    """

    def work() -> bool:
        from runner.tracking import store

        store.connect(config)
        return True

    return config.enabled and bool(_attempt(work, config, RunnerError))


def log_run(folder: Path, config: TrackingConfig, parent: str | None = None) -> str | None:
    """Show the record in ``folder`` as a run below ``parent``; the run id, None if impossible.

    May be repeated: one record is one run. Without ``parent`` a sweep's point finds its sweep's parent run,
    or makes it.
    """

    def work() -> str:
        from runner.tracking import store, sync

        return sync.log_record(folder, store.connect(config), config.traces, parent)

    return _attempt(work, config) if config.enabled else None


def open_sweep(
    name: str,
    sweep_id: str,
    config: TrackingConfig,
    tags: Mapping[str, str] | None = None,
    started: float | None = None,
) -> str | None:
    """Create a sweep's parent run, or find it; the run id, None if impossible.

    Raises :class:`runner.core.errors.ConfigError` for an address or an experiment that cannot be used.
    """

    def work() -> str:
        from runner.tracking import store, sweeps

        return sweeps.start(name, sweep_id, store.connect(config), tags, started)

    return _attempt(work, config, RunnerError) if config.enabled else None


def close_sweep(
    parent: str | None,
    folders: Sequence[Path],
    config: TrackingConfig,
    files: Mapping[str, str] | None = None,
) -> None:
    """Put the summary of the points in ``folders`` on their parent run, its outcome and further texts."""

    def work() -> None:
        from runner.tracking import store, sweeps

        sweeps.close(str(parent), folders, store.connect(config), files or {})

    if config.enabled and parent is not None:
        _attempt(work, config)


def sync_records(outputs: Path, config: TrackingConfig) -> dict[Path, str]:
    """Log all records below ``outputs`` that are over and not in the store yet; run ids by folder.

    Raises :class:`runner.core.errors.RunnerError` where the store cannot be used.
    """
    from runner.tracking import store

    def work() -> dict[Path, str]:
        from runner.tracking import store, sync

        return sync.sync(outputs, store.connect(config), config.traces)

    logged, reason = _try(work, RunnerError)
    if logged is None:
        raise RunnerError(f"MLflow at {store.label(config)} cannot be used ({reason})")
    return logged


def _attempt(work: Callable[[], Result], config: TrackingConfig, *passed: type[Exception]) -> Result | None:
    """Do it, or warn once for each store and go on without; a server that failed is spared for a while."""
    from runner.tracking import store

    where = store.label(config)
    if time.monotonic() < _spared_until.get(where, 0.0):
        return None
    result, reason = _try(work, *passed)
    if reason:
        level = logging.DEBUG if where in _warned else logging.WARNING
        _warned.add(where)
        log.log(level, "MLflow at %s cannot be used (%s); `runner sync` shows the runs later", where, reason)
        if store.is_server(config):
            _spared_until[where] = time.monotonic() + SPARED_S
    return result


def _try(work: Callable[[], Result], *passed: type[Exception]) -> tuple[Result | None, str]:
    """The result, or None and what kept MLflow from working; only ``passed`` errors are raised.

    Everything else is caught: the run is paid for and its record complete, and MLflow lets errors of its
    database and of its migrations through as they are.
    """
    from runner.tracking import store

    try:
        store.load()  # before any other import of MLflow, which reads its settings then
        return work(), ""
    except passed:
        raise
    except Exception as error:
        log.debug("tracking failed", exc_info=True)
        return None, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


__all__ = ["beside", "check", "close_sweep", "log_run", "open_sweep", "prepare", "sync_records"]
