"""One finished record becomes one MLflow run, however often it is logged."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from runner.core.files import hold_lock, user_name
from runner.records.record import PREDICTIONS, Record, read_predictions, read_record
from runner.records.sweep import last_part
from runner.tracking import artifacts, datasets, names, note, traces
from runner.tracking.store import SOURCE, Store

LOGGED = "mlflow.json"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "running": "KILLED"}


def log(folder: Path, store: Store, parent: str | None = None, wanted_traces: object = "none") -> str:
    """Log the record in ``folder`` below ``parent`` and return the MLflow run id.

    A run that was logged before, whole or in part, is completed and not made twice.
    """
    record = read_record(folder)
    with hold_lock("log", record.id), TemporaryDirectory() as staging:
        run_id = _run(record, store)
        long = {name: text for name, text in params(record).items() if len(text) > names.VALUE_LENGTH}
        tables = artifacts.stage(record, folder, long, Path(staging))
        belongs = {} if parent is None else {"mlflow.parentRunId": parent}
        _log_values(record, run_id, store, artifacts.table_tag(tables) | belongs)
        store.client.log_artifacts(run_id, staging)
        if wanted_traces not in ("none", None, 0) and (folder / PREDICTIONS).exists():
            rows = traces.choose(record, read_predictions(folder), wanted_traces)
            traces.log(record, rows, run_id, store)
        remember(folder, run_id, store)
    return run_id


def logged(folder: Path, store: Store) -> str | None:
    """The run that holds this folder's record, if it was logged whole; also one that was deleted there."""
    file = folder / LOGGED
    known = json.loads(file.read_text()) if file.exists() else {}
    if known.get("uri") != store.label:
        return None
    try:
        return str(store.client.get_run(known["run_id"]).info.run_id)
    except MlflowException:
        return None


def remember(folder: Path, run_id: str, store: Store) -> None:
    """Note in ``folder`` where its content is shown."""
    known = {"run_id": run_id, "experiment_id": store.experiment_id, "uri": store.label}
    (folder / LOGGED).write_text(json.dumps(known, indent=1))


def find(store: Store, tag: str, value: str) -> Run | None:
    """The run that carries this tag."""
    query = f"tags.{tag} = '{value}'"
    return next(iter(store.client.search_runs([store.experiment_id], query, max_results=1)), None)


def create(store: Store, name: str, tags: dict[str, str], status: str, times: tuple[float, float]) -> str:
    """A run from ``times[0]`` to ``times[1]`` that is not left RUNNING when the process is killed next."""
    started, finished = map(milliseconds, times)
    tags = {"mlflow.user": user_name(), "mlflow.source.name": SOURCE} | tags
    run = store.client.create_run(store.experiment_id, started, tags, name)
    store.client.set_terminated(run.info.run_id, status, finished)
    return str(run.info.run_id)


def milliseconds(seconds: float) -> int:
    """What MLflow counts in."""
    return int(seconds * 1000)


def _run(record: Record, store: Store) -> str:
    """The record's run: the one that is there, else a new one."""
    status, finished = STATUS[record.status], record.finished or time.time()
    found = find(store, "record_id", record.id)
    if found is not None and _fits(found, record):
        store.client.set_terminated(found.info.run_id, status, milliseconds(finished))
        return str(found.info.run_id)
    if found is not None:
        # params cannot be changed, and a run that shows old ones would be a false statement
        store.client.delete_run(found.info.run_id)
    identity = {"record_id": record.id}
    return create(store, run_name(record), identity, status, (record.started, finished))


def _fits(run: Run, record: Record) -> bool:
    wanted = _cut(params(record))
    return all(wanted.get(name) == value for name, value in run.data.params.items())


def run_name(record: Record) -> str:
    """A sweep's point is called by what sets it apart."""
    swept = ", ".join(f"{last_part(name)}={names.text(value)}" for name, value in record.swept.items())
    return swept[: names.KEY_LENGTH] or record.name


def params(record: Record) -> dict[str, str]:
    """Params by accepted name, at whatever length."""
    given = {name: value for name, value in record.params.items() if value is not None} | record.swept
    return {name: names.text(value) for name, value in names.keys(given).items()}


def _cut(whole: dict[str, str]) -> dict[str, str]:
    return {name: names.cut(value, where=artifacts.param_file(name)) for name, value in whole.items()}


def metrics(record: Record) -> dict[str, float]:
    """Scores with their bounds, plain figures and published figures, by accepted name."""
    values: dict[str, Any] = {}
    for name, score in record.scores.items():
        values |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    values |= record.figures
    values |= {f"published/{row['metric']}": row.get("published") for row in record.reference}
    return {name: float(value) for name, value in names.keys(values).items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _log_values(record: Record, run_id: str, store: Store, tags: dict[str, str]) -> None:
    """Everything that can be searched and plotted, in one call: params, metrics, curves, tags."""
    dataset = datasets.log_datasets(record, run_id, store)
    model = datasets.log_models(record, run_id, store)
    when = milliseconds(record.finished or time.time())
    single = [
        Metric(name, value, when, 0, model, *(dataset or (None, None)))
        for name, value in metrics(record).items()
    ]
    stepped = [
        Metric(name, float(value), when, step)
        for name, points in names.keys(record.curves).items()
        for step, value in points
        if _is_number(value)
    ]
    given = [Param(name, value) for name, value in _cut(params(record)).items()]
    store.client.log_batch(run_id, [*single, *stepped], given, limited(tags | _tags(record)))


def _tags(record: Record) -> dict[str, str]:
    tags = {names.key(name): value for name, value in record.tags.items() if value}
    tags |= {"record_id": record.id, "mlflow.note.content": note.of_run(record)}
    if record.sweep:
        tags["sweep_id"] = record.sweep
    if record.tags.get("git_sha"):
        tags["mlflow.source.git.commit"] = record.tags["git_sha"]
    return tags


def limited(tags: dict[str, str]) -> list[RunTag]:
    """Tags that MLflow takes; a longer value is cut with a note."""
    return [RunTag(name, names.cut(str(value), names.TAG_LENGTH)) for name, value in tags.items()]
