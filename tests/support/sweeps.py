"""A small experiment as a process of its own: rows, config folder, command lines, what they leave behind."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from options import write_options
from servers import Call, Reply, completion

from runner.records import record
from runner.records.folder import RECORD

POINTS = "hyperparameter.n_shot=0,1,2,3"
ROWS = [{"text": f"Is {n} odd?", "target": str(n % 2)} for n in range(12)]
OPTIONS = {
    "dataset/odd.yaml": "name: odd\npath: ${oc.env:ROWS}\nsplit: {fractions: {train: 0.5, test: 0.5}}\n",
    "prompt/odd.yaml": "name: odd\nuser: '{{ text }}'\n"
    "parser: {_target_: runner.parse.Label, labels: ['0', '1']}\n",
}


def odd(call: Call) -> Reply:
    """A model that knows what is odd once it has seen a shot."""
    turns = call.json["messages"]
    number = int(turns[-1]["content"].split()[1])
    return Reply(completion(str(number % 2 if len(turns) > 1 else 0)))


def command(folder: Path, url: str) -> Callable[..., list[str]]:
    """Command lines of the experiment against a server; the config and the rows are made in ``folder``."""
    write_options(folder, OPTIONS)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    provider = ["provider=openai_compatible", f"provider.base_url={url}/v1", "provider.model=m"]
    fixed = ["--config-dir", "mine", "dataset=odd", "prompt=odd", "metric=accuracy", *provider]
    return lambda *more: [sys.executable, "-m", "runner", *fixed, *more]


def environment(folder: Path) -> dict[str, str]:
    """Without what this process has set for Hydra and MLflow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "HYDRA"))}
    return kept | {"ROWS": str(folder / "rows.jsonl")}


def points(folder: Path) -> list[record.Record]:
    """Records of a sweep's points, in their order."""
    found = [record.read_record(file.parent) for file in folder.glob(f"outputs/sweeps/*/*/{RECORD}")]
    return sorted(found, key=lambda point: point.job or 0)


def children(uri: str) -> dict[str, list[str]]:
    """Names of the runs in a tracking store by the name of their parent; all must be over."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = {run.info.run_id: run for run in client.search_runs(experiments)}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    tree: dict[str, list[str]] = {}
    for run in runs.values():
        parent = run.data.tags.get("mlflow.parentRunId")
        if parent:
            tree.setdefault(runs[parent].info.run_name, []).append(run.info.run_name)
    return {name: sorted(names) for name, names in tree.items()}


def wait_for(condition: Callable[[], object], patience_s: float = 60.0) -> None:
    """Until it holds."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
