"""A config comes back from its record as it was."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

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
    return OmegaConf.to_object(past_run.typed(loads(dumps(plan.to_plain(config)))))


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
