"""Whatever fails around a run: nothing is lost, nothing is asked twice, nothing is told that must not be."""

from __future__ import annotations

import random
import resource
import subprocess

import polars as pl
import pytest
from mlflow import MlflowClient
from servers import Reply, completion, serving
from sweeps import children, command, environment, odd, points

from runner.records.folder import PREDICTIONS
from tests.benchmarks.work import mock
from tests.faults.kills import SERVER, Episode, undisturbed

SWEPT, POINTS = "sweep over n_shot (2 points) · odd", ["n_shot=0 · m · odd", "n_shot=1 · m · odd"]
KEY = "sk-live-0123456789abcdefghij"
ALL_FAULTS = ["error", "limited", "cut", "garbage", "truncated", "slow"]


@pytest.fixture(scope="module")
def calm(tmp_path_factory, copy_store):
    """What comes of the harness's sweep when nothing disturbs it, and how long it takes."""
    folder = tmp_path_factory.mktemp("calm")
    copy_store(folder / "mlflow.db")
    return undisturbed(folder)


def run(line, folder, **options):
    pipes = {"capture_output": True, "text": True, "cwd": folder, "env": environment(folder)}
    return subprocess.run(line, **(pipes | options))


def test_killed(calm, tmp_path, copy_store):
    """A sweep killed at a random moment ends as if it had not been; `python -m tests.faults` is longer."""
    wanted, lasts_s = calm
    copy_store(tmp_path / "mlflow.db")
    with mock(**SERVER) as server:
        episode = Episode(tmp_path, server, random.Random(3), lasts_s)
        episode.kill_once()
        assert episode.end() == wanted
    assert not episode.asked_again
    assert not episode.untidy()


def test_faulty_server(calm, tmp_path):
    """Errors, refusals, cut connections, garbage, half answers and time-outs cost time and no row."""
    wanted, _ = calm
    with mock(**SERVER, fail=0.2, faults=ALL_FAULTS) as server:
        episode = Episode(tmp_path, server, random.Random(0))
        assert episode.end("provider.timeout_s=0.7", "tracking=none") == wanted
        assert {fault for _, fault in server.log()} == {*ALL_FAULTS, 200}


def test_full_disk(tmp_path):
    """A ledger that cannot grow stops the run with the reason; with room again, what it took is not asked."""

    def long(call):
        return Reply(completion("1" + " " * 20_000))

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))

    with serving(long) as server:
        line = command(tmp_path, server.url)("tracking=none", "provider.max_concurrency=1")
        stopped = run(line, tmp_path, preexec_fn=little_room)
        assert stopped.returncode == 1, stopped.stdout
        assert "the ledger cannot be written" in stopped.stderr
        assert len(server.calls) < 6
        assert run(line, tmp_path).returncode == 0
        questions = [call.json["messages"][-1]["content"] for call in server.calls]
    assert len(set(questions)) == 6
    assert len(questions) <= 6 + 2, "more was asked again than what was under way"


def test_tracking_down(tmp_path, copy_store):
    """With no tracking server a sweep completes, and is shown by `runner sync` once there is one."""
    with serving(odd) as server:
        line = command(tmp_path, server.url)
        down = run(line("-m", "hyperparameter.n_shot=0,1", "tracking.uri=http://127.0.0.1:9"), tmp_path)
    assert down.returncode == 0, down.stderr
    assert [point.status for point in points(tmp_path)] == ["finished"] * 2
    store = f"sqlite:///{copy_store(tmp_path / 'mlflow.db')}"
    synced = run([*line()[:3], "sync", f"tracking.uri={store}"], tmp_path)
    assert synced.returncode == 0, synced.stderr
    assert children(store) == {SWEPT: POINTS}


def test_two_sweeps_at_once(tmp_path, copy_store):
    """In one folder, with one ledger and one tracking store, two sweeps do not disturb each other."""
    copy_store(tmp_path / "mlflow.db")
    with serving(odd) as server:
        line = command(tmp_path, server.url)("-m", "hydra/launcher=concurrent", "hyperparameter.n_shot=0,1")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        both = [subprocess.Popen(line, cwd=tmp_path, env=environment(tmp_path), **pipes) for _ in range(2)]
        said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [point.scores["accuracy"].value for point in points(tmp_path)] == pytest.approx(
        [5 / 6, 5 / 6, 1, 1]
    )
    assert sorted(children(f"sqlite:///{tmp_path}/mlflow.db")[SWEPT]) == sorted(POINTS * 2)


def test_no_key_anywhere(tmp_path, monkeypatch, copy_store):
    """After a 401 that quotes the key, no file of run, ledger or MLflow holds it, nor does the screen."""
    monkeypatch.setenv("SOME_KEY", KEY)
    copy_store(tmp_path / "mlflow.db")
    masked = f"{KEY[:8]}****{KEY[-4:]}"
    refusal = {"error": {"message": f"Incorrect API key: {KEY} ({masked})", "code": "invalid_api_key"}}
    with serving(lambda call: Reply(refusal, status=401)) as server:
        line = command(tmp_path, server.url)("provider.api_key_env=SOME_KEY", "hydra.verbose=true")
        refused = run(line, tmp_path)
        assert server.last.headers["Authorization"] == f"Bearer {KEY}"
    assert refused.returncode == 1
    assert "SOME_KEY" in refused.stderr
    texts = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    texts += [refused.stdout.encode(), refused.stderr.encode()]
    assert not [text for text in texts if KEY.encode() in text or masked.encode() in text]
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def test_one_row_in_trouble(tmp_path):
    """A row that is refused has its reason in its own line; the others are answered and scored."""

    def refuses_one(call):
        filtered = call.json["messages"][-1]["content"] == refused
        return Reply({"error": {"message": "filtered"}}, status=400) if filtered else odd(call)

    refused = "Is 4 odd?"
    with serving(refuses_one) as server:
        done = run(command(tmp_path, server.url)("tracking=none"), tmp_path)
    assert done.returncode == 0, done.stderr
    frame = pl.read_parquet(next(tmp_path.glob(f"outputs/runs/*/{PREDICTIONS}")))
    assert frame.filter(text=refused)["error"].item() == "openai_compatible: HTTP 400: filtered"
    assert frame.filter(pl.col("text") != refused)["completion"].null_count() == 0
