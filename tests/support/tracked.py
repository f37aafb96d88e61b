"""Records as a run leaves them, and a real store to log them to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from runner import tracking
from runner.config.schema import TrackingConfig
from runner.core.types import Score
from runner.records.folder import PREDICTIONS
from runner.records.record import Record
from runner.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CONSISTENT, INCONSISTENT = "consistent", "inconsistent"


def client(config: TrackingConfig) -> MlflowClient:
    """The client of the config's store."""
    return store.connect(config).client


def all_runs(config: TrackingConfig, query: str = "") -> list[Run]:
    """The runs that a search finds."""
    opened = store.connect(config)
    return list(opened.client.search_runs([opened.experiment_id], query))


def logged(folder: Path, config: TrackingConfig) -> Run:
    """Log a record and read its run back."""
    run_id = tracking.log_run(folder, config)
    assert run_id is not None
    return client(config).get_run(run_id)


def artifact(run: Run, name: str) -> Path:
    """Where an artifact of a run lies."""
    return Path(str(run.info.artifact_uri)) / name


def rows(count: int = 8) -> pl.DataFrame:
    """Half of the targets are consistent; every fourth answer is wrong and the last one is not parsed."""
    targets = [CONSISTENT if i % 2 else INCONSISTENT for i in range(count)]
    answers = [INCONSISTENT if i % 4 == 3 else target for i, target in enumerate(targets)]
    return pl.DataFrame(
        {
            "id": [f"fib/{i}" for i in range(count)],
            "target": targets,
            "prediction": [*answers[:-1], None],
            "probability": [0.9 if target == CONSISTENT else 0.2 for target in targets],
            "completion": [f"It is {answer}." for answer in answers],
            "error": pl.Series([None] * count, dtype=pl.String),
            "messages": [[{"role": "user", "content": f"Is summary {i} right?"}] for i in range(count)],
            "answered_by": ["smol"] * count,
            "input_tokens": [20] * count,
            "output_tokens": [3] * count,
            "latency_s": [0.25] * count,
        }
    )


def record(identity: str = "one", **changes: Any) -> Record:
    """A finished run of 42 seconds."""
    given: dict[str, Any] = {
        "name": "fib",
        "status": "finished",
        "started": 1_700_000_000.0,
        "finished": 1_700_000_042.0,
        "params": {"dataset.name": "fib", "hyperparameter.n_shot": 0},
        "tags": {"stage": "base", "model": "smol"},
        "scores": {"accuracy": Score(0.75, 0.6, 0.9, 8)},
        "figures": {"parse_rate": 0.875, "cost_usd": 0.5},
        "inputs": [{"name": "fib", "source": "https://host/a", "digest": "abc", "split": "test", "rows": 8}],
    }
    return Record(identity, **given | changes)


def write(folder: Path, identity: str = "one", frame: pl.DataFrame | None = None, **changes: Any) -> Path:
    """The folder of a run: record and predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    record(identity, **changes).write(folder)
    (rows() if frame is None else frame).write_parquet(folder / PREDICTIONS)
    return folder


def point(outputs: Path, job: int, **changes: Any) -> Path:
    """The folder of a point of the sweep ``s1`` over n_shot."""
    given: dict[str, Any] = {"sweep": "s1", "job": job, "swept": {"hyperparameter.n_shot": job}}
    return write(outputs / "s1" / str(job), f"s1-{job}", **given | changes)
