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
from runner.records.folder import PREDICTIONS, name_folder
from runner.records.progress import JUDGE, TRAINING, Progress
from runner.records.record import Record, read_predictions, read_record
from runner.records.sweep import PARSED
from runner.tracking import artifacts, datasets, names, note, run_names, traces
from runner.tracking.store import FOLDER, SOURCE, Store

LOGGED = "mlflow.json"
CHARTED = "Scores/"
RUNNING = "RUNNING"
STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
    "killed": "KILLED",
    "running": "KILLED",
}


def log_run(
    folder: Path,
    store: Store,
    parent: str | None = None,
    wanted_traces: object = "none",
    last: Progress | None = None,
) -> str:
    """Log the record in ``folder`` below ``parent`` and return the MLflow run id.

    A run that was logged before, whole or in part, is completed and not created again. ``last`` is how far it
    came, if it was shown while it was under way; where that was long ago, it is also when the run ended.
    """
    record = read_record(folder)
    record.finished = record.finished or (last.time if last else 0.0) or time.time()
    with hold_lock("log", record.id), TemporaryDirectory() as staging:
        run_id, ended = _find_or_create(record, folder, store)
        long = {name: text for name, text in collect_params(record).items() if len(text) > names.VALUE_LENGTH}
        tables = artifacts.collect_files(record, folder, long, Path(staging))
        tags = artifacts.make_table_tag(tables) | _make_place_tags(folder, parent)
        _log_values(record, run_id, store, tags, last)
        store.client.log_artifacts(run_id, staging)
        if wanted_traces not in ("none", None, 0) and (folder / PREDICTIONS).exists():
            rows = traces.choose_rows(record, read_predictions(folder), wanted_traces)
            traces.log_traces(record, rows, run_id, store)
        if not ended:
            store.client.set_terminated(run_id, STATUS[record.status], to_milliseconds(record.finished))
        write_note(folder, run_id, store)
    return run_id


def begin_run(record: Record, folder: Path, store: Store, parent: str | None = None) -> str:
    """Create the run of a record that is under way, RUNNING, with its params and tags; return its id."""
    tags = {"record_id": record.id} | _make_place_tags(folder, parent)
    run_id = create_run(store, run_names.name_run(record), tags, RUNNING, (record.started, 0.0))
    given = [Param(name, value) for name, value in _truncate_all(collect_params(record)).items()]
    store.client.log_batch(run_id, [], given, make_tags(_collect_tags(record)))
    return run_id


def log_progress(run_id: str, progress: Progress, store: Store) -> None:
    """Log how far a run is, as metrics at the step of the rows that are done."""
    store.client.log_batch(run_id, _make_progress_metrics(progress))


def _make_progress_metrics(progress: Progress) -> list[Metric]:
    """Rows, rows a second, errors and dollars; in a training its share, at the step of its percent."""
    if progress.stage == TRAINING:
        values, step = {"training": progress.share}, round(100 * (progress.share or 0.0))
    else:
        rows = "judged" if progress.stage == JUDGE else "rows"
        values, step = {rows: progress.done}, progress.earlier + progress.done
        values |= {
            "rows_per_s": progress.rows_per_s,
            "errors": progress.errors,
            "cost_usd": progress.cost_usd,
        }
    when = to_milliseconds(progress.time)
    return [
        Metric(f"progress/{name}", float(value), when, step)
        for name, value in values.items()
        if value is not None
    ]


def _make_place_tags(folder: Path, parent: str | None) -> dict[str, str]:
    """The folder of the record, and the run above it."""
    tags = {FOLDER: name_folder(folder)}
    return tags if parent is None else tags | {"mlflow.parentRunId": parent}


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
    """Create a run from ``times[0]`` to ``times[1]``, in seconds; RUNNING has no end yet."""
    started, finished = map(to_milliseconds, times)
    tags = {"mlflow.user": user_name(), "mlflow.source.name": SOURCE} | tags
    run = store.client.create_run(store.experiment_id, started, tags, name)
    if status != RUNNING:
        store.client.set_terminated(run.info.run_id, status, finished)
    return str(run.info.run_id)


def to_milliseconds(seconds: float) -> int:
    """Seconds as the milliseconds that MLflow expects."""
    return int(seconds * 1000)


def _find_or_create(record: Record, folder: Path, store: Store) -> tuple[str, bool]:
    """The id of the record's run, found or created, and whether it was already ended as the record says.

    A run that is found is ended when all of it is logged. If this is killed before, the next command does it.
    """
    found = find_run(store, "record_id", record.id)
    if found is not None and _has_same_params(found, record):
        return str(found.info.run_id), False
    if found is not None:
        # params cannot be changed, and old ones would be wrong
        store.client.delete_run(found.info.run_id)
    tags = {"record_id": record.id, FOLDER: name_folder(folder)}
    times = (record.started, record.finished or record.started)
    return create_run(store, run_names.name_run(record), tags, STATUS[record.status], times), True


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
    ``variance/accuracy_rows`` and ``_repeats`` are there if rows were asked several times; ``usage/…`` are
    counts of rows, tokens and dollars. ``Scores/accuracy`` is the score again, since MLflow's charts show
    groups by name, capitals first, and what is in no group last.
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
    beside |= {
        f"variance/{name}_{source}": value
        for name, spread in record.spread.items()
        for source, value in spread.items()
    }
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


def _log_values(
    record: Record, run_id: str, store: Store, tags: dict[str, str], last: Progress | None
) -> None:
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
    stepped += _make_progress_metrics(last) if last else []
    given = [Param(name, value) for name, value in _truncate_all(collect_params(record)).items()]
    store.client.log_batch(run_id, [*single, *stepped], given, make_tags(tags | _collect_tags(record)))


def _collect_tags(record: Record) -> dict[str, str]:
    tags = {names.clean_key(name): value for name, value in record.tags.items() if value}
    tags |= {
        names.clean_key(f"reason/{name}"): score.reason
        for name, score in record.scores.items()
        if score.reason and not name.endswith(PARSED)
    }
    tags |= {"record_id": record.id, "mlflow.note.content": note.describe_run(record)}
    if record.sweep:
        tags["sweep_id"] = record.sweep
    if record.tags.get("git_sha"):
        tags["mlflow.source.git.commit"] = record.tags["git_sha"]
    return tags


def make_tags(tags: dict[str, str]) -> list[RunTag]:
    """Tags as MLflow accepts them; a longer value is truncated with a note."""
    return [RunTag(name, names.truncate(str(value), names.TAG_LENGTH)) for name, value in tags.items()]
