"""One record becomes one MLflow run, in a real store."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import polars as pl
import pytest
import tracked
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from tracked import all_runs, artifact, client, logged

from runner import tracking
from runner.config.schema import TrackingConfig
from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.records.alive import hold_alive
from runner.records.folder import write_notes
from runner.tracking import names, run_names, runs, store


def test_run_shows_what_was_measured(mlflow_config, tmp_path):
    """Only scores are plain metrics, and a search finds each group by its name; times are the record's."""
    scores = {"accuracy": Score(0.75, 0.6, 0.9, 8), "accuracy_parsed": Score(0.8, 0.7, 0.9, 7)}
    reference = [{"metric": "accuracy", "published": 0.7}]
    folder = tracked.write(
        tmp_path / "run", scores=scores, reference=reference, curves={"train_loss": [(1, 2.0)]}
    )
    run = logged(folder, mlflow_config)
    assert run.data.metrics == {
        "accuracy": 0.75, "interval/accuracy_low": 0.6, "interval/accuracy_high": 0.9,
        "parsed/accuracy": 0.8, "parsed/accuracy_low": 0.7, "parsed/accuracy_high": 0.9,
        "published/accuracy": 0.7, "training/train_loss": 2.0,
        "usage/parse_rate": 0.875, "usage/cost_usd": 0.5, "Scores/accuracy": 0.75,
    }  # fmt: skip
    assert all_runs(mlflow_config, "metrics.accuracy > 0.7 and metrics.`interval/accuracy_low` >= 0.6")
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_042_000)
    assert run.info.status == "FINISHED"


def test_undefined_scores_are_left_out(mlflow_config, tmp_path):
    """A score without value or bounds is no metric, rather than a made-up number; its reason is a tag."""
    scores = {"f1": Score(None, reason="every target is 'a'"), "auc": Score(0.5)}
    run = logged(tracked.write(tmp_path / "run", scores=scores), mlflow_config)
    assert run.data.tags["reason/f1"] == "every target is 'a'"
    assert "not defined: f1 (every target is 'a')" in run.data.tags["mlflow.note.content"]
    assert "f1" not in run.data.metrics
    assert run.data.metrics["auc"] == 0.5
    assert "interval/auc_low" not in run.data.metrics


@pytest.mark.parametrize(
    "key", ["dataset@finetune.dataset", "+x.y", "prompt/a", "f1 (macro)", "a=b", "_target_"]
)
def test_every_swept_key_is_a_filterable_param(mlflow_config, tmp_path, key):
    """Whatever Hydra lets one sweep becomes a param that a search finds."""
    folder = tracked.write(tmp_path / "run", swept={key: "value"})
    run = logged(folder, mlflow_config)
    name = next(name for name, value in run.data.params.items() if value == "value")
    assert [found.info.run_id for found in all_runs(mlflow_config, f"params.`{name}` = 'value'")] == [
        run.info.run_id
    ]


def test_long_params_are_cut_openly(mlflow_config, tmp_path):
    """A text that MLflow would cut in silence says so, and all of it is an artifact."""
    text = "prompt " * 2000
    run = logged(tracked.write(tmp_path / "run", params={"prompt.user": text}), mlflow_config)
    assert len(run.data.params["prompt.user"]) == 6000
    assert run.data.params["prompt.user"].endswith(
        "[cut, 14000 characters; all of it in params/prompt.user.txt]"
    )
    assert artifact(run, "params/prompt.user.txt").read_text() == text


def test_curves_of_any_length_are_stepped_metrics(mlflow_config, tmp_path):
    """A curve longer than one request holds keeps every step."""
    curve = [(step, 1 / step) for step in range(1, 2501)]
    run = logged(tracked.write(tmp_path / "run", curves={"train_loss": curve}), mlflow_config)
    history = client(mlflow_config).get_metric_history(run.info.run_id, "training/train_loss")
    assert [(point.step, point.value) for point in sorted(history, key=lambda point: point.step)] == curve


def test_predictions_are_a_table(mlflow_config, tmp_path, monkeypatch):
    """The rows can be read as MLflow's table, and whole as parquet."""
    run = logged(tracked.write(tmp_path / "run"), mlflow_config)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_config.uri)
    table = client(mlflow_config).load_table(run.info.experiment_id, "predictions.json", [run.info.run_id])
    assert table["completion"].tolist() == tracked.rows()["completion"].to_list()
    assert "messages" not in table.columns
    assert pl.read_parquet(artifact(run, "predictions.parquet")).equals(tracked.rows())


def test_row_scores_stand_beside_the_answer(mlflow_config, tmp_path):
    """The table shows how a row was scored next to what was expected and answered."""
    frame = tracked.rows().with_columns(accuracy=1.0, split=pl.lit("test"), document=pl.lit("text"))
    folder = tracked.write(tmp_path / "run", frame=frame, row_scores={"accuracy": "right", "gone": "value"})
    table = json.loads(artifact(logged(folder, mlflow_config), "predictions.json").read_text())
    wanted = ["id", "completion", "prediction", "target", "correct", "accuracy", "probability", "document"]
    assert table["columns"][:8] == wanted
    assert table["data"][0][4] is True


def test_large_tables_are_cut_to_a_page(mlflow_config, tmp_path):
    """The table in the UI has at most 2,000 rows; the parquet has all."""
    run = logged(tracked.write(tmp_path / "run", frame=tracked.rows(2500)), mlflow_config)
    assert len(json.loads(artifact(run, "predictions.json").read_text())["data"]) == 2000
    assert pl.read_parquet(artifact(run, "predictions.parquet")).height == 2500


def test_figures_follow_the_content(mlflow_config, tmp_path):
    """Labels call for a confusion matrix, a probability for a reliability diagram, curves for a plot."""
    folder = tracked.write(
        tmp_path / "run",
        labels=[tracked.INCONSISTENT, tracked.CONSISTENT],
        params={"metric.f1.positive": tracked.CONSISTENT},
        curves={"train_loss": [(1, 2.0), (2, 1.0)]},
    )
    figures = artifact(logged(folder, mlflow_config), "figures")
    assert {file.name for file in figures.iterdir()} == {
        "confusion_matrix.svg", "reliability.png", "training.png",
    }  # fmt: skip


def test_data_sets_are_inputs(mlflow_config, tmp_path):
    """Name, digest, split and number of rows of what was read are on the run."""
    (given,) = logged(tracked.write(tmp_path / "run"), mlflow_config).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("fib", "abc")
    assert json.loads(given.dataset.profile) == {"num_rows": 8}
    assert given.tags[0].value == "test"


@pytest.mark.parametrize(("status", "shown"), [("failed", "FAILED"), ("stopped", "KILLED")])
def test_ends_other_than_success_show(mlflow_config, tmp_path, status, shown):
    """A failed and a stopped run are told from a finished one, with the reason on the page."""
    run = logged(tracked.write(tmp_path / "run", status=status, error="no credit"), mlflow_config)
    assert run.info.status == shown
    assert "no credit" in run.data.tags["mlflow.note.content"]


def test_a_run_without_rows_is_logged(mlflow_config, tmp_path):
    """A run that failed before its first row has no predictions, and is shown all the same."""
    folder = tracked.write(tmp_path / "run", status="failed")
    (folder / "predictions.parquet").unlink()
    assert logged(folder, mlflow_config).info.status == "FAILED"


def test_logging_again_makes_no_second_run(mlflow_config, tmp_path):
    """The same record is the same run, with the same metrics."""
    folder = tracked.write(tmp_path / "run", models=CHECKPOINTS)
    first, second = logged(folder, mlflow_config), logged(folder, mlflow_config)
    assert first.info.run_id == second.info.run_id
    assert first.data.metrics == second.data.metrics
    assert len(all_runs(mlflow_config)) == 1


def test_half_a_log_is_completed(mlflow_config, tmp_path):
    """What a killed process left of a run is found again, and was not RUNNING."""
    folder = tracked.write(tmp_path / "run", "half")
    begun = runs.create_run(store.connect(mlflow_config), "fib", {"record_id": "half"}, "KILLED", (1.0, 2.0))
    assert client(mlflow_config).get_run(begun).info.status == "KILLED"
    run = logged(folder, mlflow_config)
    assert (run.info.run_id, run.info.status, run.data.metrics["accuracy"]) == (begun, "FINISHED", 0.75)


def test_strays_are_ended(mlflow_config, tmp_path):
    """A run whose process was killed is ended by whoever opens the store next, if its folder is here.

    Those that live, those of other folders and machines, and those of other programs go on.
    """
    directly = MlflowClient(mlflow_config.uri)
    number = directly.create_experiment(mlflow_config.experiment_name)
    for name in ("dead", "alive"):
        tracked.write(tmp_path / "outputs" / name, name, status="running")
    write_notes(tmp_path / "outputs" / "dead", {"name": "sweep"})

    def make(folder, source="runner", **tags):
        tags |= {"mlflow.source.name": source, "folder": f"outputs/{folder}"}
        return directly.create_run(number, tags=tags).info.run_id

    dead = [make("dead", record_id="dead"), make("dead", sweep_parent="dead")]
    others = [
        make("alive", record_id="alive"),
        make("dead", record_id="of another machine"),
        make("elsewhere", record_id="gone"),
        make("elsewhere", sweep_parent="elsewhere"),
        make("dead", source="train.py"),
    ]
    with hold_alive(tmp_path / "outputs" / "alive"):
        assert tracking.prepare(mlflow_config)
    assert {directly.get_run(run).info.status for run in dead} == {"KILLED"}
    assert {directly.get_run(run).info.status for run in others} == {"RUNNING"}


def test_changed_params_replace_the_run(mlflow_config, tmp_path):
    """Params cannot be changed in MLflow; a record that was run differently is not shown under old ones."""
    old = logged(tracked.write(tmp_path / "run", params={"seed": 0}), mlflow_config)
    new = logged(tracked.write(tmp_path / "run", params={"seed": 1}), mlflow_config)
    assert [run.info.run_id for run in all_runs(mlflow_config)] == [new.info.run_id]
    assert old.info.run_id != new.info.run_id


CHECKPOINTS = [
    {"number": i, "step": 125 * i, "model": f"ft:gpt-4o:acme::Ab{i}:ckpt-step-{125 * i}", "evaluated": i == 2}
    for i in (1, 2)
]


def test_checkpoints_are_logged_models(mlflow_config, tmp_path):
    """Each checkpoint is one model for all runs, found by its real id; the evaluated one has the metrics."""
    for name in ("a", "b"):
        logged(tracked.write(tmp_path / name, name, models=CHECKPOINTS), mlflow_config)
    opened = store.connect(mlflow_config)
    models = {
        model.params["model"]: model for model in opened.client.search_logged_models([opened.experiment_id])
    }
    assert len(models) == 2
    metrics = models["ft:gpt-4o:acme::Ab2:ckpt-step-250"].metrics
    assert {(metric.key, metric.value, metric.dataset_name) for metric in metrics} >= {
        ("accuracy", 0.75, "fib")
    }
    assert not models["ft:gpt-4o:acme::Ab1:ckpt-step-125"].metrics


def test_no_credentials_reach_the_store(mlflow_config, tmp_path):
    """A password in a URL is in no param, tag or artifact."""
    folder = tracked.write(tmp_path / "run", params={"ledger.url": "postgresql://me:hunter2@db/runs"})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("ledger: {url: 'postgresql://me:hunter2@db/runs'}")
    run = logged(folder, mlflow_config)
    assert run.data.params["ledger.url"] == "postgresql://***@db/runs"
    artifacts = [file for file in artifact(run, "").rglob("*") if file.is_file()]
    assert len(artifacts) > 3
    assert not [file for file in artifacts if b"hunter2" in file.read_bytes()]


def test_disabled_tracking_does_nothing(tmp_path):
    """With ``tracking=none`` nothing is made, anywhere."""
    mlflow_config = TrackingConfig(enabled=False, uri=f"sqlite:///{tmp_path}/never.db")
    folder = tracked.write(tmp_path / "run")
    assert tracking.prepare(mlflow_config) is False
    assert tracking.log_run(folder, mlflow_config) is None
    assert not (tmp_path / "never.db").exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mlruns", "is a folder"),
        ("htp://host", "unknown kind; did you mean 'http'"),
        ("file:///x", "is a folder"),
    ],
)
def test_wrong_addresses_are_refused(uri, message):
    """An address that can hold no runs is an error before anything is paid."""
    for refuse in (tracking.check, tracking.prepare):
        with pytest.raises(ConfigError, match=message):
            refuse(TrackingConfig(uri=uri))


def test_a_paid_run_is_not_lost_to_a_wrong_address(tmp_path, caplog):
    """What would be an error before a run is only a warning after it."""
    assert tracking.log_run(tracked.write(tmp_path / "run"), TrackingConfig(uri="htp://elsewhere")) is None
    assert "unknown kind" in caplog.text


def test_a_deleted_experiment_is_named(mlflow_config):
    """An experiment in MLflow's bin is an error that says how to restore it."""
    directly = MlflowClient(mlflow_config.uri)
    number = directly.create_experiment(mlflow_config.experiment_name)
    directly.delete_experiment(number)
    with pytest.raises(ConfigError, match=f"mlflow experiments restore -x {number}"):
        tracking.prepare(mlflow_config)


def test_a_dead_server_costs_a_warning(tmp_path, caplog):
    """Nobody listens: the run goes on, and one line says how to show it later."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    mlflow_config = TrackingConfig(uri=f"http://127.0.0.1:{port}")
    folder = tracked.write(tmp_path / "run")
    assert tracking.prepare(mlflow_config) is False
    assert tracking.log_run(folder, mlflow_config) is None
    assert tracking.open_sweep("fib", "s1", mlflow_config) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "`runner sync`" in caplog.text


LOG = """
import sys
from pathlib import Path
from runner import tracking
from runner.config.schema import TrackingConfig
mlflow_config = TrackingConfig(uri=sys.argv[1])
assert tracking.prepare(mlflow_config)
assert tracking.log_run(Path(sys.argv[2]), mlflow_config)
"""


KILLED = """
import os, sys, threading
from runner import tracking
from runner.config.schema import TrackingConfig

def kill_in_the_middle():
    while not os.path.exists("mlflow.db.partial") or os.path.getsize("mlflow.db.partial") < 150_000:
        pass
    os.kill(os.getpid(), 9)

threading.Thread(target=kill_in_the_middle, daemon=True).start()
tracking.prepare(TrackingConfig(uri=sys.argv[1]))
"""


def test_two_processes_share_a_fresh_store(tmp_path):
    """Two unrelated processes that make the same store at the same moment both have their run in it.

    What a killed process left of a store in the making is no obstacle.
    """
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert subprocess.run([sys.executable, "-c", KILLED, uri], cwd=tmp_path).returncode == -9
    assert not (tmp_path / "mlflow.db").exists()
    folders = [tracked.write(tmp_path / str(i), f"record {i}") for i in range(2)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", LOG, uri, folder], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
        )
        for folder in folders
    ]
    assert [process.communicate(timeout=120)[1] for process in started] == [b"", b""]
    found = all_runs(TrackingConfig(uri=uri))
    assert {run.data.tags["record_id"] for run in found} == {f"record {i}" for i in range(2)}
    assert {run.info.status for run in found} == {"FINISHED"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"overrides": ["experiment=fib"]}, "smol · fib"),
        ({"overrides": ["dataset.limit=5", "provider=openai", "ledger.url=x"]}, "limit=5 · smol · fib"),
        ({"overrides": ["dataset=fib", "+prompt.user=a", "judge.prompt.user=b"]},
         "prompt.user=a · judge.prompt.user=b · smol · fib"),
        ({"overrides": ["n_shot=9"], "sweep": "s", "swept": {"n_shot": 3, "provider.model": "smol"}},
         "n_shot=3 · smol · fib"),
        ({"sweep": "s", "swept": {"dataset": "fib", "checkpoint": None}}, "checkpoint=null · smol · fib"),
        ({"sweep": "s", "swept": {"x": "postgresql://me:hunter2@db"}}, "x=postgresql://***@db · smol · fib"),
        ({"tags": {}}, "fib"),
    ],
)  # fmt: skip
def test_a_run_is_named_by_what_sets_it_apart(changes, name):
    """What was swept or typed stands first, with its values; nothing is told twice, and no secret."""
    assert run_names.name_run(tracked.record(**changes)) == name


@given(st.lists(st.text(min_size=1), min_size=2, unique=True))
def test_points_have_names_of_their_own(values):
    """Long values, and such as differ in blanks only, still give one name to each point."""
    points = [tracked.record(sweep="s", swept={"prompt.user": value}) for value in values]
    found = [run_names.name_run(point) for point in points]
    assert len(set(found)) == len(found)
    assert max(map(len, found)) < 100


def test_names_that_become_one_are_told_apart():
    """Two names that MLflow would see as one keep their values."""
    assert names.clean_keys({"a=b": 1, "a@b": 2, "a_b": 3}) == {"a_b": 1, "a_b_2": 2, "a_b_3": 3}


def test_links_out_of_the_folder_are_not_uploaded(mlflow_config, tmp_path, caplog):
    """Nor is a pipe waited for; each is named."""
    folder = tracked.write(tmp_path / "run")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.jinja").write_text("secret")
    (folder / "notes.json").symlink_to(tmp_path / "secret" / "key.jinja")
    (folder / "prompts").mkdir()
    (folder / "prompts" / "a.jinja").symlink_to(tmp_path / "secret" / "key.jinja")
    os.mkfifo(folder / "prompts" / "b.jinja")
    (folder / "prompts" / "c.jinja").write_text("own")
    (folder / ".hydra").symlink_to(tmp_path / "secret")
    run = logged(folder, mlflow_config)
    assert artifact(run, "prompts/c.jinja").read_text() == "own"
    assert not any("key" in file.name or file.read_bytes() == b"secret" for file in _list_files(run))
    assert caplog.text.count("is not uploaded") == 4


def _list_files(run):
    return [file for file in artifact(run, ".").rglob("*") if file.is_file()]
