"""Log a record as one MLflow run, however often that is repeated."""

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
from runner.records.folder import PREDICTIONS
from runner.records.record import Record, read_predictions, read_record
from runner.records.sweep import PARSED
from runner.tracking import artifacts, datasets, names, note, run_names, traces
from runner.tracking.store import SOURCE, Store

LOGGED = "mlflow.json"
CHARTED = "Scores/"
STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
    "killed": "KILLED",
    "running": "KILLED",
}


def log_run(folder: Path, store: Store, parent: str | None = None, wanted_traces: object = "none") -> str:
    """Log the record in ``folder`` below ``parent`` and return the MLflow run id.

    A run that was logged before, whole or in part, is completed and not created again.
    """
    record = read_record(folder)
    with hold_lock("log", record.id), TemporaryDirectory() as staging:
        run_id = _find_or_create(record, store)
        long = {name: text for name, text in collect_params(record).items() if len(text) > names.VALUE_LENGTH}
        tables = artifacts.collect_files(record, folder, long, Path(staging))
        belongs = {} if parent is None else {"mlflow.parentRunId": parent}
        _log_values(record, run_id, store, artifacts.make_table_tag(tables) | belongs)
        store.client.log_artifacts(run_id, staging)
        if wanted_traces not in ("none", None, 0) and (folder / PREDICTIONS).exists():
            rows = traces.choose_rows(record, read_predictions(folder), wanted_traces)
            traces.log_traces(record, rows, run_id, store)
        write_note(folder, run_id, store)
    return run_id


def find_logged(folder: Path, store: Store) -> str | None:
    """The id of the run of this record if all of it was logged, even if somebody deleted the run there."""
    file = folder / LOGGED
    try:
        known = json.loads(file.read_text()) if file.exists() else {}
        if known.get("uri") != store.label:
            return None
        return str(store.client.get_run(known["run_id"]).info.run_id)
    except (MlflowException, OSError, ValueError, AttributeError, LookupError):
        return None  # also if the note cannot be read: the run is logged again, and one record is one run


def write_note(folder: Path, run_id: str, store: Store) -> None:
    """Note in ``folder`` which run shows its content."""
    known = {"run_id": run_id, "experiment_id": store.experiment_id, "uri": store.label}
    (folder / LOGGED).write_text(json.dumps(known, indent=1))


def find_run(store: Store, tag: str, value: str) -> Run | None:
    """The run that has this tag, or None."""
    query = f"tags.{tag} = '{value}'"
    return next(iter(store.client.search_runs([store.experiment_id], query, max_results=1)), None)


def create_run(store: Store, name: str, tags: dict[str, str], status: str, times: tuple[float, float]) -> str:
    """Create a run from ``times[0]`` to ``times[1]`` that does not stay RUNNING if this process is killed."""
    started, finished = map(to_milliseconds, times)
    tags = {"mlflow.user": user_name(), "mlflow.source.name": SOURCE} | tags
    run = store.client.create_run(store.experiment_id, started, tags, name)
    store.client.set_terminated(run.info.run_id, status, finished)
    return str(run.info.run_id)


def to_milliseconds(seconds: float) -> int:
    """Seconds as the milliseconds that MLflow expects."""
    return int(seconds * 1000)


def _find_or_create(record: Record, store: Store) -> str:
    """The id of the record's run, found or created."""
    status, finished = STATUS[record.status], record.finished or time.time()
    found = find_run(store, "record_id", record.id)
    if found is not None and _has_same_params(found, record):
        store.client.set_terminated(found.info.run_id, status, to_milliseconds(finished))
        return str(found.info.run_id)
    if found is not None:
        # params cannot be changed, and old ones would be wrong
        store.client.delete_run(found.info.run_id)
    identity = {"record_id": record.id}
    return create_run(store, run_names.name_run(record), identity, status, (record.started, finished))


def _has_same_params(run: Run, record: Record) -> bool:
    wanted = _truncate_all(collect_params(record))
    return all(wanted.get(name) == value for name, value in run.data.params.items())


def collect_params(record: Record) -> dict[str, str]:
    """Params by accepted name, of any length."""
    given = {name: value for name, value in record.params.items() if value is not None} | record.swept
    return {name: names.format_value(value) for name, value in names.clean_keys(given).items()}


def _truncate_all(whole: dict[str, str]) -> dict[str, str]:
    return {
        name: names.truncate(value, where=artifacts.get_param_path(name)) for name, value in whole.items()
    }


def collect_metrics(record: Record) -> dict[str, float]:
    """The numbers of a run by accepted name, scores first.

    ``accuracy`` is a score over all rows; ``interval/accuracy_low`` and ``_high`` are its bounds;
    ``parsed/accuracy``, with its own bounds, is over parsed rows only; ``published/accuracy`` is a paper's;
    ``usage/…`` are counts of rows, tokens and dollars. ``Scores/accuracy`` is the score again, since MLflow's
    charts show groups by name, capitals first, and what is in no group last.
    """
    scores: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    for name, score in record.scores.items():
        bounds = {"low": score.low, "high": score.high}
        main = name.removesuffix(PARSED)
        if main != name and main in record.scores:
            beside[f"parsed/{main}"] = score.value
            beside |= {f"parsed/{main}_{side}": bound for side, bound in bounds.items()}
        else:
            scores[name] = score.value
            beside |= {f"interval/{name}_{side}": bound for side, bound in bounds.items()}
    beside |= {f"published/{row['metric']}": row.get("published") for row in record.reference}
    beside |= {f"usage/{name}": value for name, value in record.figures.items()}
    beside = dict(sorted(beside.items(), key=lambda item: item[0].split("/")[0]))
    charted = {f"{CHARTED}{name}": value for name, value in scores.items()}
    values = names.clean_keys(scores | beside | charted)
    return {name: float(value) for name, value in values.items() if _is_number(value)}


def collect_curves(record: Record) -> dict[str, list[tuple[int, float]]]:
    """The curves of a training by accepted name: ``training/train_loss``."""
    return names.clean_keys({f"training/{name}": points for name, points in record.curves.items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _log_values(record: Record, run_id: str, store: Store, tags: dict[str, str]) -> None:
    """Log everything that can be searched and plotted in one call: params, metrics, curves, tags."""
    dataset = datasets.log_datasets(record, run_id, store)
    model = datasets.log_models(record, run_id, store)
    when = to_milliseconds(record.finished or time.time())
    single = [
        Metric(name, value, when, 0, model, *(dataset or (None, None)))
        for name, value in collect_metrics(record).items()
    ]
    stepped = [
        Metric(name, float(value), when, step)
        for name, points in collect_curves(record).items()
        for step, value in points
        if _is_number(value)
    ]
    given = [Param(name, value) for name, value in _truncate_all(collect_params(record)).items()]
    store.client.log_batch(run_id, [*single, *stepped], given, make_tags(tags | _collect_tags(record)))


def _collect_tags(record: Record) -> dict[str, str]:
    tags = {names.clean_key(name): value for name, value in record.tags.items() if value}
    tags |= {"record_id": record.id, "mlflow.note.content": note.describe_run(record)}
    if record.sweep:
        tags["sweep_id"] = record.sweep
    if record.tags.get("git_sha"):
        tags["mlflow.source.git.commit"] = record.tags["git_sha"]
    return tags


def make_tags(tags: dict[str, str]) -> list[RunTag]:
    """Tags as MLflow accepts them; a longer value is truncated with a note."""
    return [RunTag(name, names.truncate(str(value), names.TAG_LENGTH)) for name, value in tags.items()]
