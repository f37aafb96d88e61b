"""The parent run of a sweep: the params that its points share, their table, a plot for each score."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from mlflow.entities import Metric, Param

from runner.core.errors import count_of
from runner.core.files import hold_lock
from runner.records.averages import Average, average_points, describe_averages, name_values, read_plan
from runner.records.folder import RECORD
from runner.records.progress import read_progress
from runner.records.record import Record, read_records
from runner.records.sweep import column_names, main_score_names, score_names, shared_params, summarize
from runner.report import figures
from runner.tracking import artifacts, best, names, note, run_names, runs
from runner.tracking.store import Store
from runner.tracking.sweep_curves import Curves, trace_curves

TABLE = "sweep.csv"
MAX_PLOTS = 8
NOTE_SCORES = 4
MARKS = {True: "\u00a0✓", False: "\u00a0✗", None: ""}


def open_sweep(
    name: str,
    sweep_id: str,
    store: Store,
    tags: Mapping[str, str] | None = None,
    started: float | None = None,
    is_alive: bool = True,
) -> str:
    """Find or create the parent run of this sweep and return its id. It is RUNNING if the sweep ``is_alive``.

    If that sweep is killed, the next command in its folder ends the run.
    """
    with hold_lock("sweep", sweep_id):
        found = runs.find_run(store, "sweep_parent", sweep_id)
        if found is not None:
            if is_alive and found.info.status != runs.RUNNING:  # a sweep that is run again in its folder
                store.client.update_run(found.info.run_id, runs.RUNNING)
            return str(found.info.run_id)
        now = time.time()
        identity = {"sweep_id": sweep_id, "sweep_parent": sweep_id, "stage": "sweep"}
        given = {names.clean_key(key): value for key, value in (tags or {}).items()}
        named = run_names.name_sweep(name)
        status = runs.RUNNING if is_alive else "KILLED"
        return runs.create_run(store, named, given | identity, status, (started or now, now))


def close_sweep(
    parent: str,
    folders: Sequence[Path],
    store: Store,
    files: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
    killed: bool = False,
) -> None:
    """Log table, plots, curves, shared params, further files and the outcome on the parent run.

    This may be repeated. The run gets the name of what was swept, if nobody has given it another one.
    The outcome is KILLED if the sweep was ``killed``.
    """
    recorded = (folder for folder in folders if (folder / RECORD).exists())
    records = list(read_records(recorded).values())
    averages = average_points(records, read_plan(folders[0])) if folders else []
    frame = summarize(records, averages)
    with TemporaryDirectory() as staging:
        _collect_files(frame, records, Path(staging))
        for name, text in (files or {}).items():
            Path(staging, name).write_text(text)
        store.client.log_artifacts(parent, staging)
    _log_values(parent, records, averages, len(folders), store)
    _log_curves(parent, curves := trace_curves(records), store)
    tags = best.tag_best(records, averages, store)
    said = [*filter(None, [best.describe(tags)]), *describe_averages(averages)]
    text = _describe_sweep(frame, records, len(folders), warnings, curves, said)
    store.client.log_batch(parent, tags=runs.make_tags(tags | {"mlflow.note.content": text}))
    _rename(parent, records, len(folders), store)
    status = "KILLED" if killed else find_status(records, len(folders))
    store.client.set_terminated(parent, status, _find_end(parent, folders, records, store))


def _find_end(parent: str, folders: Sequence[Path], records: Sequence[Record], store: Store) -> int:
    """When the last point ended or was last seen, in ms; at the earliest the start."""
    seen = [progress.time for folder in folders if (progress := read_progress(folder))]
    last = max([record.finished or 0.0 for record in records] + seen, default=0.0)
    return max(runs.to_milliseconds(last), int(store.client.get_run(parent).info.start_time))


def find_status(records: Sequence[Record], wanted: int) -> str:
    """FAILED if a point failed or has no record, KILLED if one was stopped, else FINISHED."""
    states = {record.status for record in records}
    if "failed" in states or len(records) < wanted:
        return "FAILED"
    return "KILLED" if states & {"stopped", "killed", "running"} else "FINISHED"


def _collect_files(frame: pl.DataFrame, records: Sequence[Record], folder: Path) -> None:
    frame.write_csv(folder / TABLE)
    (folder / "sweep.md").write_text(format_summary(frame) + "\n")
    swept = list(column_names(records).values())
    points = summarize(records)
    plots = {
        metric: figures.draw_sweep(points, metric, swept) for metric in main_score_names(records)[:MAX_PLOTS]
    }
    artifacts.save_figures(
        {name: plot for name, plot in plots.items() if plot is not None}, folder / "figures"
    )


def format_summary(frame: pl.DataFrame, gap: str = "") -> str:
    """The summary as a markdown table; columns without any value are left out."""
    filled = [name for name in frame.columns if frame[name].count()]
    rows = [[note.format_cell(value) for value in row] for row in frame.select(filled).rows()]
    return note.format_table(filled, rows, gap)


def _describe_sweep(
    frame: pl.DataFrame,
    records: Sequence[Record],
    wanted: int,
    warnings: Sequence[str],
    curves: Curves | None,
    said_of_points: Sequence[str],
) -> str:
    """The text for MLflow's page: what is said of the points, and the first scores.

    A score is marked if a replay meets its figure.
    """
    done = sum(record.status == "finished" for record in records)
    scores = score_names(records)
    beside = [
        f"{name}_{side}" for name in scores for side in ("low", "high", "published", "standing", "agrees")
    ]
    first = main_score_names(records)[:NOTE_SCORES]
    compact = frame.with_columns(_mark_scores(frame, name) for name in first)
    rest = [name for name in scores if name not in first]
    compact = compact.drop(rest, [f"{name}_sd" for name in rest], *beside, strict=False)
    head = f"{done} of {count_of(wanted, 'point')} finished; all scores are in {TABLE}"
    said = dict.fromkeys([*warnings, *(warning for record in records for warning in record.warnings)])
    parts = [
        head,
        *said_of_points,
        *([curves.describe()] if curves else []),
        *(f"**warning**: {warning}" for warning in said),
        format_summary(compact, note.GAP),
    ]
    return "\n\n".join(parts)


def _mark_scores(frame: pl.DataFrame, metric: str) -> pl.Series:
    agrees = frame[f"{metric}_agrees"] if f"{metric}_agrees" in frame.columns else [None] * frame.height
    marks = [MARKS[agree] for agree in agrees]
    return pl.Series(
        metric, [note.format_cell(value) + mark for value, mark in zip(frame[metric], marks, strict=True)]
    )


def _log_values(
    parent: str, records: Sequence[Record], averages: Sequence[Average], wanted: int, store: Store
) -> None:
    now = runs.to_milliseconds(time.time())
    values: dict[str, Any] = {
        "usage/points": wanted,
        "usage/points_finished": sum(record.status == "finished" for record in records),
    }
    costs = [record.figures.get("cost_usd") for record in records]
    if None not in costs:
        values["usage/cost_usd"] = sum(cost for cost in costs if cost is not None)
    for average in averages:
        values |= name_values(average)
    given = names.clean_keys(shared_params(records))
    shared = {
        name: names.truncate(names.format_value(value)) for name, value in given.items() if value is not None
    }
    known = store.client.get_run(parent).data.params
    new = [Param(name, value) for name, value in shared.items() if name not in known]
    counted = [Metric(name, float(value), now, 0) for name, value in names.clean_keys(values).items()]
    store.client.log_batch(parent, counted, new)


def _log_curves(parent: str, curves: Curves | None, store: Store) -> None:
    """Log each score over the swept number; the times are the points', so that a repetition adds nothing."""
    found = names.clean_keys(curves.points) if curves else {}
    metrics = [
        Metric(name, value, runs.to_milliseconds(when), step)
        for name, points in found.items()
        for step, value, when in points
    ]
    store.client.log_batch(parent, metrics)


def _rename(parent: str, records: Sequence[Record], wanted: int, store: Store) -> None:
    old = str(store.client.get_run(parent).info.run_name)
    if records and old.startswith(run_names.SWEEP):
        name = old.removeprefix(run_names.SWEEP)
        store.client.update_run(parent, name=run_names.name_sweep(name, records, wanted))
