"""The inputs of a run: data sets with their digests, fine-tuned models with their real ids."""

from __future__ import annotations

import json
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelStatus
from mlflow.exceptions import MlflowException

from runner.core.files import hold_lock
from runner.core.redact import remove_credentials
from runner.records.record import Record
from runner.tracking import names
from runner.tracking.store import Store

DIGEST_LENGTH = 12
MODEL_TYPE = "fine-tuned checkpoint"


def log_datasets(record: Record, run_id: str, store: Store) -> tuple[str, str] | None:
    """Log the record's data sets; return name and digest of the first, which its metrics link to."""
    datasets = [_make_dataset(given) for given in record.inputs]
    if not datasets:
        return None
    with hold_lock("data sets", store.uri):
        try:
            store.client.log_inputs(run_id, datasets=datasets)
        except MlflowException:  # another machine may just have created the same data set; now it is found
            store.client.log_inputs(run_id, datasets=datasets)
    first = datasets[0].dataset
    return first.name, first.digest


def _make_dataset(given: dict[str, Any]) -> DatasetInput:
    source = remove_credentials(str(given.get("source") or ""))
    dataset = Dataset(
        name=str(given.get("name") or "data")[:500],
        digest=str(given.get("digest") or "unknown")[:DIGEST_LENGTH],
        source_type="http" if source.startswith(("http:", "https:")) else "local",
        source=json.dumps({"url" if source.startswith("http") else "uri": source}),
        schema=_make_schema(given.get("columns")),
        profile=json.dumps({"num_rows": given.get("rows")}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", str(given.get("split") or "evaluate"))])


def _make_schema(columns: dict[str, str] | None) -> str | None:
    if not columns:
        return None
    spec = [{"name": name, "type": kind, "required": True} for name, kind in columns.items()]
    return json.dumps({"mlflow_colspec": spec})


def log_models(record: Record, run_id: str, store: Store) -> str | None:
    """Log each fine-tuned checkpoint as a model, once; return the id of the evaluated one."""
    evaluated = None
    for checkpoint in record.models:
        with hold_lock("model", f"{checkpoint['model']} in {store.uri}"):
            model_id = _find_model(checkpoint["model"], store) or _create_model(checkpoint, run_id, store)
        if checkpoint.get("evaluated"):
            evaluated = model_id
    if evaluated is not None:
        store.client.log_inputs(run_id, models=[LoggedModelInput(evaluated)])
    return evaluated


def _find_model(model: str, store: Store) -> str | None:
    query = f"tags.model = '{_replace_quotes(model)}'"
    found = store.client.search_logged_models([store.experiment_id], query, max_results=1)
    return str(found[0].model_id) if found else None


def _create_model(checkpoint: dict[str, Any], run_id: str, store: Store) -> str:
    """MLflow refuses the real id (``ft:…``) as a name, so it is a param, and a tag for the search."""
    model = str(checkpoint["model"])
    created = store.client.create_logged_model(
        store.experiment_id,
        name=names.clean_model_name(model),
        source_run_id=run_id,
        tags={"mlflow.model.isExternal": "true", "model": _replace_quotes(model)},
        params={name: str(checkpoint.get(name)) for name in ("model", "number", "step")},
        model_type=MODEL_TYPE,
    )
    store.client.finalize_logged_model(created.model_id, LoggedModelStatus.READY)
    return str(created.model_id)


def _replace_quotes(model: str) -> str:
    """A model id that can be part of a query, in which an apostrophe cannot be escaped."""
    return model.replace("'", "_")
