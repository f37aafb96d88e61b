"""Every option file composes with the schema, and what it names can be made."""

from __future__ import annotations

import re
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from runner.config import schema
from runner.core.paths import CONF
from runner.experiment.plan import make_plan

ALONE = ["hyperparameter", "judge", "finetune", "tracking", "experiment"]
"""Groups whose options are composed one by one."""
TOGETHER = {"dataset": "finetune", "prompt": "judge", "provider": "judge"}
"""Groups that do not know one another, and where their options can be used a second time.

One composition, which takes a quarter of a second, has one option of each."""
NEEDED = {
    "logs/openai_evals": {"path": "log.json", "params.target": "ideal"},
    **{
        f"logs/{name}": {"path": "log.json"}
        for name in ("inspect", "lm_eval", "lm_eval_choices", "promptfoo")
    },
    "any_llm": {"service_name": "openai", "api_key_env": "OPENAI_API_KEY"},
    "azure": {"base_url": "https://example.invalid"},
    "openai_compatible": {"base_url": "http://127.0.0.1:1/v1"},
}
"""What some options leave to the user, besides a key and a model."""
NAMED = ("local", "replay")
"""Providers that take no model of any name."""


def needed(option, place):
    return [f"{place}.{key}={value}" for key, value in NEEDED.get(option, {}).items()]


def options(group):
    for file in sorted((CONF / group).rglob("*.yaml")):
        yield file.relative_to(CONF / group).with_suffix("").as_posix()


def sets():
    """One option of each group, until all were there; a short group starts again."""
    choices = [list(options(group)) for group in TOGETHER]
    for number in range(max(map(len, choices))):
        yield tuple(names[number % len(names)] for names in choices)


@pytest.fixture
def composed(monkeypatch):
    """Compose a config as the command line does."""
    for file in (CONF / "provider").glob("*.yaml"):
        for key in re.findall(r"_env: ([A-Z]\w+)", file.read_text()):
            monkeypatch.setenv(key, "for-tests")
    schema.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: compose("config", list(overrides))


@pytest.mark.parametrize(("group", "option"), [(group, name) for group in ALONE for name in options(group)])
def test_option(composed, group, option):
    """Composed over the default experiment, an option gives a typed config and a plan."""
    assert make_plan(composed(f"{group}={option}", *needed(option, "dataset"))).config.name


def test_metrics(composed):
    """All metrics can be chosen together, but for those of one name; the data give each what it needs."""
    waiting = {
        option: set(yaml.safe_load((CONF / f"metric/{option}.yaml").read_text()))
        for option in options("metric")
    }
    while waiting:
        chosen: dict[str, set[str]] = {}
        for option, names in waiting.items():
            if names.isdisjoint(chain.from_iterable(chosen.values())):
                chosen[option] = names
        plan = make_plan(composed(f"metric=[{','.join(chosen)}]", "dataset=fib"))
        assert set().union(*chosen.values()) <= {*plan.metrics, "defaults"}
        waiting = {option: names for option, names in waiting.items() if option not in chosen}


@pytest.mark.parametrize(("dataset", "prompt", "provider"), list(sets()))
def test_options_that_are_used_twice(composed, dataset, prompt, provider):
    """Data sets, prompts and providers give a plan, and can be used again, elsewhere in the config."""
    overrides = ["finetune=supervised", "judge=correctness"]
    for (group, other), option in zip(TOGETHER.items(), (dataset, prompt, provider), strict=True):
        inside = f"{other}.{group}"
        overrides += [f"{group}={option}", f"{group}@{inside}={option}"]
        overrides += [*needed(option, group), *needed(option, inside)]
    overrides += [f"{place}provider.model=any" for place in ("", "judge.") if provider not in NAMED]
    config = composed(*overrides)
    for group, other in TOGETHER.items():
        assert OmegaConf.to_container(config[other][group], resolve=True)
    if provider == "any_llm" and find_spec("any_llm") is None:
        return  # a plan makes the provider, which needs the extra
    config.finetune.name, config.judge = "none", None
    config.prompt.response_format = "text"  # not every service has JSON by a schema
    assert make_plan(config).config.name


@pytest.mark.parametrize("option", list(options("experiment")))
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
