"""The library any-llm between a config and a service; the service is played, the library is not."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from asking import KEY, MESSAGES, ask
from servers import Reply, Server, completion, serving

from runner.core.errors import ConfigError, FatalProviderError, ProviderError, RetryableError
from runner.core.types import Sampling
from runner.providers.any_llm import AnyLLM

pytest.importorskip("any_llm")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Answers with the class attribute ``reply``."""
    monkeypatch.setenv("A_KEY", KEY)
    replies.clear()
    with serving(lambda call: replies[0] if replies else Reply(completion("2"))) as served:
        yield served


replies: list[Reply] = []


def make(server: Server, **settings: Any) -> AnyLLM:
    """A provider for the played service."""
    fixed = {"model": "m", "service_name": "openai", "base_url": f"{server.url}/v1", "api_key_env": "A_KEY"}
    return AnyLLM(**fixed | settings)


def test_every_field_arrives(server: Server) -> None:
    """What a config sets is what the service is sent, and its usage comes back."""
    replies.append(
        Reply(completion("2", usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}))
    )
    sampling = Sampling(temperature=0.0, top_p=0.9, max_tokens=5, seed=7, stop=("x",), logprobs=2)
    answer = ask(make(server), sampling)
    sent = server.last.json
    assert (sent["model"], sent["messages"]) == ("m", list(MESSAGES))
    assert {sent.get("max_tokens"), sent.get("max_completion_tokens")} == {5, None}
    assert (sent["temperature"], sent["top_p"], sent["seed"], sent["stop"]) == (0.0, 0.9, 7, ["x"])
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    assert server.last.headers["Authorization"] == f"Bearer {KEY}"
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("2", 9, 1)


def test_thinking_is_kept_apart(server: Server) -> None:
    """The library has it in an object of its own."""
    body = completion("2")
    body["choices"][0]["message"]["reasoning_content"] = "Hm."
    replies.append(Reply(body))
    answer = ask(make(server))
    assert (answer.text, answer.reasoning) == ("2", "Hm.")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, RetryableError), (500, RetryableError), (503, RetryableError), (401, FatalProviderError)],
)
def test_the_library_does_not_try_again(server: Server, status: int, kind: type[ProviderError]) -> None:
    """One call is one request: what is repeated, and when, the engine decides."""
    replies.append(Reply({"error": {"message": f"no {KEY}"}}, status=status, headers={"Retry-After": "7"}))
    with pytest.raises(kind) as raised:
        ask(make(server))
    assert len(server.calls) == 1
    assert KEY not in str(raised.value)
    if isinstance(raised.value, RetryableError) and status == 429:
        assert (raised.value.retry_after, raised.value.limited) == (7, True)


def test_a_refused_setting_is_named(server: Server) -> None:
    """As at other services, with the key that leaves it out."""
    replies.append(Reply({"error": {"message": "no", "param": "temperature"}}, status=400))
    with pytest.raises(FatalProviderError, match=r"hyperparameter\.temperature=null leaves it out"):
        ask(make(server), Sampling(temperature=0.5))


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ("nosuch", r"unknown to any-llm \(anthropic, "),
        ("coher", "did you mean 'cohere'"),
        ("ollama", "packages are not installed"),
        ("openai", "max_retries"),
    ],
)
def test_what_the_library_cannot_do(
    server: Server, service: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first call: an unknown service, a missing package, and retries that stay on."""
    monkeypatch.setattr("any_llm.providers.openai.openai.OpenaiProvider.MAX_RETRIES_SUPPORT", "unsupported")
    with pytest.raises(ConfigError, match=f"provider.service_name={service}: .*{words}"):
        make(server, service_name=service).check(Sampling())


def test_a_service_is_named_before_its_key() -> None:
    """Which service it is says which key is wanted, so a wrong name is the first mistake."""
    with pytest.raises(ConfigError, match=r"service_name=coher: .* did you mean 'cohere'"):
        AnyLLM(model="m", service_name="coher").check(Sampling())


def test_the_table_of_a_service(server: Server) -> None:
    """``lacks`` works as for the presets, and the service's name is that of its prices."""
    provider = make(server, service_name="openai", lacks=["seed"])
    assert ("seed" in provider.lacking(), provider.name) == (True, "openai")


def test_no_address_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library knows those of its services."""
    monkeypatch.setenv("A_KEY", KEY)
    provider = AnyLLM(model="m", service_name="openai", api_key_env="A_KEY")
    provider.check(Sampling())
    assert provider.identity()["through"] == "any_llm"


def test_the_class_is_small() -> None:
    """At most sixty lines: the library does the rest."""
    assert len(inspect.getsource(AnyLLM).splitlines()) <= 60
