"""Published numbers whose recordings are not beside the checkout: RUNNER_RECORDINGS names their folder.

docs/reproduction.md has the commands of the whole tables, ``conf/dataset`` the files' addresses and hashes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from commandline import CommandLine
from places import ROOT
from published import documented, missed

from runner.core.paths import CONF

SOME_POINTS = {
    "zero_shot_cot": ("task=gsm8k,last_letters,strategyqa,aqua", "method=zero_shot_cot"),
    "alpaca_eval": ("judge=weighted_alpaca_eval_gpt4_turbo", "model=NullModel,text_davinci_001"),
    "mathvista": ("model=bard,llavar,gpt4_2shot_code_use_ocr",),
    "reflexion": ("log=context-reflexion-8,no_context-last_trial_and_reflexion-5",),
    "tora": ("model=tora-code-34b-v1.0,tora-70b-v1.0",),
    "program_of_thoughts": ("task=svamp,gsm8k_zero_shot",),
    "tree_of_thoughts": ("method=standard,cot",),
    "faithful_cot": ("task=GSM8K,AQUA,sports,date", "method=code002_COT,gpt-3.5-turbo_NL_SL"),
}


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the recordings, as the data folder; unnamed, the test is skipped."""
    folder = os.environ.get("RUNNER_RECORDINGS")
    if folder is None:
        pytest.skip("RUNNER_RECORDINGS names no folder with the files of docs/reproduction.md")
    monkeypatch.setenv("RUNNER_DATA_DIR", folder)
    return Path(folder)


@pytest.mark.parametrize("experiment", SOME_POINTS)
def test_the_figures_of_some_points_are_met(runner: CommandLine, recordings: Path, experiment: str) -> None:
    """All figures of these points are met, and each row has its recorded answer."""
    points = [f"dataset.params.{point}" for point in SOME_POINTS[experiment]]
    assert runner(f"experiment={experiment}", "-m", *points, "tracking=none").code == 0
    records = runner.records()
    assert missed(records) == []
    assert all(record.reference for record in records)
    assert all(record.figures["answered"] == record.figures["n"] for record in records)


def test_the_logs_print_the_accuracies_that_are_measured(runner: CommandLine, recordings: Path) -> None:
    """Zero-shot-CoT's logs end with the accuracy in full."""
    points = ("dataset.params.task=svamp,commonsensqa", "dataset.params.method=zero_shot,zero_shot_cot")
    assert runner("experiment=zero_shot_cot", "-m", *points, "tracking=none").code == 0
    for record in runner.records():
        name = record.config["dataset"]["url"].rpartition("/")[2]
        (log,) = recordings.rglob(name)
        (printed,) = re.findall(r"^accuracy : (.*)$", log.read_text(), re.MULTILINE)
        assert record.scores["accuracy"].value == pytest.approx(float(printed) / 100, abs=1e-12)


@pytest.mark.parametrize("experiment", SOME_POINTS)
def test_the_docs_count_all_printed_figures(experiment: str) -> None:
    """The figures that the docs state are those of the reference, each once."""
    figures = yaml.safe_load((CONF / "reference" / f"{experiment}.yaml").read_text())["figures"]
    printed = sum(figure is not None for case in figures.values() for figure in case)
    counts = [
        n for command, (n, _) in documented().items() if command.split()[1] == f"experiment={experiment}"
    ]
    assert sum(counts) == printed


def test_recordings_are_named_by_commit_and_hash() -> None:
    """Each file of these papers has an address with a commit, and none of them is in the repository."""
    for experiment in SOME_POINTS:
        text = (CONF / "dataset" / f"{experiment}.yaml").read_text()
        assert re.search(r"url: https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/[0-9a-f]{40}/", text), (
            experiment
        )
        assert len(re.findall(r"\b[0-9a-f]{64}\b", text)) >= 2, experiment
    assert not list((ROOT / "data").glob("*/*annotations*"))
