"""A run as a log of Inspect: by its schema, by reading it back, and by Inspect where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile

import pytest
from logs import LOGS

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
    assert not (runner.folder / "mine.eval").exists()


@pytest.mark.skipif(shutil.which("inspect") is None, reason="inspect is not on the PATH")
def test_inspect_reads_it(log):
    """By its own command; `inspect view` shows the same."""
    dumped = subprocess.run(["inspect", "log", "dump", str(log)], capture_output=True, check=True)
    found = json.loads(dumped.stdout)
    assert (found["status"], len(found["samples"])) == ("success", 8)
    assert found["samples"][0]["events"][0]["event"] == "model"
