"""Log records from disk: each record once, each point of a sweep below its sweep."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from runner.core.errors import ConfigError, DataError, RunnerError
from runner.records.folder import RECORD
from runner.records.progress import Progress, read_progress
from runner.records.record import Record, read_record, read_records
from runner.tracking import runs, sweeps
from runner.tracking.store import Store

log = logging.getLogger(__name__)


def log_record(
    folder: Path, store: Store, traces: object, parent: str | None = None, last: Progress | None = None
) -> str:
    """Log one record, below its sweep's parent run if it is a point of one."""
    record = read_record(folder)
    if parent is None and record.sweep is not None:
        parent = sweeps.open_sweep(record.name, record.sweep, store, None, record.started, is_alive=False)
    return runs.log_run(folder, store, parent, traces, last)


def sync_records(outputs: Path, connect: Callable[[str], Store], traces: object) -> dict[Path, str]:
    """Log every finished record that is missing, then the summaries of the sweeps that they belong to.

    ``connect`` opens the store at the experiment of this name.
    """
    found = _find_records(outputs)
    faults: list[RunnerError] = []
    stores: dict[str, Store] = {}
    for name in dict.fromkeys(map(find_experiment, found.values())):
        try:
            stores[name] = connect(name)
        except ConfigError as error:
            log.warning("%s; its runs are not logged", error)
            faults.append(error)
    found = {folder: record for folder, record in found.items() if find_experiment(record) in stores}
    opened = {folder: stores[find_experiment(record)] for folder, record in found.items()}
    missing = {
        folder: record for folder, record in found.items() if runs.find_logged(folder, opened[folder]) is None
    }
    logged: dict[Path, str] = {}
    for folder in missing:
        try:
            logged[folder] = log_record(folder, opened[folder], traces, last=read_progress(folder))
        except DataError as error:
            log.warning("%s; it is not logged", error)
            faults.append(error)
    if faults and not logged:
        raise faults[0]
    for sweep, name in {record.sweep: record.name for record in missing.values() if record.sweep}.items():
        points = [folder for folder, record in found.items() if record.sweep == sweep]
        store = opened[points[0]]
        sweeps.close_sweep(sweeps.open_sweep(name, sweep, store, is_alive=False), points, store)
    return logged


def find_experiment(record: Record) -> str:
    """The name of the experiment in MLflow that a record belongs to."""
    settings = record.config.get("tracking")
    given = settings.get("experiment_name") if isinstance(settings, dict) else None
    return str(given or record.name)


def _find_records(outputs: Path) -> dict[Path, Record]:
    """Readable records that are no longer running and belong in MLflow, oldest first."""
    found = read_records(file.parent for file in sorted(outputs.rglob(RECORD)))
    ended = {folder: record for folder, record in found.items() if record.status != "running"}
    return {folder: record for folder, record in ended.items() if _is_wanted(record)}


def _is_wanted(record: Record) -> bool:
    """Whether the run itself should have logged it: not with ``tracking=none``, and no mistake."""
    settings = record.config.get("tracking")
    enabled = settings.get("enabled", True) if isinstance(settings, dict) else True
    return enabled and not record.mistake
