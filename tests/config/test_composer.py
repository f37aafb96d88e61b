"""Points of a sweep that are copies of one another are what Hydra would have composed."""

from __future__ import annotations

from itertools import product

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict
from options import write_options
from places import CONF

from runner.config import schema
from runner.config.composer import Composer, copy_config, save_job
from runner.config.mistakes import watch

SWEPT = {
    "hyperparameter.n_shot": ["0", "3"],
    "prompt": ["human_evaluator", "fib_judge"],
    "name": ["plain", "'${dataset.name}-x'"],
    "+provider.options": ["{a: 1}", "{b: 2}"],
}
FIXED = ["provider=openai_compatible", "dataset.limit=3", "hydra.job.chdir=false"]


@pytest.fixture
def loader():
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra.config_loader


def test_as_composed_by_hydra(loader):
    """Values, options, interpolations, mappings, and what Hydra notes about its overrides."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    composer = Composer(loader)
    for values in product(*SWEPT.values()):
        overrides = FIXED + [f"{key}={value}" for key, value in zip(SWEPT, values, strict=True)]
        wanted = loader.load_sweep_config(master, overrides)
        composer.load_sweep_config(master, overrides)
        got = composer.take(master, overrides)
        assert OmegaConf.to_container(got) == OmegaConf.to_container(wanted)
        assert OmegaConf.get_type(got) == OmegaConf.get_type(wanted)


@pytest.fixture
def compositions(monkeypatch):
    """The overrides of each composition."""
    made = []

    def load(self, config_name, overrides, *rest, **more):
        made.append(list(overrides))
        return as_before(self, config_name, overrides, *rest, **more)

    as_before = watch._load
    monkeypatch.setattr(watch, "_load", load)
    return made


def test_a_command_is_composed_once(runner, compositions):
    """Not a second time to see whether it is a sweep, or to tell a mistake."""
    assert runner("show", "dataset.path=gone.csv").code == 2
    assert len(compositions) == 1
    compositions.clear()
    assert "no such key" in runner("datset=fib").err
    assert len(compositions) == 1


def test_an_option_file_that_is_a_sweep(runner, compositions):
    """A file may say that it is a sweep and what is swept, also an option that it leaves open."""
    swept = "# @package _global_\ndefaults: [override /prompt: '???']\n"
    swept += "hydra: {mode: MULTIRUN, sweeper: {params: {prompt: 'human_evaluator,fib_judge'}}}\n"
    write_options(runner.folder, {"experiment/both.yaml": swept})
    outcome = runner("--config-dir", "mine", "experiment=both", "tracking=none", "dataset.path=gone.csv")
    assert outcome.code == 2
    assert "gone.csv" in outcome.err
    assert ["prompt=fib_judge" in made for made in compositions].count(True) == 1


def test_an_option_file_is_read_again_when_it_changes(runner):
    """And only then, however often configs are composed in a process."""
    for limit in (7, 8):
        write_options(runner.folder, {"dataset/own.yaml": f"defaults: [human_evaluator]\nlimit: {limit}"})
        for _ in range(2):
            outcome = runner("--config-dir", "mine", "dataset=own", "--cfg", "job", "--package", "dataset")
            assert f"limit: {limit}" in outcome.out


def test_a_class_instead_of_an_option(loader):
    """A class that replaces the option, and keys that only this class takes."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    composer = Composer(loader)
    for target, style in product(["{_target_: own.Mine, style: x}", "{_target_: own.Mine}"], "abc"):
        overrides = [f"provider.style={style}", "provider.batch=true", f"provider={target}"]
        wanted = loader.load_sweep_config(master, overrides)
        composer.load_sweep_config(master, overrides)
        got = composer.take(master, overrides)
        assert OmegaConf.to_container(got) == OmegaConf.to_container(wanted)
        assert got.provider == {"_target_": "own.Mine", "style": style, "batch": True}


def test_saved_as_by_hydra(loader, tmp_path):
    """The files in ``.hydra`` are the text that OmegaConf writes."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    texts = ["name='3'", "+dataset.params={a: 1e3, b: [yes, '', null, 'ü\\n  x: y']}", "provider.model='off'"]
    config = loader.load_sweep_config(master, FIXED + texts)
    task = copy_config(config)
    with open_dict(task):
        del task["hydra"]
    save_job(config, task, tmp_path / ".hydra")
    wanted = {"config": task, "hydra": OmegaConf.masked_copy(config, "hydra")}
    wanted["overrides"] = config.hydra.overrides.task
    for name, part in wanted.items():
        assert (tmp_path / ".hydra" / f"{name}.yaml").read_text() == OmegaConf.to_yaml(part)


def test_a_wrong_value_is_told_by_hydra(loader):
    """The message of a later point is that of a first one."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    composer = Composer(loader)
    composer.load_sweep_config(master, ["hyperparameter.n_shot=0"])
    with pytest.raises(Exception, match=r"Error merging override hyperparameter\.n_shot=many"):
        composer.load_sweep_config(master, ["hyperparameter.n_shot=many"])
