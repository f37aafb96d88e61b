"""A config comes back from its record as it was."""

from __future__ import annotations

import json

import pytest
from adding import Sums, answer
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from servers import serving

from runner.config import schema
from runner.core.paths import CONF
from runner.experiment import plan
from runner.records.record import dumps, loads
from runner.reproduce import past_run

EXPERIMENTS = [file.stem for file in sorted((CONF / "experiment").glob("*.yaml"))]


@pytest.fixture
def composed():
    """Compose a config as the command line does."""
    schema.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: OmegaConf.to_object(compose("config", list(overrides)))


def back(config):
    """A typed config, written and read."""
    return OmegaConf.to_object(past_run.to_typed_config(loads(dumps(plan.to_plain(config)))))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments(composed, experiment):
    """Every experiment's config, with labels that are numbers and enumerations, is read back equal."""
    config = composed(f"experiment={experiment}")
    assert back(config) == config


@pytest.mark.parametrize("text", ["${x}", r"\${x}", r"costs \\${x} or ${y", "{{ a }} \\"])
def test_a_dollar_is_text(composed, text):
    """What looks like an interpolation in a resolved config stays text."""
    config = composed()
    config.prompt.user = text
    assert back(config).prompt.user == text


def old_config(composed, weight):
    """A config as it was recorded while files of a data set had a weight."""
    config = plan.to_plain(composed("dataset=usb", "finetune=fib", "+dataset@finetune.extra.usb=usb"))
    finetune = config["finetune"]
    datasets = [config["dataset"], finetune["dataset"], finetune["extra"]["usb"]]
    for file in [file for dataset in datasets for file in dataset["files"]]:
        file["weight"] = weight
    return loads(dumps(config))


@pytest.mark.parametrize(("weight", "warnings"), [(1.0, 0), (2.0, 6)])
def test_a_retired_key_is_left_out(composed, caplog, weight, warnings):
    """A key that the schema no longer has is dropped from an old record, and named if it was set."""
    kept = past_run.drop_retired_keys(old_config(composed, weight))
    assert kept == loads(dumps(plan.to_plain(OmegaConf.to_object(past_run.to_typed_config(kept)))))
    assert "weight" not in dumps(kept["dataset"])
    assert len(caplog.messages) == warnings
    assert all("files.0.weight=" in text or "files.1.weight=" in text for text in caplog.messages)


def test_a_record_with_a_retired_key_is_reproduced(runner):
    """A record that was written while files had a weight is the same today."""
    with serving(answer) as server:
        Sums(runner, server)("dataset.path=null", "dataset.files=[{path: rows.jsonl}]")
    (folder,) = runner.folder.glob("outputs/runs/*")
    content = json.loads((folder / "record.json").read_text())
    content["config"]["dataset"]["files"][0]["weight"] = 1.0
    (folder / "record.json").write_text(json.dumps(content))
    outcome = runner("reproduce", str(folder), "--config-dir", "mine")
    assert outcome.code == 0, outcome.out + outcome.err
