"""A sweep as parent and children; records that were not logged when they should have been."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import polars as pl
import pytest
import tracked
from omegaconf import OmegaConf
from tracked import all_runs, artifact, client, logged

from runner import tracking
from runner.cli.sweep import settle_experiment
from runner.cli.sweep_end import close_killed
from runner.config.schema import TrackingConfig
from runner.core.errors import RunnerError
from runner.core.types import Score
from runner.records.alive import hold_alive
from runner.records.folder import read_notes, write_notes
from runner.tracking import store


def parent(config: TrackingConfig) -> str:
    run_id = tracking.open_sweep("fib", "s1", config)
    assert run_id is not None
    return run_id


def curve(config: TrackingConfig, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(config).get_metric_history(run_id, name)]


def test_points_hang_below_their_sweep(mlflow_config, tmp_path):
    """Whether told or not, a point finds its sweep's parent run, and is named by what sets it apart."""
    above = parent(mlflow_config)
    told, finds = (tracked.point(tmp_path, job) for job in (0, 1))
    tracking.log_run(told, mlflow_config, above)
    tracking.log_run(finds, mlflow_config)
    children = all_runs(mlflow_config, f"tags.mlflow.parentRunId = '{above}'")
    assert {run.info.run_name for run in children} == {"n_shot=0 · smol · fib", "n_shot=1 · smol · fib"}
    assert {run.data.tags["sweep_id"] for run in children} == {"s1"}


def test_a_sweep_in_progress_is_running(mlflow_config):
    """Opening again finds the same parent, and sets it RUNNING again if the sweep was over."""
    above = parent(mlflow_config)
    assert client(mlflow_config).get_run(above).info.status == "RUNNING"
    client(mlflow_config).set_terminated(above, "KILLED")
    assert parent(mlflow_config) == above
    assert client(mlflow_config).get_run(above).info.status == "RUNNING"


def test_the_parent_has_table_and_plot(mlflow_config, tmp_path):
    """One row per point and a plot per score are on the parent, with what the points share."""
    above = parent(mlflow_config)
    folders = [tracked.point(tmp_path, job, scores={"f1": Score(job / 4, 0, 1, 8)}) for job in range(3)]
    tracking.close_sweep(above, folders, mlflow_config)
    run = client(mlflow_config).get_run(above)
    assert pl.read_csv(artifact(run, "sweep.csv"))["f1"].to_list() == [0, 0.25, 0.5]
    assert "mlflow.loggedArtifacts" not in run.data.tags
    assert artifact(run, "figures/f1.png").read_bytes().startswith(b"\x89PNG")
    assert run.data.params == {"dataset.name": "fib"}
    assert (run.info.status, run.data.metrics["usage/cost_usd"]) == ("FINISHED", 1.5)
    assert run.info.run_name == "sweep over n_shot (3 points) · fib"
    assert curve(mlflow_config, above, "curve/f1") == [(0, 0), (1, 0.25), (2, 0.5)]
    tracking.close_sweep(above, folders, mlflow_config)
    assert len(curve(mlflow_config, above, "curve/f1")) == 3


def test_a_failed_point_fails_the_sweep(mlflow_config, tmp_path):
    """The parent says which point failed and why; the others' scores stay."""
    above = parent(mlflow_config)
    good = tracked.point(tmp_path, 0)
    bad = tracked.point(tmp_path, 1, status="failed", scores={}, error="no such model\nTraceback")
    tracking.close_sweep(above, [good, bad], mlflow_config)
    run = client(mlflow_config).get_run(above)
    assert run.info.status == "FAILED"
    assert "1 of 2 points finished" in run.data.tags["mlflow.note.content"]
    assert "no such model" in artifact(run, "sweep.md").read_text()


def test_the_page_marks_published_figures(mlflow_config, tmp_path):
    """Where a paper has a figure, the parent's page says whether it is met."""
    above = parent(mlflow_config)
    reference = [{"metric": "accuracy", "published": 0.9, "standing": "missed", "agrees": False}]
    tracking.close_sweep(above, [tracked.point(tmp_path, 0, reference=reference)], mlflow_config)
    text = client(mlflow_config).get_run(above).data.tags["mlflow.note.content"]
    assert "0.75\u00a0✗" in text
    assert "accuracy_low" not in text


def test_a_point_without_a_record_fails_the_sweep(mlflow_config, tmp_path):
    """A point that died before it could write anything is counted."""
    above = parent(mlflow_config)
    tracking.close_sweep(above, [tracked.point(tmp_path, 0), tmp_path / "s1" / "1"], mlflow_config)
    assert client(mlflow_config).get_run(above).info.status == "FAILED"


def test_the_best_point_has_a_tag(mlflow_config, tmp_path):
    """One that is no longer best loses it; the parent says by what, and which point it is."""
    above = parent(mlflow_config)
    folders = [tracked.point(tmp_path, job) for job in range(2)]
    for folder in folders:
        tracking.log_run(folder, mlflow_config, above)
    for best in (0, 1):
        for job in range(2):
            score = Score(0.9 if job == best else 0.5, n=8, direction="higher")
            tracked.point(tmp_path, job, scores={"f1": score})
        tracking.close_sweep(above, folders, mlflow_config)
        (found,) = all_runs(mlflow_config, "tags.best = 'true'")
        assert found.data.tags["record_id"] == f"s1-{best}"
        tags = client(mlflow_config).get_run(above).data.tags
        assert tags["best_point"] == f"[{best}] hyperparameter.n_shot={best}"
        assert (tags["objective"], tags["objective_direction"]) == ("f1", "higher")
        assert f"**best** by `f1` (higher is better): {tags['best_point']}" in tags["mlflow.note.content"]


def test_closing_again_updates(mlflow_config, tmp_path):
    """A sweep that is taken up again ends with what it then has."""
    above = parent(mlflow_config)
    tracking.close_sweep(above, [tracked.point(tmp_path, 0, status="stopped")], mlflow_config)
    assert client(mlflow_config).get_run(above).info.status == "KILLED"
    tracking.close_sweep(above, [tracked.point(tmp_path, 0)], mlflow_config)
    assert client(mlflow_config).get_run(above).info.status == "FINISHED"


def test_a_sweep_of_mistakes_leaves_no_parent(runner, mlflow_config):
    """The parent run that was opened for the points is gone when none of them began."""
    name = f"tracking.experiment_name={mlflow_config.experiment_name!r}"
    outcome = runner("-m", f"tracking.uri={mlflow_config.uri}", name, "dataset.path=gone.csv,lost.csv")
    assert outcome.code == 2
    assert all_runs(mlflow_config) == []


def test_sync_logs_what_is_missing(mlflow_config, tmp_path):
    """Single runs and whole sweeps appear; what is there or still running is left alone."""
    there = tracked.write(tmp_path / "runs" / "there", "there")
    logged(there, mlflow_config)
    missing = tracked.write(tmp_path / "runs" / "missing", "missing")
    points = [tracked.point(tmp_path / "sweeps", job) for job in range(2)]
    live = tracked.write(tmp_path / "runs" / "live", "live", status="running", finished=None)
    with hold_alive(live):
        assert set(tracking.sync_records(tmp_path, mlflow_config)) == {missing, *points}
        assert tracking.sync_records(tmp_path, mlflow_config) == {}
    (above,) = all_runs(mlflow_config, "tags.sweep_parent = 's1'")
    assert (above.info.status, above.data.metrics["usage/points"]) == ("FINISHED", 2)
    assert len(all_runs(mlflow_config)) == 5


def test_sync_leaves_out_what_a_run_would_not_log(mlflow_config, tmp_path):
    """Runs with ``tracking=none`` and mistakes are left out."""
    tracked.write(tmp_path / "untracked", "untracked", config={"tracking": {"enabled": False}})
    tracked.write(tmp_path / "mistake", "mistake", status="failed", mistake=True)
    tracked.point(tmp_path / "sweeps", 0, status="failed", mistake=True)
    point = tracked.point(tmp_path / "sweeps", 1, status="failed")
    assert set(tracking.sync_records(tmp_path, mlflow_config)) == {point}


def test_sync_respects_a_deletion(mlflow_config, tmp_path):
    """A run that somebody deleted in MLflow does not come back."""
    run = logged(tracked.write(tmp_path / "run"), mlflow_config)
    client(mlflow_config).delete_run(run.info.run_id)
    assert tracking.sync_records(tmp_path, mlflow_config) == {}


def test_sync_passes_over_a_deleted_experiment(mlflow_config, tmp_path):
    """The others are logged; alone it is an error that says how to restore it."""
    gone = f"{mlflow_config.experiment_name} gone"
    opened = store.connect(replace(mlflow_config, experiment_name=gone))
    opened.client.delete_experiment(opened.experiment_id)
    store._open.clear()
    config = replace(mlflow_config, experiment_name=None)
    tracked.write(tmp_path / "a", "a", name=gone)
    other = tracked.write(tmp_path / "b", "b", name=f"{gone} not")
    with pytest.raises(RunnerError, match="was deleted in MLflow; restore it"):
        tracking.sync_records(tmp_path / "a", config)
    assert set(tracking.sync_records(tmp_path, config)) == {other}


def test_sync_fills_a_new_store(mlflow_config, tmp_path):
    """Records logged elsewhere are logged here too, since here they are not."""
    folder = tracked.write(tmp_path / "run")
    logged(folder, mlflow_config)
    other = TrackingConfig(uri=f"sqlite:///{tmp_path}/other.db")
    assert set(tracking.sync_records(tmp_path, other)) == {folder}


def test_sync_keeps_records_in_their_experiments(mlflow_config, tmp_path):
    """Without an experiment each record goes where its run would have been: by its config or its name."""
    own = {"tracking": {"enabled": True, "experiment_name": f"{mlflow_config.experiment_name} own"}}
    tracked.write(tmp_path / "a", "a", config=own)
    tracked.write(tmp_path / "b", "b", config={"tracking": {"experiment_name": None}}, name="b name")
    unnamed = replace(mlflow_config, experiment_name=None)
    assert len(tracking.sync_records(tmp_path, unnamed)) == 2
    for name, identity in ((own["tracking"]["experiment_name"], "a"), ("b name", "b")):
        (run,) = all_runs(replace(unnamed, experiment_name=name))
        assert run.data.tags["record_id"] == identity
    place = tracking.name_place(mlflow_config)
    assert tracking.read_place(place, unnamed) == mlflow_config
    assert tracking.read_place(place, replace(unnamed, uri="http://elsewhere")) is None


def test_a_run_is_in_the_experiment_of_its_name(tmp_path):
    """All points of a sweep are in that of the sweep; a name that is set stays."""
    write_notes(tmp_path, {"name": "fib, usb"})
    found = []
    for name, folder in ((None, None), (None, tmp_path), ("mine", tmp_path), (None, tmp_path / "gone")):
        config = OmegaConf.create({"name": "fib", "tracking": {"experiment_name": name}})
        OmegaConf.set_struct(config, True)
        settle_experiment(config, folder)
        found.append(config.tracking.experiment_name)
    assert found == ["fib", "fib, usb", "mine", "fib"]


def test_sync_passes_over_unreadable_records(mlflow_config, tmp_path, caplog):
    """A damaged record is named and does not keep the others from being logged."""
    folder = tracked.write(tmp_path / "run")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text("{")
    (tracked.write(tmp_path / "rows", "two") / "predictions.parquet").write_text("{")
    (folder / "mlflow.json").write_text("[")
    assert set(tracking.sync_records(tmp_path, mlflow_config)) == {folder}
    assert "bad/record.json cannot be read as a record" in caplog.text
    assert "rows/predictions.parquet cannot be read as the rows of a run" in caplog.text


def test_sync_to_a_dead_server_is_an_error(tmp_path):
    """Somebody who asks for the upload is told that it did not happen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RunnerError, match="cannot be used"):
        tracking.sync_records(tmp_path, TrackingConfig(uri=f"http://127.0.0.1:{port}"))
    assert store.describe_store(TrackingConfig(uri="http://me:secret@host")) == "http://***@host"


@pytest.mark.parametrize("ended", [True, False])
def test_a_killed_sweep_is_closed_by_the_next_command(mlflow_config, tmp_path, ended):
    """KILLED where no living process would close it, once; as it ended where only the server was missing."""
    above, folder = parent(mlflow_config), tmp_path / "sweeps" / "s1"
    point = tracked.write(folder / "0", "0", status="finished" if ended else "running", sweep="s1")
    notes = {"parent": above, "tracked": tracking.name_place(mlflow_config)}
    notes |= {"ended": True} if ended else {}
    write_notes(folder, notes)
    for living in (folder, point):
        with hold_alive(living):
            close_killed(tmp_path, mlflow_config)
        assert client(mlflow_config).get_run(above).info.status == "RUNNING"
    close_killed(tmp_path, mlflow_config)
    assert client(mlflow_config).get_run(above).info.status == ("FINISHED" if ended else "KILLED")
    assert read_notes(folder)["closed"]
    close_killed(tmp_path, mlflow_config)


def test_broken_notes_are_passed_over(mlflow_config, tmp_path, monkeypatch):
    """They keep no command from its work, and an address that came with a folder is not used."""
    monkeypatch.setattr(tracking, "close_sweep", lambda *_: 1 / 0)
    other = json.dumps({"parent": "x", "tracked": "runner in http://stranger"})
    for number, text in enumerate(["{", "[]", '{"parent": "x"}', "null", "\xff", other]):
        folder = tmp_path / "sweeps" / str(number)
        folder.mkdir(parents=True)
        (folder / "sweep.json").write_bytes(text.encode("latin-1"))
    close_killed(tmp_path, mlflow_config)


def test_the_parent_has_the_averages(mlflow_config, tmp_path):
    """Mean, standard deviation and bounds are metrics of the parent, and no plot has them as points."""
    above = parent(mlflow_config)
    folders = [tracked.point(tmp_path, job, scores={"f1": Score(job / 4, 0, 1, 8)}) for job in range(3)]
    planned = [{"hyperparameter.n_shot": job} for job in range(3)]
    write_notes(tmp_path / "s1", {"average_over": ["hyperparameter.n_shot"], "planned": planned})
    tracking.close_sweep(above, folders, mlflow_config)
    run = client(mlflow_config).get_run(above)
    assert (run.data.metrics["mean/f1"], run.data.metrics["sd/f1"]) == (0.25, 0.25)
    assert run.data.metrics["mean_high/f1"] == pytest.approx(0.25 + 4.302653 * 0.25 / 3**0.5)
    assert "mean over hyperparameter.n_shot" in run.data.tags["mlflow.note.content"]
    assert pl.read_csv(artifact(run, "sweep.csv"))["points"].to_list() == [None, None, None, 3]
