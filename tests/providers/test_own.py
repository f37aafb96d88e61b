"""A class of the user's own is used by its name alone: in a run, in a sweep, and when it is repeated."""

from __future__ import annotations

import asyncio

import pytest
import yaml

from runner.core.errors import ConfigError, FatalProviderError
from runner.experiment.plan import make_provider

LONG = {"_target_": "own.Mine", "style": "4"}


@pytest.mark.parametrize("launcher", ["basic", "concurrent"])
def test_it_is_swept_like_an_option(runner, launcher):
    """Each point has the class and its keys and nothing of the option before it; it can be repeated."""
    outcome = runner(
        *("-m", "tracking=none", "dataset.limit=2", f"hydra/launcher={launcher}"),
        *("provider={_target_: own.Mine, style: '4'},{_target_: own.Plain}",),
    )
    assert outcome.code == 0, outcome.err
    mine, plain = sorted(runner.records(), key=lambda record: record.job)
    assert (mine.config["provider"], plain.config["provider"]) == (LONG, {"_target_": "own.Plain"})
    folder = next(runner.folder.glob("outputs/sweeps/*")) / "0"
    assert yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())["provider"] == LONG
    again = runner("reproduce", str(folder), "reproduce.trust=true")
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Unidentified",
            r"judge\.provider: KeyError: 'grade' \(.*own\.py, line \d+, in Unidentified\.identity\)",
        ),
        ("Alone", r"judge\.provider: Alone\.complete cannot be called with \(request\): too many"),
    ],
)
def test_its_methods_are_tried_before_the_first_call(name, message):
    """What they raise is told with its place."""
    with pytest.raises(ConfigError, match=message):
        make_provider({"_target_": f"own.{name}"}, "judge.provider")


def test_complete_must_be_async():
    """Else no call can succeed, so the run stops."""
    with pytest.raises(FatalProviderError, match="waiting: complete must be written as async def"):
        asyncio.run(make_provider({"_target_": "own.Waiting"}).complete(None))
