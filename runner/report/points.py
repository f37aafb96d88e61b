"""What is reported: runs read back from their folders, numbered and told apart."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.errors import ConfigError, suggest
from runner.core.redact import remove_credentials
from runner.records.record import PREDICTIONS, RECORD, SWEEP, Record, find_runs, read_predictions, read_record
from runner.records.sweep import last_part

BESIDE_THE_POINT = ("tracking", "hydra", "ledger", "budget_usd", "prices", "export", "report", "reproduce")
"""Keys that change nothing of what is measured, and so tell no two runs apart."""
ABSENT = "–"
"""What stands for an override that another run has and this one has not."""


@dataclass(frozen=True)
class Point:
    """One run of a report. ``rows`` is None where it ended before there were any."""

    record: Record
    rows: pl.DataFrame | None

    @property
    def number(self) -> str:
        """How the report refers to it: ``[3]``."""
        return f"[{self.record.job}]"

    @property
    def name(self) -> str:
        """What sets it apart: ``n_shot=3``, ``Natural, CoT``, or the experiment where nothing does."""
        swept = self.record.swept
        bare = len(swept) > 1
        parts = [
            str(value) if bare and isinstance(value, str) else f"{last_part(key)}={value}"
            for key, value in swept.items()
            if value != ABSENT
        ]
        return ", ".join(parts) or self.record.name


def find_folders(given: Sequence[str], outputs: Path) -> list[Path]:
    """The folders of runs and sweeps that are meant; without any, the newest one below ``outputs``.

    Raises:
        ConfigError: a folder that is neither, or nothing recorded yet.
    """
    for folder in map(Path, given):
        if not find_runs(folder):
            known = [str(place) for place in _recorded(outputs)]
            raise ConfigError(
                f"report.folders: {folder} holds no run and no sweep{suggest(str(folder), known)}"
            )
    if given:
        return [Path(folder) for folder in given]
    recorded = _recorded(outputs)
    if not recorded:
        raise ConfigError(f"report.folders: no run is recorded under {outputs}")
    return [max(recorded, key=_ended)]


def load_points(folders: Sequence[Path]) -> list[Point]:
    """Every run in these folders once, in order; ``job`` numbers them and ``swept`` tells them apart."""
    found = list(dict.fromkeys(run.resolve() for folder in folders for run in find_runs(folder)))
    records = told_apart([read_record(run) for run in found])
    return [Point(record, _rows(run)) for record, run in zip(records, found, strict=True)]


def told_apart(records: Sequence[Record]) -> list[Record]:
    """The records as points of one sweep: points of one stay what they are, others get numbers and keys."""
    sweeps = {record.sweep for record in records}
    if len(sweeps) == 1 and None not in sweeps:
        return list(records)
    overrides = [_overrides(record) for record in records]
    keys = list(dict.fromkeys(key for given in overrides for key in given))
    varied = [key for key in keys if len({str(given.get(key)) for given in overrides}) > 1]
    return [
        replace(record, job=number, swept={key: given.get(key, ABSENT) for key in varied})
        for number, (record, given) in enumerate(zip(records, overrides, strict=True))
    ]


def command(points: Sequence[Point], folders: Sequence[Path]) -> str | None:
    """What was typed, as far as one command made all points."""
    overrides = points[0].record.overrides
    if len(folders) != 1:
        return None
    if (folders[0] / SWEEP).exists():
        overrides = ["-m", *json.loads((folders[0] / SWEEP).read_text())["overrides"]]
    return remove_credentials(shlex.join(["runner", *overrides]))


def _overrides(record: Record) -> Mapping[str, Any]:
    """The overrides of a run by key, numbers as numbers, without those that are beside the point."""
    pairs = (override.lstrip("+~").partition("=") for override in record.overrides)
    given = {key: _number(value) for key, _, value in pairs if key.split(".")[0] not in BESIDE_THE_POINT}
    return given | record.swept


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _recorded(outputs: Path) -> list[Path]:
    folders = sorted([*outputs.glob("runs/*"), *outputs.glob("sweeps/*")])
    return [folder for folder in folders if find_runs(folder)]


def _ended(folder: Path) -> float:
    return max((run / RECORD).stat().st_mtime for run in find_runs(folder))


def _rows(run: Path) -> pl.DataFrame | None:
    return read_predictions(run) if (run / PREDICTIONS).exists() else None
