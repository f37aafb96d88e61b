"""Records on disk against runs in the store: each record once, each sweep's point below its sweep."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from runner.records.record import RECORD, Record, read_record
from runner.tracking import runs, sweeps
from runner.tracking.store import Store

log = logging.getLogger(__name__)


def log_record(folder: Path, store: Store, traces: object, parent: str | None = None) -> str:
    """Log one record, below its sweep's parent run if it is a point of one."""
    record = read_record(folder)
    if parent is None and record.sweep is not None:
        parent = sweeps.start(record.name, record.sweep, store, started=record.started)
    return runs.log(folder, store, parent, traces)


def sync(outputs: Path, store: Store, traces: object) -> dict[Path, str]:
    """Log every record that is over and not there; then the summaries of the sweeps that they belong to."""
    found = dict(_records(outputs))
    missing = {folder: record for folder, record in found.items() if runs.logged(folder, store) is None}
    logged = {folder: log_record(folder, store, traces) for folder in missing}
    for sweep, name in {record.sweep: record.name for record in missing.values() if record.sweep}.items():
        points = [folder for folder, record in found.items() if record.sweep == sweep]
        sweeps.close(sweeps.start(name, sweep, store), points, store)
    return logged


def _records(outputs: Path) -> Iterator[tuple[Path, Record]]:
    """Readable records that are no longer running, oldest first."""
    for file in sorted(outputs.rglob(RECORD)):
        try:
            record = read_record(file.parent)
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s is no readable record (%s)", file, error)
            continue
        if record.status != "running":
            yield file.parent, record
