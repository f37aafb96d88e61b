"""Every launcher gives the same sweep: one ledger, one parent run, the same figures."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import Call, Reply, completion, serving

from runner import record

POINTS = "hyperparameter.n_shot=0,1,2,3"
ROWS = [{"text": f"Is {n} odd?", "target": str(n % 2)} for n in range(12)]
OPTIONS = {
    "dataset/odd.yaml": "name: odd\npath: ${oc.env:ROWS}\nsplit: {fractions: {train: 0.5, test: 0.5}}\n",
    "prompt/odd.yaml": "name: odd\nuser: '{{ text }}'\n"
    "parser: {_target_: runner.parse.Label, labels: ['0', '1']}\n",
}


def odd(call: Call) -> Reply:
    """Knows what is odd once it has seen a shot."""
    turns = call.json["messages"]
    number = int(turns[-1]["content"].split()[1])
    return Reply(completion(str(number % 2 if len(turns) > 1 else 0)))


@pytest.fixture
def server():
    with serving(odd) as running:
        yield running


@pytest.fixture
def command(tmp_path, server):
    """A command line in a folder of its own, without what this process has loaded and set."""
    for name, text in OPTIONS.items():
        file = tmp_path / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    provider = ["provider=openai_compatible", f"provider.base_url={server.url}/v1", "provider.model=m"]
    fixed = ["--config-dir", "mine", "dataset=odd", "prompt=odd", "metric=accuracy", *provider]
    return lambda *more: [sys.executable, "-m", "runner", *fixed, *more]


def run(command, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "HYDRA"))}
    return kept | {"ROWS": str(folder / "rows.jsonl"), "RAY_DEDUP_LOGS": "0"}


def points(folder: Path) -> list[record.Record]:
    found = [record.read(file.parent) for file in folder.glob(f"outputs/sweeps/*/*/{record.RECORD}")]
    return sorted(found, key=lambda point: point.job)


def children(folder: Path) -> dict[str, list[str]]:
    """Names of the runs in the tracking store by the name of their parent."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("runner").experiment_id
    runs = {run.info.run_id: run for run in client.search_runs([experiment])}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    tree: dict[str, list[str]] = {}
    for run in runs.values():
        parent = run.data.tags.get("mlflow.parentRunId")
        if parent:
            tree.setdefault(runs[parent].info.run_name, []).append(run.info.run_name)
    return {name: sorted(names) for name, names in tree.items()}


def needs(package: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(f"hydra_plugins.{package}") is None
    return pytest.mark.skipif(absent, reason=f"needs the extra launchers ({package})")


LAUNCHERS = [
    pytest.param("concurrent"),
    pytest.param("joblib", marks=needs("hydra_joblib_launcher")),
    pytest.param("submitit_local", marks=needs("hydra_submitit_launcher")),
    pytest.param("ray", marks=needs("hydra_ray_launcher")),
]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_same_sweep(launcher, command, tmp_path, server):
    """Four points at once on a fresh ledger and a fresh store are recorded below one parent, and what they
    bought is free for any other launcher.
    """
    done = run(command("-m", f"hydra/launcher={launcher}", POINTS), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [point.swept["hyperparameter.n_shot"] for point in points(tmp_path)] == [0, 1, 2, 3]
    assert [point.scores["accuracy"].value for point in points(tmp_path)] == pytest.approx([5 / 6, 1, 1, 1])
    assert len(server.calls) == 4 * 6
    assert children(tmp_path) == {"odd": [f"n_shot={n}" for n in range(4)]}
    asked = len(server.calls)
    assert run(command("-m", "hydra/launcher=concurrent", POINTS, "tracking=none"), tmp_path).returncode == 0
    assert len(server.calls) == asked, "another launcher asked again"


def test_interpolation_by_point(command, tmp_path):
    """What a config takes from Hydra's settings is that of its own point, also where points are threads."""
    done = run(
        command("-m", "hydra/launcher=concurrent", POINTS, "tracking=none", "name=p${hydra:job.num}"),
        tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [point.name for point in points(tmp_path)] == ["p0", "p1", "p2", "p3"]


@needs("hydra_optuna_sweeper")
def test_optuna(command, tmp_path):
    """A run returns its objective, so that a sweeper can look for the best point."""
    options = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.direction=maximize"]
    done = run(command("-m", *options, "hydra.sweeper.n_jobs=1", POINTS, "tracking=none"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    best = next(tmp_path.glob("outputs/sweeps/*/optimization_results.yaml")).read_text()
    assert "best_value: 1.0" in best


@pytest.mark.parametrize("sweep", [[], ["-m", "hydra/launcher=concurrent", POINTS]], ids=["run", "sweep"])
def test_interrupt(sweep, command, tmp_path):
    """Ctrl-C ends within two seconds, a sweep too; what is finished is kept and the way to go on is shown."""
    ask = command(*sweep, "provider.max_concurrency=1")
    slow = iter([0.0, 0.0, 0.0])
    with serving(lambda call: Reply(completion("1"), delay_s=next(slow, 30.0))) as server:
        ask = [f"provider.base_url={server.url}/v1" if "base_url" in word else word for word in ask]
        process = subprocess.Popen(
            ask,
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: len(server.calls) > 3)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert time.monotonic() - began < 2.5
    assert process.returncode == 130
    assert "To go on: runner --config-dir mine" in said
    assert {json.loads(file.read_text())["status"] for file in tmp_path.glob("outputs/**/record.json")} == {
        "stopped"
    }


def wait_for(condition, patience_s: float = 60.0) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
