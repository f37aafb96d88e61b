"""A record may come from a stranger: only this package's own classes are made from it."""

from __future__ import annotations

import random

import pytest
from omegaconf import OmegaConf
from places import ROOT

from runner.config.trust import find_nodes, is_own_class, list_safe_overrides, refuse_foreign_classes
from runner.core.errors import ConfigError

FOREIGN = [
    "os.system",
    "builtins.eval",
    "joblib.load",
    "pandas.read_pickle",
    "shutil.copyfile",
    "hydra.utils.instantiate",
    "runner.run",
    "runner.cli.main.os.system",
    "runner.cli.sweep.OpenSweep",
    "runner.core.files.write_atomically",
    "runner.metrics.try_all",
    "runner.metrics.base.np.load",
    "runner.metrics.inspect.os.system",
    "runner.metrics.base.Measure",
    "runner.providers.local.weights.Path",
    "runner.providers.openai.tuning.OpenAITuner",
    "runner.metrics..F1.__init__",
    "runner.metrics.F1.__subclasses__",
    "runner.parse:Number",
    "",
    None,
    ["os.system"],
    {"_target_": "os.system"},
]


@pytest.mark.parametrize("target", FOREIGN, ids=str)
def test_foreign(target):
    """Neither other packages' code, nor a function of ours, nor what one of our modules imported."""
    assert not is_own_class(target)


def test_shipped_options():
    """Every class that a shipped option file names is one that a record may name."""
    files = [OmegaConf.load(file) for file in (ROOT / "conf").rglob("*.yaml") if "hydra" not in file.parts]
    named = {
        node["_target_"]
        for file in files
        for key, node in find_nodes(OmegaConf.to_container(file))
        if not key.startswith("hydra")
    }
    assert len(named) > 20
    assert [name for name in named if not is_own_class(name)] == []


def bury(draw, depth):
    """A node with a foreign class somewhere in it."""
    if depth == 0:
        return {"_target_": "os.system", "command": "true"}
    inner = bury(draw, depth - 1)
    return draw.choice(
        [
            ["a", None, inner],
            {"x": inner, 1: "b"},
            {"_target_": "runner.metrics.F1", "_args_": [inner]},
            {"_target_": "runner.metrics.F1", "_partial_": True, "_recursive_": False, "average": inner},
        ]
    )


@pytest.mark.parametrize("seed", range(30))
def test_found_at_any_depth(seed):
    """However deep it is, the class is found, and the message shows the call."""
    draw = random.Random(seed)
    with pytest.raises(ConfigError, match=r"os\.system\(command='true'"):
        refuse_foreign_classes({"metric": bury(draw, draw.randrange(6))}, "reproduce.trust=true")


SAFE = ["dataset=fib", "metric=[f1,text]", "provider@judge.provider=openai"]
VALUES = [
    "dataset.limit=5",
    "~metric.accuracy",
    "checkpoint=/x/y",
    "name=${dataset.name}-${oc.env:HOME}-${now:%Y}",
    "metric.x._target_=runner.metrics.F1",
    "provider={_target_: runner.providers.openai.OpenAI, base_url: 'http://x'}",
]
UNSAFE = [
    "dataset=../x",
    "dataset=/x",
    "metric=[f1,../x]",
    "dataset@finetune.dataset=a/../../x",
    "hydra.searchpath=[pkg://antigravity]",
    "hydra/launcher=joblib",
    "+metric.x={_target_: os.system, command: x}",
    "+metric.x.y=[{_target_: os.system}]",
    "metric.x._target_=os.system",
    "+metric.x='${oc.create:{_target_:evil.X}}'",
    "+metric.x='${ oc.decode:\"{_target_: evil.X}\"}'",
    "+metric.x='${oc.select:a,{_target_:evil.X}}'",
    "+metric.x='${oc.env:A,${oc.create:{_target_:evil.X}}}'",
    "+metric.x='${${oc.env:A}:{_target_:evil.X}}'",
    "dataset.limit=1,2",
    "broken=[",
]


def test_overrides():
    """Recorded overrides that leave the option folders, import code or change Hydra are left out."""
    assert list_safe_overrides([*SAFE, *VALUES, *UNSAFE]) == [*SAFE, *VALUES]
    assert list_safe_overrides([*SAFE, *VALUES, *UNSAFE], only_options=True) == SAFE
