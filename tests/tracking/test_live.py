"""A run is in MLflow while it is under way, and ends there however it ends here."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import contextmanager, suppress

import pytest
import tracked
from children import process_of
from options import write_options
from servers import Reply, completion, serving
from tracked import all_runs, client

from runner import tracking
from runner.cli import main
from runner.cli.sweep_end import close_killed
from runner.config.schema import TrackingConfig
from runner.records.alive import hold_alive
from runner.records.progress import JUDGE, TRAINING, Progress, read_progress, write_progress
from runner.tracking import live, runs, store

PROGRESS = Progress(1_700_000_020.0, done=3, wanted=8, rows_per_s=0.5, errors=1, cost_usd=0.25)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Runs are shown at once, and stores that failed in other tests are tried."""
    monkeypatch.setattr(live, "HEAD_START_S", 0.0)
    monkeypatch.setattr(live, "SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr(tracking, "_paused_until", {})
    monkeypatch.setattr(tracking, "_warned", set())


def wait_for(condition, limit_s=20.0):
    """Wait until a thread or process has come so far."""
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends, "it took too long"
        time.sleep(0.02)


@contextmanager
def showing(config, folder, read=lambda: PROGRESS, **options):
    """A run that is shown, in a folder that is held."""
    folder = tracked.write(folder, "live", status="running", finished=None, scores={}, figures={})
    with hold_alive(folder):
        run = live.LiveRun(folder, config, read, **options)
        run.resume(tracked.record("live", status="running"))
        yield run


def test_a_run_under_way_is_shown(mlflow_config, tmp_path):
    """RUNNING, below its sweep, with params, tags and how far it is; at its end it is the same run."""
    folder = tmp_path / "run"
    with showing(mlflow_config, folder, find_parent=lambda: "above") as run:
        wait_for(lambda: run.run_id)
        wait_for(lambda: client(mlflow_config).get_run(run.run_id).data.metrics)
        shown = client(mlflow_config).get_run(run.run_id)
        assert shown.info.status == "RUNNING"
        assert (shown.info.start_time, shown.info.end_time) == (1_700_000_000_000, None)
        assert shown.data.params["hyperparameter.n_shot"] == "0"
        wanted = {"model": "smol", "folder": "run", "mlflow.parentRunId": "above"}
        assert wanted.items() <= shown.data.tags.items()
        assert shown.data.metrics == {
            "progress/rows": 3, "progress/rows_per_s": 0.5, "progress/errors": 1, "progress/cost_usd": 0.25
        }  # fmt: skip
        tracked.record("live").write(folder)
        assert tracking.log_run(folder, mlflow_config, "above", run.end()) == run.run_id
    (ended,) = all_runs(mlflow_config)
    assert (ended.info.status, ended.info.end_time) == ("FINISHED", 1_700_000_042_000)
    assert ended.data.metrics["accuracy"] == 0.75


@pytest.mark.parametrize(
    ("progress", "name", "step", "value"),
    [
        (PROGRESS, "rows", 3, 3),
        (Progress(1.0, JUDGE, done=2, wanted=8, earlier=8), "judged", 10, 2),
        (Progress(1.0, TRAINING, share=0.4), "training", 40, 0.4),
        (Progress(1.0, TRAINING), None, 0, 0),
    ],
)
def test_steps_of_progress(progress, name, step, value):
    """The step is the rows done in all stages so far, in a training the percent; unknown is left out."""
    found = {metric.key: metric for metric in runs._make_progress_metrics(progress)}
    if name is None:
        assert not found
        return
    assert (found[f"progress/{name}"].step, found[f"progress/{name}"].value) == (step, value)


def test_a_short_run_is_not_shown(mlflow_config, tmp_path, monkeypatch):
    """Nothing is imported or logged before the head start is over."""
    monkeypatch.setattr(live, "HEAD_START_S", 30.0)
    with showing(mlflow_config, tmp_path / "run") as run:
        run.pause()
        assert run.end() is None
    assert all_runs(mlflow_config) == []


def test_nothing_is_imported_while_the_run_works(mlflow_config, tmp_path, monkeypatch):
    """Between two stages the imports wait, since both threads may need the same packages."""
    imported = []
    monkeypatch.setattr(live, "HEAD_START_S", 0.05)
    monkeypatch.setattr(tracking, "import_all", lambda: imported.append(1))
    with showing(mlflow_config, tmp_path / "run") as run:
        run.pause()
        time.sleep(0.15)
        assert not imported
        run.resume(tracked.record("live"))
        wait_for(lambda: imported)
        run.end()


def test_a_server_that_fails_for_a_while(mlflow_config, tmp_path, monkeypatch, caplog):
    """One warning; the next try shows the run."""
    monkeypatch.setattr(live, "EVERY_S", 0.02)
    failures = [OSError("HTTP 500")] * 3
    connect = store.connect

    def connect_later(config):
        if failures:
            raise failures.pop()
        return connect(config)

    monkeypatch.setattr(store, "connect", connect_later)
    with showing(mlflow_config, tmp_path / "run") as run:
        wait_for(lambda: run.run_id)
        run.end()
    assert caplog.text.count("cannot be used") == 1


@pytest.mark.parametrize("hangs", [False, True])
def test_a_server_that_is_down_holds_nothing_up(tmp_path, monkeypatch, caplog, hangs):
    """Whether nobody listens or nobody answers, the end comes soon, with one warning."""
    monkeypatch.setattr(live, "SERVER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = TrackingConfig(uri=f"http://127.0.0.1:{server.getsockname()[1]}")
        if not hangs:
            server.close()
        with showing(config, tmp_path / "run") as run:
            wait_for(lambda: hangs or caplog.records)
            time.sleep(0.1)
            began = time.monotonic()
            run.end()
            assert tracking.log_run(tmp_path / "run", config) is None
    assert time.monotonic() - began < 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_interrupted_run_is_killed_at_once(mlflow_config, tmp_path, monkeypatch):
    """What is there stays; a run that ended otherwise is left as it is."""
    monkeypatch.setattr(tracking, "KILL_S", 30)  # a busy machine
    with showing(mlflow_config, tmp_path / "run") as run:
        wait_for(lambda: run.run_id)
        run.kill()
        assert client(mlflow_config).get_run(run.run_id).info.status == "KILLED"
        client(mlflow_config).set_terminated(run.run_id, "FINISHED")
        run.kill()
        assert client(mlflow_config).get_run(run.run_id).info.status == "FINISHED"


def test_a_killed_run_is_ended_by_the_next_command(mlflow_config, tmp_path):
    """KILLED at the time when it was last seen, once; how far it came stays for ``runner list``."""
    folder = tmp_path / "outputs" / "runs" / "a"
    there = runs.begin_run(tracked.record("live"), folder, store.connect(mlflow_config))
    with showing(TrackingConfig(enabled=False), folder):
        write_progress(folder, Progress(tracked=tracking.name_place(mlflow_config), time=1_700_000_020.0))
        close_killed(tmp_path / "outputs", mlflow_config)
        assert client(mlflow_config).get_run(there).info.status == "RUNNING"
    close_killed(tmp_path / "outputs", TrackingConfig(uri="sqlite:///other.db"))
    assert client(mlflow_config).get_run(there).info.status == "RUNNING"
    close_killed(tmp_path / "outputs", TrackingConfig(uri=mlflow_config.uri, experiment_name="another"))
    (run,) = all_runs(mlflow_config)
    assert (run.info.run_id, run.info.status, run.info.end_time) == (there, "KILLED", 1_700_000_020_000)
    assert read_progress(folder) == Progress(time=1_700_000_020.0)
    (folder / "progress.json").write_text("{")
    close_killed(tmp_path / "outputs", mlflow_config)


EXPERIMENT = {
    "dataset/odd.yaml": "name: odd\npath: rows.jsonl\n",
    "prompt/odd.yaml": "name: odd\nuser: '{{ text }}'\n"
    "parser: {_target_: runner.parse.Label, labels: ['0', '1']}\n",
}


def run_it(folder, url, uri):
    """The command line, in a process of its own, with twenty rows."""
    os.chdir(folder)
    live.HEAD_START_S = live.SHOWN_AFTER_S = 0.0
    command = [
        *("runner", "--config-dir", "mine", "dataset=odd", "prompt=odd", "metric=accuracy"),
        *("provider=openai_compatible", f"provider.base_url={url}/v1", "provider.model=m"),
        *("provider.max_concurrency=1", f"tracking.uri={uri}", "tracking.experiment_name=killed"),
    ]
    main.sys.argv = command
    main.main()


def write_experiment(folder, rows):
    """The options and the rows of an experiment."""
    write_options(folder, EXPERIMENT)
    lines = [json.dumps({"text": f"{n}", "target": str(n % 2)}) for n in range(rows)]
    (folder / "rows.jsonl").write_text("\n".join(lines))


def answer(call):
    """Take a while."""
    time.sleep(0.1)
    return Reply(completion("1"))


def test_a_run_whose_end_was_not_logged(mlflow_config, runner, monkeypatch):
    """If MLflow fails at the end of a run that it shows, the next command ends the run there as finished."""
    write_experiment(runner.folder, 9)
    config = TrackingConfig(uri=mlflow_config.uri, experiment_name="killed")
    with serving(answer) as server, monkeypatch.context() as failing:
        failing.setattr(tracking, "log_run", lambda *given, **named: None)
        failing.setattr(main.sys, "argv", [])
        with suppress(SystemExit):
            run_it(runner.folder, server.url, mlflow_config.uri)
    (run,) = [run for run in all_runs(config) if run.info.status == "RUNNING"]
    runner("list", f"tracking.uri={mlflow_config.uri}")
    ended = client(config).get_run(run.info.run_id)
    assert (ended.info.status, "accuracy" in ended.data.metrics) == ("FINISHED", True)


def test_a_process_that_dies(mlflow_config, runner):
    """After SIGKILL the run is KILLED by the next command, whatever that is; ``list`` shows how far it is."""
    write_experiment(runner.folder, 200)
    config = TrackingConfig(uri=mlflow_config.uri, experiment_name="killed")
    with serving(answer) as server:
        child = process_of(run_it, runner.folder, server.url, mlflow_config.uri)
        child.start()
        wait_for(lambda: list(runner.folder.glob("outputs/runs/*/progress.json")))

        def find():
            return [run.info.run_id for run in all_runs(config) if run.info.status == "RUNNING"]

        wait_for(find)
        wait_for(lambda: "of 200 rows" in runner("list").out)
        (there,) = find()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert client(config).get_run(there).info.status == "RUNNING"
    runner("cleanup", f"tracking.uri={mlflow_config.uri}")
    assert client(config).get_run(there).info.status == "KILLED"
    assert "after" in runner("list").out
