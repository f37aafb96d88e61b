"""Each preset against a server that plays its service and takes only the fields that this documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from asking import KEY, MESSAGES, ask
from servers import Call, Reply, Server, completion, serving

from runner.config.schema import HyperparameterConfig
from runner.core.errors import ConfigError
from runner.core.paths import CONF
from runner.core.types import Sampling
from runner.experiment.plan import leave_out_lacking
from runner.providers.openai import OpenAICompatible

PLAIN = {"model", "messages", "temperature", "top_p", "stop", "response_format"}
SCORES = {"logprobs", "top_logprobs"}
TAKES = {
    "gemini": PLAIN | {"max_tokens", "reasoning_effort"},
    "groq": PLAIN | {"max_completion_tokens", "seed", "reasoning_effort"},
    "fireworks": PLAIN | SCORES | {"max_tokens", "seed", "reasoning_effort"},
    "deepseek": PLAIN | SCORES | {"max_tokens", "reasoning_effort", "thinking"},
    "xai": (PLAIN | SCORES | {"max_completion_tokens", "seed", "reasoning_effort"}) - {"stop"},
    "openrouter": PLAIN | SCORES | {"max_tokens", "seed", "reasoning", "verbosity", "provider"},
    "vllm": PLAIN | SCORES | {"max_tokens", "seed", "reasoning_effort"},
    "ollama": PLAIN | SCORES | {"max_tokens", "seed", "reasoning_effort"},
}
"""The fields of a request that a service documents, as far as a config sets any of them."""
EVERYTHING = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 5,
    "seed": 7,
    "stop": ("\n",),
    "logprobs": 2,
    "reasoning_effort": "high",
    "verbosity": "low",
}
SHIPPED = {
    key: value
    for key, value in yaml.safe_load((CONF / "hyperparameter" / "default.yaml").read_text()).items()
    if key != "n_shot"
}
SCHEMA = {"type": "object"}
FILES = [CONF / "provider" / f"{name}.yaml" for name in TAKES]
NAMES = sorted(TAKES)


def preset(name: str, **more: Any) -> OpenAICompatible:
    """The provider of an option file, under a base URL of the test's."""
    settings = yaml.safe_load((CONF / "provider" / f"{name}.yaml").read_text())
    assert settings.pop("defaults") == ["openai_compatible"]
    return OpenAICompatible(**{"model": "m"} | settings | more)


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Refuses what the service of the test's parameter ``name`` does not take."""
    name = request.getfixturevalue("name")
    monkeypatch.setenv(f"{name.upper()}_API_KEY", KEY)

    def respond(call: Call) -> Reply:
        if odd := call.json.keys() - TAKES[name]:
            return Reply({"error": {"message": f"Unknown name: {sorted(odd)}"}}, status=400)
        return Reply(completion("1"))

    with serving(respond) as served:
        yield served


def settle(provider: OpenAICompatible, **values: Any) -> Sampling:
    """The sampling of a config with these values, after what the service lacks was left out or refused."""
    hyperparameter = HyperparameterConfig(**values)
    leave_out_lacking(hyperparameter, provider)
    return Sampling(**{key: getattr(hyperparameter, key) for key in EVERYTHING})


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_settings_are_answered(name: str, server: Server) -> None:
    """Greedy answers of 64 tokens, without thinking; what cannot be said is left out."""
    provider = preset(name, base_url=server.url)
    sampling = settle(provider, **SHIPPED)
    provider.check(sampling)
    provider.check_limits()
    assert ask(provider, sampling).text == "1"
    body = server.last.json
    limit = {"max_tokens", "max_completion_tokens"} & body.keys()
    assert (body["model"], body["messages"]) == (provider.model, list(MESSAGES))
    assert ([body[key] for key in limit], body["temperature"]) == ([64], 0.0)
    assert body.get("seed") == (0 if "seed" in TAKES[name] else None)
    assert {key: body[key] for key in provider.no_effort} == provider.no_effort


@pytest.mark.parametrize("key", EVERYTHING)
@pytest.mark.parametrize("name", NAMES)
def test_each_setting_is_sent_or_refused(name: str, key: str, server: Server) -> None:
    """A value that the user set never gets lost, and no service is asked what it does not know."""
    provider = preset(name, base_url=server.url)
    field = {"max_tokens": provider.token_limit, "reasoning_effort": provider.effort_field.split(".")[0]}
    if field.get(key, key) not in TAKES[name]:
        with pytest.raises(ConfigError, match=rf"hyperparameter\.{key}=.*: provider={name} has none; null"):
            settle(provider, **{key: EVERYTHING[key]})
        return
    sampling = settle(provider, **{key: EVERYTHING[key]})
    provider.check(sampling)
    assert ask(provider, sampling).text == "1"
    sent = {key: EVERYTHING[key]}
    if key == "logprobs":
        sent = {"logprobs": True, "top_logprobs": 2}
    elif key == "stop":
        sent = {"stop": ["\n"]}
    elif key == "reasoning_effort":
        sent = {"reasoning": {"effort": "high"}} if name == "openrouter" else sent
        assert server.last.json.keys().isdisjoint({*provider.no_effort} - {"reasoning_effort"})
    for one, value in sent.items():
        assert server.last.json[field.get(one, one) if one not in ("reasoning",) else one] == value


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_sent_or_refused(name: str, server: Server) -> None:
    """DeepSeek has JSON, but no schema of it."""
    provider = preset(name, base_url=server.url)
    sampling = Sampling(response_format="json_schema", json_schema=SCHEMA)
    if name == "deepseek":
        with pytest.raises(ConfigError, match=r"response_format=json_schema: provider=deepseek has none"):
            provider.check(sampling)
        provider.check(replace(sampling, response_format="json_object"))
    else:
        provider.check(sampling)
        ask(provider, sampling)
        assert server.last.json["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize("name", NAMES)
def test_no_service_is_asked_in_batches(name: str, server: Server) -> None:
    """The presets ask live, and say who has batches."""
    with pytest.raises(ConfigError, match=r"provider\.batch=true: only openai, azure, .* have batches"):
        preset(name, base_url=server.url, batch=True).check()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_preset_is_a_few_lines_and_says_where_its_facts_are_from(file: Path) -> None:
    """A link in a comment, the service's name, and no more than a dozen settings."""
    lines = file.read_text().splitlines()
    assert sum(not line.startswith("#") for line in lines) <= 12
    assert any("https://" in line for line in lines if line.startswith("#"))
    assert f"service_name: {file.stem}" in lines


def test_what_a_service_cannot_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled name in the table would let a run through."""
    with pytest.raises(
        ConfigError, match=r"provider.lacks: 'sed' is no sampling setting; did you mean 'seed'"
    ):
        preset("vllm", lacks=["sed"]).check_limits()


def test_what_a_service_cannot_lack_in_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lacking is left out before anything else is checked; the mistake is named there, too."""
    with pytest.raises(ConfigError, match=r"judge\.provider\.lacks: 'sed' is no .* did you mean 'seed'"):
        leave_out_lacking(HyperparameterConfig(), preset("vllm", lacks=["sed"]), "judge.")


def test_the_default_of_thinking_identifies_answers() -> None:
    """What is sent without an effort is part of the ledger's key; other services keep their key."""
    thinking = preset("deepseek", no_effort={})
    assert preset("deepseek").identity() != thinking.identity()
    assert "no_effort" not in OpenAICompatible(model="m", base_url="http://a").identity()
