"""Runs at several services, from the command line to the record."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from adding import Sums, answer
from hosted import KEY
from messages import MessagesService, describe_api, failure
from servers import Reply, serving

from runner import load
from runner.config.schema import HyperparameterConfig
from runner.core.errors import ConfigError
from runner.experiment.plan import leave_out_lacking
from runner.providers.azure import Azure
from runner.providers.local import Local
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI, OpenAICompatible

ANTHROPIC = ("provider=anthropic", "provider.model=adder")


@pytest.fixture
def api():
    return MessagesService()


@pytest.fixture
def asked():
    """Path and time of each call."""
    return []


@pytest.fixture
def limits():
    """Headers of the answers of the service that is not Anthropic."""
    return {}


@pytest.fixture
def sums(runner, monkeypatch, api, asked, limits):
    """The experiment at Anthropic; the judge and the other services are those of ``adding``."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    def respond(call):
        asked.append((call.path, time.monotonic()))
        return api(call) if "/messages" in call.path else replace(answer(call), headers=limits)

    with serving(respond) as server:
        yield Sums(runner, server, rows=4)


def test_the_shipped_settings(sums, api, monkeypatch):
    """Their temperature of 0 and seed of 0 are left out, which is said and recorded."""
    monkeypatch.setattr("runner.experiment.plan._warned", set())  # it is said once in a process
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


def test_two_services_in_one_sweep(sums, api, asked, limits):
    """Each has its own lane: the limits of one do not slow the other, although both are asked at once."""
    api.headers = {"anthropic-ratelimit-requests-limit": "6000"}
    limits["x-ratelimit-limit-requests"] = "300"
    sums.write([f"{n} + {n}" for n in range(16)])
    describe_api()  # takes seconds
    ran = sums("-m", "provider=openai_compatible,anthropic", "hydra/launcher=concurrent")
    assert ran.code == 0, ran.err
    slow, quick = ([at for path, at in asked if path.endswith(end)] for end in ("completions", "messages"))
    assert max(slow) - min(slow) > 2 * (max(quick) - min(quick))
    assert {record.config["hyperparameter"]["seed"] for record in sums.records()} == {0, None}
    assert [record.scores["accuracy"].value for record in sums.records()] == [1 / 16, 1 / 16]


def think(body):
    """An answer whose thinking is of another length for each sum."""
    status, made = MessagesService().answer(body)
    thought = 200 + 40 * (int(made["content"][0]["text"]) % 7)
    usage = {
        "input_tokens": 10,
        "output_tokens": thought + 2,
        "output_tokens_details": {"thinking_tokens": thought},
    }
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    return status, made | {"usage": usage, "content": [thinking, *made["content"]]}


def test_tokens_that_were_not_counted_are_not_0(sums, api):
    """A gateway that leaves the usage out: neither tokens nor dollars are told."""
    api.answer = lambda body: (200, MessagesService().answer(body)[1] | {"usage": None})
    assert sums(*ANTHROPIC).code == 0
    figures = sums.records()[0].figures
    assert figures["answered"] == 4
    assert not {"input_tokens", "output_tokens", "reasoning_tokens", "cost_usd"} & figures.keys()


EFFORT = ("hyperparameter.reasoning_effort=low", "hyperparameter.max_tokens=4000")


def test_thinking_is_counted_and_priced(sums, api):
    """It is part of what was written, in a column of its own and in the bill."""
    api.answer = think
    ran = sums(*ANTHROPIC, *EFFORT)
    assert ran.code == 0, ran.err
    record = sums.records()[0]
    thought = sum(200 + 40 * (2 * n % 7) for n in range(4))
    assert record.figures["reasoning_tokens"] == thought
    dollars = (4 * 10 * 1000 + (thought + 4 * 2) * 10000) / 1e6  # at the prices of ``adding``
    assert record.figures["cost_usd"] == pytest.approx(dollars)


def test_an_estimate_learns_how_long_a_model_thinks(sums, api, monkeypatch):
    """After a few rows it is within a tenth of what the others cost, though none of them was asked."""
    api.answer = think
    sums.write([f"{n} + {n}" for n in range(60)])
    sums(*ANTHROPIC, *EFFORT, "++dataset.limit=10")
    calls, points = api.calls, []
    monkeypatch.setattr("runner.cli.estimate.show_points", lambda found, _: points.extend(found))
    sums.estimate(*ANTHROPIC, *EFFORT)
    assert (api.calls, points[0].answers.calls) == (calls, 50)
    sums(*ANTHROPIC, *EFFORT)
    assert points[0].usd[0] == pytest.approx(sums.records()[-1].figures["cost_usd"], rel=0.1)
    sums.write([f"{n} + {n} " for n in range(100, 140)])  # no prompt of these has a stored answer
    points.clear()
    sums.estimate(*ANTHROPIC, *EFFORT)
    assert points[0].answers.stored == 0
    sums(*ANTHROPIC, *EFFORT)
    assert points[0].usd[0] == pytest.approx(sums.records()[-1].figures["cost_usd"], rel=0.1)


def test_a_batch_at_anthropic(sums, api):
    """It has the scores of a live run and costs half."""
    ran = sums(*ANTHROPIC, "provider.batch=true", "provider.batch_poll_s=0.01")
    assert ran.code == 0, ran.err
    record = sums.records()[0]
    assert (record.scores["accuracy"].value, api.live, len(api.batches)) == (0.25, 0, 1)
    assert record.figures["cost_usd"] == pytest.approx(4 * 0.03 / 2)


def test_a_batch_with_two_results_for_a_request(sums, api):
    """The first one counts, whatever the second says, and a warning says so."""
    tell = api.tell_results

    def repeat(name):
        lines = tell(name).body.split(b"\n")
        return Reply(b"\n".join([*lines, lines[0].replace(b'"text": "', b'"text": "9')]))

    api.tell_results = repeat
    ran = sums(*ANTHROPIC, "provider.batch=true", "provider.batch_poll_s=0.01")
    assert "a request has two results; the first one counts" in ran.err
    (folder,) = (sums.folder / "outputs" / "runs").iterdir()
    assert load(folder).frame["completion"].to_list() == ["0", "2", "4", "6"]


def test_a_refused_setting_names_its_key(sums, api):
    """A model that always thinks does not take the default; the first call says so and is the only one."""
    api.answer = lambda body: (400, failure(400, "thinking.type: disabled is not supported for this model"))
    ran = sums(*ANTHROPIC)
    assert ran.code != 0
    assert "provider.thinking=null with hyperparameter.thinking_tokens=null leaves it out" in ran.err
    assert api.live == 1


def test_a_mistake_in_a_judges_settings_names_its_key(sums, api):
    """Those of a member are its own; a service that is not set for the judge is the run's."""
    url = f"{sums.server.url}/v1"
    there = ("provider@judge.provider=anthropic", f"judge.provider.base_url={url}", "judge=sums")
    ran = sums(*there, "judge.hyperparameter.thinking_tokens=100")
    assert "error: judge.hyperparameter.thinking_tokens=100: must be" in ran.err
    member = (
        f"{{provider: {{_target_: runner.providers.anthropic.Anthropic, base_url: '{url}', thinking: x}}}}"
    )
    panel = sums("judge=sums", f"+judge.members={{one: {member}, two: {{}}}}", "metric=verdict_share")
    assert "error: judge.members.one.provider.thinking='x': must be" in panel.err
    own = sums("judge=sums", "provider.timeout_s=0", "metric=verdict_share")
    assert "error: provider.timeout_s" in own.err
    assert api.calls == 0


def test_what_a_judges_service_refuses_names_its_key(sums, api):
    """As the run's own refusals do."""
    api.answer = lambda body: (400, failure(400, "thinking.type: disabled is not supported for this model"))
    there = ("provider@judge.provider=anthropic", f"judge.provider.base_url={sums.server.url}/v1")
    ran = sums(*there, "judge.provider.model=grader", "judge=sums", "metric=verdict_share")
    assert ran.code == 1
    named = "(judge.provider.thinking=null with judge.hyperparameter.thinking_tokens=null leaves it out)"
    assert named in ran.err
