"""The artifacts of a run: the files of its record, its rows as a table, its figures."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from runner.core.errors import ConfigError
from runner.core.files import require_inside
from runner.core.redact import remove_credentials
from runner.core.types import list_members
from runner.records.folder import PREDICTIONS
from runner.records.record import Record, read_scored
from runner.records.result import find_right_score, order_columns
from runner.report import figures
from runner.tracking import names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

TABLE = "predictions.json"
TABLE_ROWS = 2000
CELL_LENGTH = 2000
TABLE_COLUMNS = 24
DETAILS = (
    *("error", "reading", "probability", "reasoning", "finish_reason"),
    *("judge_reading", "judge_completion", "judge_reasoning", "judge_error"),
)
"""What tells most about an answer, after its scores."""
LAST = ("split", "order", "latency_s", "cost_usd", "answered_by")
UNTOLD = ("_tokens", "stored", "ledger_key")
FOLDERS = {".hydra": "config", "prompts": "prompts"}
TEXTS = (".json", ".yaml", ".log")
BOOKKEEPING = ("mlflow.json", "progress.json", "*.partial", "*.lock", "*.db", "*.db-*")


def collect_files(record: Record, folder: Path, long: Mapping[str, str], target: Path) -> list[str]:
    """Write what is uploaded into ``target``; return the paths of the tables in it.

    ``long`` holds the texts of params that MLflow gets only in part, by name.
    """
    _copy_files(folder, target)
    for name, text in long.items():
        file = target / get_param_path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    frame = read_scored(folder) if (folder / PREDICTIONS).exists() else None
    save_figures(figures.draw_run(record, frame), target / "figures")
    if frame is None:
        return []
    write_table(choose_columns(frame, record), target / TABLE)
    return [TABLE]


def save_figures(drawn: Mapping[str, Figure | str], folder: Path) -> None:
    """Write figures as PNG files, and those that are text as SVG files."""
    for name, figure in drawn.items():
        file = folder / f"{names.clean_key(name)}.{'svg' if isinstance(figure, str) else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(figure, str):
            file.write_text(figure)
        else:  # ``savefig`` would draw it twice, once for the layout
            from matplotlib.backends.backend_agg import FigureCanvasAgg

            FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]


def write_table(frame: pl.DataFrame, file: Path) -> None:
    """Write a frame in the format of MLflow's ``log_table``, which its UI shows as a table."""
    head = frame.head(TABLE_ROWS)
    columns = [[_format_cell(value) for value in head[name].to_list()] for name in head.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    file.write_text(json.dumps({"columns": head.columns, "data": rows}, ensure_ascii=False, default=str))


def make_table_tag(paths: Iterable[str]) -> dict[str, str]:
    """The tag that tells the UI which artifacts are tables."""
    listed = [{"path": path, "type": "table"} for path in paths]
    return {"mlflow.loggedArtifacts": json.dumps(listed)} if listed else {}


def get_param_path(name: str) -> str:
    """The path of the artifact that holds a long param as a whole."""
    return f"params/{name}.txt"


def _copy_files(folder: Path, target: Path) -> None:
    ignore = shutil.ignore_patterns(*BOOKKEEPING)
    files = [file.name for file in folder.iterdir() if file.is_file() and _is_own(file, folder)]
    for name in sorted(set(files) - ignore(str(folder), files)):
        _copy_file(str(folder / name), str(target / name))

    def ignore_others(inner: str, found: list[str]) -> set[str]:
        return ignore(inner, found) | {name for name in found if not _is_own(Path(inner, name), folder)}

    for name, renamed in FOLDERS.items():
        if (folder / name).is_dir() and _is_own(folder / name, folder):
            shutil.copytree(folder / name, target / renamed, ignore=ignore_others, copy_function=_copy_file)


def _is_own(file: Path, folder: Path) -> bool:
    """Whether a file may be uploaded: no link out of the run's folder, and no pipe."""
    try:
        return require_inside(file, folder).exists()
    except ConfigError as error:
        log.warning("%s; it is not uploaded", error)
        return False


def _copy_file(source: str, target: str) -> None:
    """Copy a file; texts without the credentials that a URL in a config may carry."""
    if source.endswith(TEXTS):
        Path(target).write_text(remove_credentials(Path(source).read_text()))
    else:
        shutil.copyfile(source, target)


def choose_columns(frame: pl.DataFrame, record: Record) -> pl.DataFrame:
    """The table of the rows: answer, target, whether it is correct, scores, details; then what was asked.

    ``correct`` is what :func:`find_right_score` says. Nested and empty columns are left out, and what
    the judges of a panel say is in the columns of all of them.
    """
    judges = list_members(frame.columns)
    verdicts = [f"judge_{name}_verdict" for name in judges]
    own = tuple(f"judge_{name}_" for name in judges)
    frame = frame.drop(name for name in frame.columns if name.startswith(own) and name not in verdicts)
    right = find_right_score(record)
    if right in frame.columns and "correct" not in frame.columns:
        frame = frame.with_columns(correct=pl.col(right) == 1)
    flat = [name for name, kind in frame.schema.items() if not kind.is_nested() and frame[name].count()]
    given = [name for name in flat if name not in LAST and not name.endswith(UNTOLD)]
    ordered = order_columns(given, [*record.row_scores, "verdict", *verdicts, *DETAILS])
    return frame.select((ordered + [name for name in LAST if name in flat])[:TABLE_COLUMNS])


def _format_cell(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return names.truncate(value, CELL_LENGTH, PREDICTIONS) if isinstance(value, str) else value
