"""What Anthropic is sent and what is made of its answers, against a server that plays the SDK's types."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hosted import KEY
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import MessagesService, failure, message
from servers import Reply, Server, serving

from runner.core.errors import ConfigError, FatalProviderError, ProviderError, RetryableError
from runner.core.provider import RateLimits
from runner.core.types import Completion, Message, Request, Sampling
from runner.providers.anthropic import Anthropic
from runner.providers.anthropic.messages import parse_message

CHAT: tuple[Message, ...] = (
    {"role": "system", "content": "Add."},
    {"role": "user", "content": "1 + 1"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "2 + 3"},
)
SAMPLING = Sampling(max_tokens=64)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def ask(server: Server, sampling: Sampling = SAMPLING, **settings: Any) -> Completion:
    """One completion of the chat, after the check that every run makes."""
    return ask_of(Anthropic(base_url=f"{server.url}/v1", **settings), sampling)


def ask_of(provider: Anthropic, sampling: Sampling = SAMPLING) -> Completion:
    provider.check(sampling)

    async def once() -> Completion:
        try:
            return await provider.complete(Request(CHAT, sampling))
        finally:
            await provider.aclose()

    return asyncio.run(once())


def sent(sampling: Sampling = SAMPLING, **settings: Any) -> dict[str, Any]:
    """The body that the server found right."""
    with serving(MessagesService()) as server:
        assert ask(server, sampling, **settings).text == "5"
        body: dict[str, Any] = server.last.json
    return body


def answered(body: Any, status: int = 200, **headers: str) -> Completion:
    """What becomes of one answer."""
    with serving(lambda call: Reply(body, status=status, headers=headers)) as server:
        return ask(server)


def test_a_request() -> None:
    """The system turn is apart, shots are turns; the smallest request says nothing else."""
    assert sent() == {
        "model": "claude-haiku-5-5",
        "system": "Add.",
        "messages": list(CHAT[1:]),
        "max_tokens": 64,
        "thinking": {"type": "disabled"},
    }


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("sampling", "settings", "fields"),
    [
        ({"stop": ("END",)}, {}, {"stop_sequences": ["END"]}),
        (
            {"reasoning_effort": "low"},
            {},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        ),
        ({"reasoning_effort": "low", "thinking_tokens": 0}, {}, {"thinking": {"type": "disabled"}}),
        (
            {"thinking_tokens": 1024, "max_tokens": 2000},
            {},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        ({}, {"thinking": "adaptive"}, {"thinking": {"type": "adaptive"}}),
        (
            {"response_format": "json_schema", "json_schema": SCHEMA},
            {},
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        ({}, {"options": {"service_tier": "standard_only"}}, {"service_tier": "standard_only"}),
    ],
)
def test_what_a_setting_sends(
    sampling: dict[str, Any], settings: dict[str, Any], fields: dict[str, Any]
) -> None:
    """Each in the API's own field."""
    body = sent(Sampling(**{"max_tokens": 64, **sampling}), **settings)
    assert {name: body[name] for name in fields} == fields


def test_thinking_is_left_to_the_model() -> None:
    """With null nothing is said about it, for models that always think."""
    assert "thinking" not in sent(thinking=None)


@pytest.mark.parametrize(
    ("sampling", "settings", "reason"),
    [
        ({"max_tokens": None}, {}, "hyperparameter.max_tokens=null"),
        ({"stop": ("\n",)}, {}, "hyperparameter.stop"),
        ({"response_format": "json_object"}, {}, "prompt.response_format=json_object"),
        ({"thinking_tokens": 500}, {}, "hyperparameter.thinking_tokens=500"),
        (
            {"thinking_tokens": 1024},
            {},
            "thinking_tokens=1024: .* below hyperparameter.max_tokens=64",
        ),
        ({"reasoning_effort": "minimal"}, {}, "reasoning_effort=minimal: anthropic has low, medium"),
        (
            {"thinking_tokens": 0},
            {"options": {"thinking": {"type": "adaptive"}}},
            "provider.options sets it, too",
        ),
        ({"temperature": 1.5}, {"api_version": "2023-06-01"}, "temperature=1.5: anthropic takes 0 to 1"),
        ({}, {"thinking": "yes"}, "provider.thinking='yes'"),
    ],
)
def test_what_the_service_would_refuse(
    sampling: dict[str, Any], settings: dict[str, Any], reason: str
) -> None:
    """Is refused before anything is sent, and the key is named."""
    with pytest.raises(ConfigError, match=reason):
        Anthropic(**settings).check(Sampling(**{"max_tokens": 64, **sampling}))


@pytest.mark.parametrize(
    ("sampling", "settings", "name"),
    [
        ({"thinking_tokens": 1024}, {}, "thinking_tokens"),
        ({"reasoning_effort": "low"}, {}, "reasoning_effort"),
        ({}, {"thinking": "adaptive"}, "provider.thinking=adaptive"),
        ({}, {"options": {"thinking": {"type": "adaptive"}}}, "provider.options.thinking"),
    ],
)
def test_no_temperature_with_thinking(sampling: dict[str, Any], settings: dict[str, Any], name: str) -> None:
    """Whatever asks for thinking, the older version takes no temperature with it."""
    older = Anthropic(api_version="2023-06-01", **settings)
    with pytest.raises(ConfigError, match=f"temperature=0: anthropic takes none with {name}; null leaves"):
        older.check(Sampling(temperature=0, max_tokens=2000, **sampling))
    older.check(Sampling(max_tokens=2000, **sampling))


def test_temperature_is_of_the_older_version() -> None:
    """The present one has none; both are part of the identity."""
    older = Anthropic(api_version="2023-06-01")
    assert "temperature" in Anthropic().lacking()
    assert "temperature" not in older.lacking()
    assert older.build_headers("k")["anthropic-version"] == "2023-06-01"
    assert older.identity() != Anthropic().identity() != Anthropic(thinking=None).identity()


def test_an_answer() -> None:
    """Texts are joined; the input counts with what the cache read and wrote, as at other services."""
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Grü"},
        {"type": "text", "text": "ße"},
    ]
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 7},
    }
    found = answered(message("", content=blocks, usage=usage, stop_reason="stop_sequence", stop_sequence="."))
    assert found == Completion(
        "Grüße",
        "claude-haiku-5-5",
        "stop_sequence",
        input_tokens=130,
        output_tokens=9,
        cached_tokens=100,
        cache_write_tokens=20,
        reasoning_tokens=7,
        reasoning="Hm.\n\n[redacted]",
    )


@pytest.mark.parametrize("stop", ["max_tokens", "model_context_window_exceeded", "end_turn", "tool_use"])
def test_an_answer_without_text(stop: str) -> None:
    """Is kept with its reason, from which the run tells that it was cut."""
    assert answered(message("", stop_reason=stop)) == answered(message("", stop_reason=stop))
    assert answered(message("", stop_reason=stop)).finish_reason == stop


def test_a_refusal_is_the_rows_error() -> None:
    """With the category and what the service says about it."""
    details = {"type": "refusal", "category": "bio", "explanation": "No."}
    with pytest.raises(ProviderError, match=r"the model refused \(refusal, bio\): No\.") as refused:
        answered(message("Half", stop_reason="refusal", stop_details=details))
    assert not isinstance(refused.value, RetryableError | FatalProviderError)


def test_a_paused_turn_is_no_answer() -> None:
    """The model would have gone on."""
    with pytest.raises(ProviderError, match="pause_turn"):
        answered(message("So", stop_reason="pause_turn"))


@pytest.mark.parametrize(
    ("status", "fields", "kind", "text"),
    [
        (529, {}, RetryableError, "HTTP 529"),
        (429, {}, RetryableError, "HTTP 429"),
        (500, {}, RetryableError, "HTTP 500"),
        (401, {}, FatalProviderError, "ANTHROPIC_API_KEY"),
        (404, {}, FatalProviderError, "provider.model=claude-haiku-5-5"),
        (402, {}, FatalProviderError, "HTTP 402"),
        (429, {"details": {"error_code": "enforced_spend_limit_reached"}}, FatalProviderError, "HTTP 429"),
    ],
)
def test_errors(status: int, fields: dict[str, Any], kind: type[Exception], text: str) -> None:
    """Overload and limits are tried again; a key, a model and a used-up account stop the run."""
    with pytest.raises(kind, match=text):
        answered(failure(status, "said", **fields), status)


def test_no_credit_stops_the_run() -> None:
    """The service says so with 400, and every row would hear it."""
    with pytest.raises(FatalProviderError, match="credit balance"):
        answered(failure(400, "Your credit balance is too low to access the Anthropic API."), 400)


def test_retry_after_is_kept() -> None:
    """It says how long to wait."""
    with pytest.raises(RetryableError) as waiting:
        answered(failure(429, "slow"), 429, **{"retry-after": "7"})
    assert (waiting.value.retry_after, waiting.value.limited) == (7.0, True)


@pytest.mark.parametrize("body", [[], {}, {"content": 7}, {"content": [7]}, {"content": []}, b"<html>"])
def test_a_malformed_frame_is_tried_again(body: Any) -> None:
    """It comes from a fault on the way."""
    with pytest.raises(RetryableError):
        answered(body)


def test_an_error_inside_a_success() -> None:
    """Is what its type says."""
    with pytest.raises(RetryableError, match="HTTP 529: busy"):
        answered(failure(529, "busy"))


JSON = st.sampled_from([None, True, 7, -1.5, "a", "", [], [7], {}, {"text": 1}, {"thinking_tokens": "x"}])
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", 7])},
    optional={"text": JSON, "thinking": JSON},
)
FIELDS = {
    "content": st.lists(BLOCK | JSON, max_size=2) | JSON,
    "stop_reason": st.sampled_from(["end_turn", "refusal", "pause_turn"]) | JSON,
    "usage": st.fixed_dictionaries({"input_tokens": JSON, "output_tokens_details": JSON}) | JSON,
    "error": st.none() | JSON,
    "stop_details": JSON,
    "model": JSON,
}


@settings(max_examples=50)
@given(st.fixed_dictionaries({}, optional=FIELDS) | JSON)
def test_any_answer_is_a_completion_or_a_provider_error(answer: Any) -> None:
    """Nothing else is raised, whatever the server sends."""
    try:
        found = parse_message(answer, "anthropic")
    except ProviderError:
        return
    assert isinstance(found.text, str)
    assert found.finish_reason or found.text


def test_rate_limits() -> None:
    """They are read from the service's own headers."""
    limits = {"requests": 50, "tokens": 9000, "input-tokens": 8000, "output-tokens": 1000}
    headers = {f"anthropic-ratelimit-{name}-limit": str(limit) for name, limit in limits.items()}
    with serving(MessagesService(headers=headers)) as server:
        provider = Anthropic(base_url=f"{server.url}/v1")
        ask_of(provider)
    assert provider.rate_limits() == RateLimits(50, 9000, 8000, 1000)
