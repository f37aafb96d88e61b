"""The files that belong to a run: its record, its rows as a table, its figures."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from runner import figures
from runner.record import PREDICTIONS, Record
from runner.tracking import names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE = "predictions.json"
TABLE_ROWS = 2000
CELL_LENGTH = 2000
COLUMNS = (
    *("id", "order", "split", "target", "prediction", "verdict", "probability", "completion", "error"),
    *("finish_reason", "judge_completion", "judge_error", "latency_s"),
)
FOLDERS = {".hydra": "config", "prompts": "prompts"}
BOOKKEEPING = ("mlflow.json", "*.partial", "*.lock", "*.db", "*.db-*")


def stage(record: Record, folder: Path, target: Path) -> list[str]:
    """Fill ``target`` with what is uploaded; return the paths of the tables in it."""
    _copy(folder, target)
    for name, value in record.params.items():
        _long(names.key(name), names.text(value), target)
    frame = _frame(folder)
    if frame is None:
        drawn = figures.of_record(record, None)
    else:
        write_table(frame.select(_shown(frame)), target / TABLE)
        drawn = figures.of_record(record, frame)
    save(drawn, target / "figures")
    return [] if frame is None else [TABLE]


def save(drawn: dict[str, Figure], folder: Path) -> None:
    """Write figures as PNG files."""
    for name, figure in drawn.items():
        file = folder / f"{names.key(name)}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)


def write_table(frame: pl.DataFrame, file: Path) -> None:
    """Write a frame as MLflow's table format (what ``log_table`` writes), which its UI shows as a table."""
    head = frame.head(TABLE_ROWS)
    columns = [[_cell(value) for value in head[name].to_list()] for name in head.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    file.write_text(json.dumps({"columns": head.columns, "data": rows}, ensure_ascii=False, default=str))


def table_tag(paths: Iterable[str]) -> dict[str, str]:
    """The tag by which the UI knows which artifacts are tables."""
    listed = [{"path": path, "type": "table"} for path in paths]
    return {"mlflow.loggedArtifacts": json.dumps(listed)} if listed else {}


def param_file(name: str) -> str:
    """Where the whole of a long param is."""
    return f"params/{name}.txt"


def _copy(folder: Path, target: Path) -> None:
    ignore = shutil.ignore_patterns(*BOOKKEEPING)
    files = [file.name for file in folder.iterdir() if file.is_file()]
    for name in sorted(set(files) - ignore(str(folder), files)):
        shutil.copyfile(folder / name, target / name)
    for name, shown in FOLDERS.items():
        if (folder / name).is_dir():
            shutil.copytree(folder / name, target / shown, ignore=ignore)


def _long(name: str, value: str, target: Path) -> None:
    if len(value) > names.VALUE_LENGTH:
        file = target / param_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)


def _frame(folder: Path) -> pl.DataFrame | None:
    file = folder / PREDICTIONS
    return pl.read_parquet(file) if file.exists() else None


def _shown(frame: pl.DataFrame) -> list[str]:
    """The columns that say what was answered, expected and asked; nested and empty ones stay out."""
    flat = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    flat = [name for name in flat if frame[name].count()]
    known = [name for name in COLUMNS if name in flat]
    given = [name for name in flat if name not in known and not name.endswith(("_tokens", "stored"))]
    return (known + given)[:20]


def _cell(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return names.cut(value, CELL_LENGTH, PREDICTIONS) if isinstance(value, str) else value
