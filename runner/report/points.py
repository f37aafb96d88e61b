"""What is reported: runs, read from their folders, numbered and named by what distinguishes them."""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from runner.core.errors import ConfigError, DataError, suggest
from runner.core.files import require_plain
from runner.core.redact import hide_keys, is_secret, names_secret_variable, remove_credentials
from runner.records.averages import Average, average_points, read_plan
from runner.records.folder import (
    PREDICTIONS,
    SWEEP,
    find_given,
    find_runs,
    list_recorded,
    read_end,
    read_notes,
)
from runner.records.record import Record, read_records, read_scored
from runner.records.sweep import last_part
from runner.report.formats import reveal_controls

IRRELEVANT_KEYS = ("tracking", "hydra", "ledger", "budget_usd", "prices", "export", "report", "reproduce")
"""Keys that do not change what is measured, and so do not distinguish runs."""
log = logging.getLogger(__name__)

ABSENT = "–"
"""Stands for an override that another run has and this one does not have."""


@dataclass(frozen=True)
class Point:
    """One run of a report. ``rows`` is None if it ended before it had any."""

    record: Record
    rows: pl.DataFrame | None
    folder: Path | None = None

    @staticmethod
    def of(average: Average) -> Point:
        """An average as a line of the report; it has no rows of its own."""
        return Point(average, None)

    @property
    def number(self) -> str:
        """How the report refers to it: ``[3]``, or ``[mean 2]`` for an average."""
        return f"[{name_job(self.record)}]"

    @property
    def name(self) -> str:
        """What distinguishes it, such as ``n_shot=3`` or ``Natural, CoT``; else the experiment's name."""
        swept = self.record.swept
        bare = len(swept) > 1
        parts = [
            str(value) if bare and isinstance(value, str) else f"{last_part(key)}={value}"
            for key, value in swept.items()
            if value != ABSENT
        ]
        plain = "all points" if isinstance(self.record, Average) else self.record.name
        return str(reveal_controls(", ".join(parts) or plain))


def name_job(record: Record) -> int | str | None:
    """The number of a point in its sweep, or the label of an average."""
    return record.label if isinstance(record, Average) else record.job


def load_averages(points: Sequence[Point]) -> list[Average]:
    """The averages over these points, if they are those of one sweep that has some."""
    folder = points[0].folder if points else None
    return average_points([point.record for point in points], read_plan(folder)) if folder else []


def find_folders(given: Sequence[str], outputs: Path) -> list[Path]:
    """The given folders of runs and sweeps, or the newest one below ``outputs`` that has a score.

    Raises:
        ConfigError: a folder holds neither, or is a ``.zip``, or nothing is recorded yet.
    """
    folders = [find_given(name, outputs, "report.folders") for name in given]
    for folder in folders:
        if folder.suffix == ".zip":
            raise ConfigError(f"report.folders: {folder}: unpack it first, and name its folder")
        if not find_runs(folder):
            known = [str(place) for place in list_recorded(outputs)]
            raise ConfigError(
                f"report.folders: {folder} holds no run and no sweep{suggest(str(folder), known)}"
            )
    if folders:
        return folders
    for folder in sorted(list_recorded(outputs), key=read_end, reverse=True):
        if any(record.scores for record in read_records(find_runs(folder)).values()):
            return [folder]
    raise ConfigError(f"report.folders: no run with a score is recorded under {outputs}")


def load_points(folders: Sequence[Path], with_rows: bool = True) -> list[Point]:
    """Every run in these folders once, in order; ``job`` is its number, ``swept`` what distinguishes it.

    Records that cannot be read are left out with a warning. Raises :class:`DataError` if none can be read.
    """
    found = read_records(dict.fromkeys(run.resolve() for folder in folders for run in find_runs(folder)))
    if not found:
        raise DataError(f"no record in {', '.join(map(str, folders))} can be read")
    records = distinguish_records(list(found.values()))
    rows = [_read_rows(run) if with_rows else None for run in found]
    return [Point(record, own, run) for record, own, run in zip(records, rows, found, strict=True)]


def distinguish_records(records: Sequence[Record]) -> list[Record]:
    """The records as points of one sweep; those of different commands get new numbers and keys."""
    sweeps = {record.sweep for record in records}
    if len(sweeps) == 1 and None not in sweeps:
        return list(records)
    overrides = [_read_overrides(record) for record in records]
    keys = list(dict.fromkeys(key for given in overrides for key in given))
    varied = [key for key in keys if len({str(given.get(key)) for given in overrides}) > 1]
    return [
        replace(record, job=number, swept={key: given.get(key, ABSENT) for key in varied})
        for number, (record, given) in enumerate(zip(records, overrides, strict=True))
    ]


def name_points(points: Sequence[Point]) -> dict[str, str]:
    """The points' names by number; the number stands before a name that several have."""
    names = Counter(point.name for point in points)
    return {
        point.number: point.name if names[point.name] == 1 else f"{point.number} {point.name}"
        for point in points
    }


def find_command(points: Sequence[Point], folders: Sequence[Path]) -> str | None:
    """The command that made all points, for a shell; None if there were several, or if it cannot be shown.

    Options of Hydra are in it, and the folder of one's own option files as seen from where it was typed.
    """
    overrides, settings = points[0].record.overrides, Path(".hydra", "hydra.yaml")
    if len(folders) != 1:
        return None
    if is_sweep := (folders[0] / SWEEP).exists():
        notes, settings = read_notes(folders[0]), Path("multirun.yaml")
        if not notes:
            return None
        overrides = list(map(str, notes.get("overrides", ())))
    hydra = _read_hydra(folders[0] / settings)
    words = ["runner", *_find_config_dir(hydra), *(["-m"] if is_sweep else []), *overrides]
    words += [text for text in _list_hydra_overrides(hydra) if text not in words]
    command = shlex.join(map(_hide_secrets, words))
    return command if reveal_controls(command) == command else None


def _hide_secrets(word: str) -> str:
    """A word of a command without what looks like a key, or is named like one or like its variable."""
    key, sign, value = word.partition("=")
    name = last_part(key)
    if sign and (is_secret(name, value) or (".env_set." in key and names_secret_variable(name))):
        return f"{key}=***"
    return hide_keys(remove_credentials(word))


def _read_hydra(file: Path) -> Mapping[str, Any]:
    """The settings of Hydra as it writes them; nothing if they are missing or cannot be read."""
    try:
        loaded = yaml.load(
            require_plain(file).read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except (OSError, ValueError, RecursionError, DataError, yaml.YAMLError):
        return {}
    return _get_mapping(_get_mapping(loaded).get("hydra"))


def _get_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _get_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _find_config_dir(hydra: Mapping[str, Any]) -> list[str]:
    """``--config-dir`` and the folder, if one was given."""
    runtime = _get_mapping(hydra.get("runtime"))
    sources = [_get_mapping(source) for source in _get_list(runtime.get("config_sources"))]
    found = [source.get("path") for source in sources if source.get("provider") == "command-line"]
    if not found or not isinstance(found[0], str) or not found[0]:
        return []
    cwd = runtime.get("cwd")
    return ["--config-dir", os.path.relpath(found[0], cwd if isinstance(cwd, str) and cwd else Path.cwd())]


def _list_hydra_overrides(hydra: Mapping[str, Any]) -> list[str]:
    """What was set of Hydra itself, such as the launcher; without the mode, which is the option ``-m``."""
    given = _get_list(_get_mapping(hydra.get("overrides")).get("hydra"))
    return [text for text in given if isinstance(text, str) and not text.startswith("hydra.mode=")]


def _read_overrides(record: Record) -> Mapping[str, Any]:
    """The overrides of a run by key, numbers as numbers, without irrelevant ones."""
    pairs = (override.lstrip("+~").partition("=") for override in record.overrides)
    given = {key: _parse_number(value) for key, _, value in pairs if key.split(".")[0] not in IRRELEVANT_KEYS}
    return given | record.swept


def _parse_number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _read_rows(run: Path) -> pl.DataFrame | None:
    """The rows of a run; None if there are none, or, with a warning, if they cannot be read."""
    try:
        return read_scored(run) if (run / PREDICTIONS).exists() else None
    except DataError as error:
        log.warning("%s; the run is reported without its rows", error)
        return None
