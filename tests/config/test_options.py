"""Every option file composes with the schema, and what it names can be made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from runner.config import schema
from runner.core.paths import CONF
from runner.experiment.plan import make_plan
from runner.pipeline.prompt import compile_prompt

GROUPS = [
    "dataset",
    "prompt",
    "provider",
    "hyperparameter",
    "metric",
    "judge",
    "finetune",
    "tracking",
    "experiment",
]
NEEDED = {
    "provider=openai_compatible": ["provider.base_url=http://127.0.0.1:1/v1", "provider.model=any"],
    "provider=azure": ["provider.base_url=https://example.invalid"],
    "metric": ["dataset=fib"],  # binary metrics take the positive label from the data set
}
KEYS = ["OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "MISTRAL_API_KEY", "ANTHROPIC_API_KEY", "TOGETHER_API_KEY"]


def options():
    for group in GROUPS:
        for file in sorted((CONF / group).rglob("*.yaml")):
            yield group, file.relative_to(CONF / group).with_suffix("").as_posix()


@pytest.fixture
def composed(monkeypatch):
    """Compose a config as the command line does."""
    for key in KEYS:
        monkeypatch.setenv(key, "for-tests")
    schema.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: compose("config", list(overrides))


@pytest.mark.parametrize(("group", "option"), list(options()))
def test_option(composed, group, option):
    """Composed over the default experiment, an option gives a typed config and a plan."""
    config = composed(f"{group}={option}", *NEEDED.get(f"{group}={option}", NEEDED.get(group, [])))
    plan = make_plan(config)
    assert plan.config.name


@pytest.mark.parametrize(
    ("group", "option"), [o for o in options() if o[0] in ("dataset", "prompt", "provider")]
)
def test_option_inside_judge(composed, group, option):
    """Datasets, prompts and providers can be used a second time, elsewhere in the config."""
    if group == "dataset":
        config = composed("finetune=supervised", f"dataset@finetune.dataset={option}")
        assert OmegaConf.to_container(config.finetune.dataset, resolve=True)["name"]
        return
    config = composed("judge=correctness", f"{group}@judge.{group}={option}")
    assert OmegaConf.to_container(config.judge[group], resolve=True)


@pytest.mark.parametrize("option", [name for group, name in options() if group == "prompt"])
def test_prompt_compiles(composed, option):
    """The templates of a prompt option exist and are valid."""
    assert compile_prompt(OmegaConf.to_object(composed(f"prompt={option}")).prompt).digest


@pytest.mark.parametrize("option", [name for group, name in options() if group == "experiment"])
def test_experiment_starts_with_its_command(option):
    """An experiment file says on top how it is run."""
    lines = (CONF / "experiment" / f"{option}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert any(f"runner experiment={option}" in line for line in lines[1:8])


def test_option_files_are_small():
    """Option files stay small enough to read at a glance, but for a table of figures or hashes at the end."""
    table = re.compile(r"^ *(figures|sha256|hashes):\n.*", re.MULTILINE | re.DOTALL)
    texts = {str(file): table.sub("", file.read_text()) for file in Path(CONF).rglob("*.yaml")}
    long = [file for file, text in texts.items() if len(text.splitlines()) > 60]
    assert not long


def test_the_scale_of_ratings_is_the_parser_s():
    """Every metric of ratings takes the ends of the scale from the parser, where the data set names none."""
    GlobalHydra.instance().clear()
    names = ["mean_absolute_error", "pearson", "kappa_quadratic"]
    overrides = ["dataset=llmbar_rating", "prompt=llmbar_rating", f"metric=[{','.join(names)}]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        metrics = OmegaConf.to_object(compose("config", overrides)).metric
    assert {metrics[name]["minimum"] for name in names} == {0}
