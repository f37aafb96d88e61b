"""Runs at several services, from the command line to the record."""

from __future__ import annotations

import pytest
from adding import Sums, answer
from hosted import KEY
from messages import MessagesService
from servers import serving

from runner.config.schema import HyperparameterConfig
from runner.core.errors import ConfigError
from runner.experiment.sampling import leave_out_lacking
from runner.providers.azure import Azure
from runner.providers.local import Local
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI, OpenAICompatible

ANTHROPIC = ("provider=anthropic", "provider.model=adder")


@pytest.fixture
def api():
    return MessagesService()


@pytest.fixture
def sums(runner, monkeypatch, api):
    """The experiment at Anthropic; the judge and the other services are those of ``adding``."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    def respond(call):
        return api(call) if "/messages" in call.path else answer(call)

    with serving(respond) as server:
        yield Sums(runner, server, rows=4)


def test_the_shipped_settings(sums, api):
    """Their temperature of 0 and seed of 0 are left out, which is said and recorded."""
    ran = sums(*ANTHROPIC)
    assert ran.code == 0, ran.err
    assert "has no hyperparameter.temperature and no hyperparameter.seed: left out" in ran.err
    record = sums.records()[0]
    recorded = record.config["hyperparameter"]
    assert (recorded["temperature"], recorded["seed"], recorded["max_tokens"]) == (None, None, 64)
    assert api.live == 4


@pytest.mark.parametrize("setting", ["seed=3", "temperature=0.5", "top_p=0.9", "logprobs=2", "verbosity=low"])
def test_what_the_service_lacks_is_refused(sums, api, setting):
    """A reading that claimed such a value would be wrong."""
    ran = sums(*ANTHROPIC, f"hyperparameter.{setting}")
    assert ran.code == 2
    assert f"hyperparameter.{setting}: provider=anthropic has none; null leaves it out" in ran.err
    assert api.calls == 0


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Local, "reasoning_effort"),
        (Local, "thinking_tokens"),
        (OpenAI, "thinking_tokens"),
        (OpenAICompatible, "thinking_tokens"),
        (Azure, "thinking_tokens"),
        (Mistral, "verbosity"),
    ],
)
def test_who_has_no_such_key_of_reasoning(kind, name):
    """The key and the service are named."""
    settings = HyperparameterConfig(
        temperature=0.0, seed=0, **{name: 0 if name == "thinking_tokens" else "low"}
    )
    with pytest.raises(ConfigError, match=rf"judge\.hyperparameter\.{name}=.*provider={kind.name} has none"):
        leave_out_lacking(settings, kind(model="m"), "judge.")


def test_a_judge_at_another_service(sums, api):
    """Its own settings lose what its service lacks; those of the run keep it."""
    judged = ("provider@judge.provider=anthropic", "judge.provider.model=grader", "judge=sums")
    api.answer = lambda body: MessagesService().answer({**body, "messages": [{"content": "1 + 1"}]})
    ran = sums(*judged, f"judge.provider.base_url={sums.server.url}/v1", "metric=verdict_share")
    recorded = sums.records()[0].config
    assert "judge.hyperparameter.seed" in ran.err
    assert (recorded["hyperparameter"]["seed"], recorded["judge"]["hyperparameter"]["seed"]) == (0, None)


def test_two_services_in_one_sweep(sums, api):
    """Each has its own lane: the limits of one do not slow the other."""
    api.headers = {"anthropic-ratelimit-requests-limit": "6000"}
    ran = sums("-m", "provider=openai_compatible,anthropic")
    assert ran.code == 0, ran.err
    assert [record.config["hyperparameter"]["seed"] for record in sums.records()] == [0, None]
    assert [record.scores["accuracy"].value for record in sums.records()] == [0.25, 0.25]
