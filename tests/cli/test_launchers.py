"""Every launcher gives the same sweep, with one ledger, one parent run and the same figures."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from servers import Reply, completion, serving
from sweeps import POINTS, children, command, environment, odd, points, wait_for


@pytest.fixture
def server():
    with serving(odd) as running:
        yield running


def run(command, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)


def needs(package: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(f"hydra_plugins.{package}") is None
    return pytest.mark.skipif(absent, reason=f"needs the extra launchers ({package})")


LAUNCHERS = [
    pytest.param("concurrent"),
    pytest.param("joblib", marks=[needs("hydra_joblib_launcher"), pytest.mark.long]),
    pytest.param("submitit_local", marks=needs("hydra_submitit_launcher")),
    pytest.param("ray", marks=needs("hydra_ray_launcher")),
]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_same_sweep(launcher, tmp_path, server, copy_store, runner, monkeypatch):
    """Four points at once on a fresh ledger are recorded below one parent, and what they bought is free
    for any other launcher. A key that only the class lists can be set in all of them.
    """
    store = f"sqlite:///{copy_store(tmp_path / 'mlflow.db')}"
    given = ["-m", f"hydra/launcher={launcher}", POINTS, "metric.accuracy.confidence=0.9"]
    done = run(command(tmp_path, server.url)(*given), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [point.swept["hyperparameter.n_shot"] for point in points(tmp_path)] == [0, 1, 2, 3]
    assert [point.scores["accuracy"].value for point in points(tmp_path)] == pytest.approx([5 / 6, 1, 1, 1])
    assert len(server.calls) == 4 * 6
    names = {"sweep over n_shot (4 points) · odd": [f"n_shot={n} · m · odd" for n in range(4)]}
    assert children(store) == names
    asked = len(server.calls)
    again = ["-m", "hydra/launcher=concurrent", POINTS, "tracking=none"]
    monkeypatch.setenv("ROWS", str(tmp_path / "rows.jsonl"))
    assert runner(*command(tmp_path, server.url)(*again)[3:]).code == 0
    assert len(server.calls) == asked, "another launcher asked again"


def test_interpolation_by_point(tmp_path, server, runner, monkeypatch):
    """An interpolation of Hydra's settings has its own point's value, even if points are threads."""
    options = ["hydra/launcher=concurrent", POINTS, "tracking=none", "name=p${hydra:job.num}"]
    monkeypatch.setenv("ROWS", str(tmp_path / "rows.jsonl"))
    done = runner(*command(tmp_path, server.url)("-m", *options)[3:])
    assert done.code == 0, done.out + done.err
    assert [point.name for point in points(tmp_path)] == ["p0", "p1", "p2", "p3"]
    (noted,) = (json.loads(file.read_text()) for file in tmp_path.glob("outputs/sweeps/*/sweep.json"))
    assert (noted["name"], noted["overrides"][-1]) == ("sweep", "name=p${hydra:job.num}")


@needs("hydra_optuna_sweeper")
def test_optuna(tmp_path, server):
    """A run returns its objective, and the sweeper gets its direction, which is not Optuna's default."""
    options = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4"]
    done = run(
        command(tmp_path, server.url)("-m", *options, "hydra.sweeper.n_jobs=1", POINTS, "tracking=none"),
        tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    best = next(tmp_path.glob("outputs/sweeps/*/optimization_results.yaml")).read_text()
    assert "best_value: 1.0" in best


@pytest.mark.parametrize("sweep", [[], ["-m", "hydra/launcher=concurrent", POINTS]], ids=["run", "sweep"])
def test_interrupt(sweep, tmp_path, copy_store):
    """Ctrl-C ends a run or sweep within two seconds, keeps finished rows and shows how to go on."""
    copy_store(tmp_path / "mlflow.db")
    slow = iter([0.0, 0.0, 0.0])
    with serving(lambda call: Reply(completion("1"), delay_s=next(slow, 30.0))) as server:
        ask = command(tmp_path, server.url)(*sweep, "provider.max_concurrency=1")
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
