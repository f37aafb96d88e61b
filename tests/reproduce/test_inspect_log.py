"""A run as a log of Inspect: by its schema, by reading it back, and by Inspect where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile

import polars as pl
import pytest
from logs import LOGS

from runner.core.types import Score
from runner.records.folder import PREDICTIONS
from runner.records.record import Record
from runner.reproduce.inspect_log import write_log

REQUIRED = {"id", "epoch", "input", "target", "messages", "output", "scores", "metadata", "events"}
HEADER = {"eval_id", "run_id", "created", "task", "task_id", "dataset", "model", "config", "packages"}


@pytest.fixture
def log(runner):
    """The log of a run over recorded answers, two for each row."""
    words = ["experiment=logs/inspect", f"dataset.path={LOGS / 'inspect_small.eval'}", "tracking=none"]
    assert runner(*words, "dataset.params.scorer=match").code == 0
    (run,) = runner.folder.glob("outputs/runs/*")
    outcome = runner("export", str(run), "to=mine.eval")
    assert (outcome.code, outcome.out.strip()) == (0, "mine.eval: 8 samples, 6 scores")
    return runner.folder / "mine.eval"


def test_a_log_has_what_inspect_requires(log):
    """Every answer is a sample and every score is in the header, with its interval."""
    with zipfile.ZipFile(log) as archive:
        content = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    header, sample = content["header.json"], content["samples/Laos_epoch_2.json"]
    assert header["eval"].keys() >= HEADER
    assert (header["version"], header["status"], header["eval"]["config"]["epochs"]) == (2, "success", 2)
    scores = {score["name"]: score["metrics"] for score in header["results"]["scores"]}
    assert scores["their_score"].keys() == {"value", "low", "high"}
    assert sample.keys() >= REQUIRED
    assert [turn["role"] for turn in sample["messages"]] == ["user", "assistant"]
    assert (sample["output"]["completion"], sample["target"]) == ("Lagos", "Vientiane")
    score = sample["scores"]["exact_match"]
    assert (score["value"], score["answer"]) == ("I", "Lagos")
    assert len(content["summaries.json"]) == 8
    reduced = {one["sample_id"]: one["value"] for one in content["reductions.json"][0]["samples"]}
    assert reduced["Laos"] == 0.5


def test_a_log_can_be_read_back(runner, log):
    """Its scores are then the other tool's, and ours are the same."""
    before = runner.records()[0].scores["exact_match"]
    assert runner("experiment=logs/inspect", f"dataset.path={log}", "tracking=none").code == 0
    after = runner.records()[-1].scores
    assert after["their_score"].value == after["exact_match"].value == before.value


def test_a_sweep_is_several_logs(runner):
    """Their folder is refused with the number of its runs."""
    (runner.folder / "nothing").mkdir()
    outcome = runner("export", "nothing", "to=mine.eval")
    assert outcome.code == 2
    assert "a log of Inspect is of one run" in outcome.err
    outcome = runner("export", "nothing", "to=mine.eval", "export.data=true")
    assert outcome.err == "error: export.data: a log for Inspect (mine.eval) holds no data files\n"
    assert not (runner.folder / "mine.eval").exists()


@pytest.mark.skipif(shutil.which("inspect") is None, reason="inspect is not on the PATH")
def test_inspect_reads_it(log):
    """By its own command; `inspect view` shows the same."""
    dumped = subprocess.run(["inspect", "log", "dump", str(log)], capture_output=True, check=True)
    found = json.loads(dumped.stdout)
    assert (found["status"], len(found["samples"])) == ("success", 8)
    assert found["samples"][0]["events"][0]["event"] == "model"


def test_what_is_not_known_is_left_out(tmp_path):
    """An answer that was not read is N, but no number; thoughts and an error have their places."""
    record = Record(id="r", name="n", status="stopped", row_scores={"right": "right", "error_size": "value"})
    record.error, record.scores = "the budget", {"right": Score(None, n=2)}
    record.write(tmp_path)
    rows = {
        "id": ["a/b", "c"],
        "completion": ["hm", None],
        "reasoning": ["so", None],
        "error": [None, "refused"],
        "prediction": [None, None],
        "target": [["x", "y"], ["z"]],
        "right": [None, 1.0],
        "error_size": [None, 2.0],
        "messages": [[{"role": "user", "content": "?"}]] * 2,
        "input_tokens": [10, None],
        "cached_tokens": [4, None],
        "output_tokens": [2, None],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / PREDICTIONS)
    write_log(tmp_path, tmp_path / "x.eval")
    with zipfile.ZipFile(tmp_path / "x.eval") as archive:
        first, second, header, reductions = (
            json.loads(archive.read(name))
            for name in (
                "samples/a/b_epoch_1.json",
                "samples/c_epoch_1.json",
                "header.json",
                "reductions.json",
            )
        )
    assert {name: score["value"] for name, score in first["scores"].items()} == {"right": "N"}
    assert {name: score["value"] for name, score in second["scores"].items()} == {
        "right": "C",
        "error_size": 2.0,
    }
    assert (first["target"], first["input"]) == (["x", "y"], "?")
    assert [part["type"] for part in first["messages"][1]["content"]] == ["reasoning", "text"]
    assert (second["error"]["message"], second["output"]["choices"]) == ("refused", [])
    (usage,) = first["model_usage"].values()
    assert usage == {"input_tokens": 6, "output_tokens": 2, "input_tokens_cache_read": 4, "total_tokens": 12}
    assert (header["status"], header["error"]["message"]) == ("cancelled", "the budget")
    assert (header["results"]["scores"], header["results"]["headline"]) == ([], None)
    assert [one["value"] for one in reductions[1]["samples"]] == [2.0]
