"""What is in the folder of a run, and in that of a sweep.

<run>/record.json           what was run and measured (:class:`runner.records.record.Record`)
<run>/predictions.parquet   per evaluated row: inputs, messages, completion, prediction, verdict, row scores
<run>/scored.parquet        with scoring.steps: the rows that the metrics read, with their scores
<run>/prompts/              the texts of the prompts as they were
<run>/.hydra/               the composed config and the overrides, written by Hydra
<run>/runner.log            the log

<run>/running.lock          held while the run's process lives (:mod:`runner.records.alive`)
<run>/progress.json         how far it is, while it is under way (:mod:`runner.records.progress`)

<sweep>/sweep.json          notes: name, overrides, start, parent run, whether this is closed; if it is
                            averaged, over which keys, and the swept values of all its points
<sweep>/running.lock        held while the process lives that opened the sweep
<sweep>/0/, 1/, …           its points (hydra.sweep.subdir), each the folder of a run
<sweep>/0/mistake.json      why a point could not begin, as a record; gone when the sweep is closed
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.core.errors import ConfigError
from runner.core.files import require_plain, write_atomically
from runner.records.alive import LOCK

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
SCORED = "scored.parquet"
SWEEP = "sweep.json"
LAST = "last"
"""Stands for the newest recorded run or sweep."""
MISTAKE = "mistake.json"
PROGRESS = "progress.json"
HYDRA = (".hydra", "runner.log", "multirun.yaml")
"""What Hydra writes into the folder of a run or of a sweep."""
NOTES = {
    "name": str,
    "overrides": list,
    "fixed": dict,
    "average_over": list,
    "planned": list,
    "started": float,
    "warnings": list,
    "points": int,
}
"""Types of what is in ``sweep.json``."""

log = logging.getLogger(__name__)


def find_runs(folder: Path) -> list[Path]:
    """The folder itself if it is a run's, else those of the points of the sweep in it, in their order."""
    if (folder / RECORD).exists():
        return [folder]
    return [point for point in list_points(folder) if (point / RECORD).exists()]


def list_recorded(outputs: Path) -> list[Path]:
    """The folders of the runs and sweeps that are recorded below ``outputs``, by their names."""
    folders = [*sorted(outputs.glob("runs/*")), *sorted(outputs.glob("sweeps/*"))]
    return [folder for folder in folders if find_runs(folder)]


def read_end(folder: Path) -> float:
    """When the last of the runs in a folder was written, in seconds since 1970."""
    return max((run / RECORD).stat().st_mtime for run in find_runs(folder))


def find_given(name: str, outputs: Path, key: str) -> Path:
    """The folder that was named: ``last`` is the newest recorded run or sweep, unless a folder is called so.

    Raises :class:`ConfigError` that names ``key`` if nothing is recorded.
    """
    if name != LAST or Path(name).exists():
        return Path(name)
    if recorded := list_recorded(outputs):
        return max(recorded, key=read_end)
    raise ConfigError(f"{key}: no run is recorded under {outputs}")


def write_notes(folder: Path, notes: Mapping[str, Any]) -> None:
    """Write what is known of a sweep since it was opened: name, overrides, start, parent run."""
    with write_atomically(folder / SWEEP) as file:  # points read it
        file.write_text(json.dumps(notes, indent=1, default=str))


def read_notes(folder: Path) -> dict[str, Any]:
    """What :func:`write_notes` wrote; nothing without a sweep or, with a warning, a readable file."""
    file = folder / SWEEP
    try:
        notes = json.loads(require_plain(file).read_text()) if file.exists() else {}
        wrong = [name for name, kind in NOTES.items() if not isinstance(notes.get(name, kind()), kind)]
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        notes, wrong = {}, [f"{type(error).__name__}: {error}"]
    if wrong:
        log.warning("%s cannot be read as the notes of a sweep (%s); they are left out", file, wrong[0])
    return {} if wrong else dict(notes)


def list_points(folder: Path) -> list[Path]:
    """The folders of a sweep's points, those without a record included, in the order of their numbers.

    ``hydra.sweep.subdir`` may name them otherwise, and put folders into folders.
    """
    found = {child for child in folder.glob("*/") if child.name.isdigit()}
    if (folder / SWEEP).exists():
        found |= {file.parent for name in (RECORD, ".hydra") for file in folder.rglob(name)}
    return sorted(found, key=lambda point: _split_numbers(str(point.relative_to(folder))))


def remove_traces(folder: Path, also: tuple[str, ...] = ()) -> None:
    """Remove the folder of a run or sweep that never began; one with anything else in it stays as it is.

    Empty folders in it do not count: ``hydra.sweep.subdir`` puts folders into folders.
    """
    names = {*HYDRA, LOCK, PROGRESS, *also}
    if folder.is_dir() and all(entry.name in names or _is_empty(entry) for entry in folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)


def name_folder(folder: Path) -> str:
    """A folder as seen from the current one, as the tag ``folder`` of its run.

    >>> name_folder(Path.cwd() / "outputs" / "runs" / "a")
    'outputs/runs/a'
    """
    whole, here = folder.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _is_empty(entry: Path) -> bool:
    return entry.is_dir() and all(map(_is_empty, entry.iterdir()))


def _split_numbers(name: str) -> list[str | int]:
    """
    >>> sorted(["p10", "p9"], key=_split_numbers)
    ['p9', 'p10']
    """
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
