"""What is sent to each service and what is made of its answers."""

from collections.abc import Callable
from typing import Any

import pytest
from asking import KEY, MESSAGES, answered, ask
from servers import Call, Reply, completion, serving

from runner.core.errors import ProviderError
from runner.core.provider import RateLimits
from runner.core.types import Completion, Sampling
from runner.providers.azure import Azure
from runner.providers.chat import Chat
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI, OpenAICompatible

SAMPLING = Sampling(
    temperature=0.0, top_p=0.9, max_tokens=5, seed=7, stop=("\n",), logprobs=2, response_format="json_object"
)


pytestmark = pytest.mark.usefixtures("keys")


def asked(kind: Callable[..., Chat], path: str = "", **settings: Any) -> tuple[Call, Completion]:
    """The call that a provider makes for the sampling above, and its completion."""
    with serving(lambda call: Reply(completion())) as server:
        answer = ask(kind(model="m", base_url=server.url + path, **settings), SAMPLING)
    return server.last, answer


def test_openai_request() -> None:
    """Every field of the body and the authentication, as the API description has them."""
    call, _ = asked(OpenAI, "/v1")
    assert (call.method, call.path, call.query) == ("POST", "/v1/chat/completions", {})
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert call.headers["Content-Type"] == "application/json"
    assert call.json == {
        "model": "m",
        "messages": list(MESSAGES),
        "temperature": 0.0,
        "top_p": 0.9,
        "max_completion_tokens": 5,
        "seed": 7,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_object"},
    }


def test_openai_sends_organisation_and_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts with several of them choose by the SDK's own variables."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    call, _ = asked(OpenAI)
    assert (call.headers["OpenAI-Organization"], call.headers["OpenAI-Project"]) == ("org-1", "proj-1")


def test_mistral_request() -> None:
    """Mistral calls the seed and the token limit by its own names."""
    call, _ = asked(Mistral, "/v1")
    assert call.path == "/v1/chat/completions"
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert call.json["random_seed"] == 7
    assert call.json["max_tokens"] == 5
    assert {"seed", "max_completion_tokens"}.isdisjoint(call.json)


def test_compatible_servers_get_the_old_names_and_no_key() -> None:
    """Without api_key_env nothing is said about who asks, whatever OPENAI_API_KEY holds."""
    call, _ = asked(OpenAICompatible, "/v1/")
    assert call.path == "/v1/chat/completions"
    assert "Authorization" not in call.headers
    assert (call.json["max_tokens"], call.json["seed"]) == (5, 7)


def test_azure_request() -> None:
    """The v1 API of the resource, with the key in Azure's header and the deployment as model."""
    call, _ = asked(Azure)
    assert (call.path, call.query) == ("/openai/v1/chat/completions", {})
    assert call.headers["api-key"] == KEY
    assert "Authorization" not in call.headers
    assert (call.json["model"], call.json["max_completion_tokens"]) == ("m", 5)


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("preview", "/openai/v1/chat/completions"),
        ("2024-10-21", "/openai/deployments/m/chat/completions"),
    ],
)
def test_azure_api_version(version: str, path: str) -> None:
    """A named version goes to the v1 API, a date to the older one of that date."""
    call, _ = asked(Azure, "/openai/v1/", api_version=version)
    assert (call.path, call.query) == (path, {"api-version": [version]})


def test_azure_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token goes before a key, and is read anew for each request since it expires."""
    monkeypatch.setenv("MY_TOKEN", "eyJ.token")
    call, _ = asked(Azure, token_env="MY_TOKEN")
    assert call.headers["Authorization"] == "Bearer eyJ.token"
    assert "api-key" not in call.headers


def test_what_is_not_set_is_not_sent() -> None:
    """None leaves the server's default in place."""
    with serving(lambda call: Reply(completion())) as server:
        ask(OpenAI(model="m", base_url=server.url), Sampling())
    assert set(server.last.json) == {"model", "messages"}


def test_options_are_sent_as_they_are_and_identify() -> None:
    """Further fields of the body change the answer, so they are part of the identity."""
    call, _ = asked(OpenAI, options={"reasoning_effort": "low"})
    assert call.json["reasoning_effort"] == "low"
    one, two = (OpenAI(model="m", options={"reasoning_effort": effort}) for effort in ("low", "high"))
    assert one.identity() != two.identity()


def test_a_schema_is_enforced() -> None:
    """A JSON schema is sent strict, in the shape of the API description."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    with serving(lambda call: Reply(completion())) as server:
        ask(
            OpenAI(model="m", base_url=server.url),
            Sampling(response_format="json_schema", json_schema=schema),
        )
    wanted = {"name": "answer", "strict": True, "schema": schema}
    assert server.last.json["response_format"] == {"type": "json_schema", "json_schema": wanted}


def test_answer() -> None:
    """Text, model, reason, usage with cached tokens."""
    usage = {"prompt_tokens": 100, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
    found = answered(completion("Grüße", usage=usage))
    assert found == Completion("Grüße", "m-2026", "stop", 100, 3, 64)


def test_cached_tokens_as_deepseek_counts_them() -> None:
    """Its usage has the cached tokens beside the others."""
    usage = {"prompt_tokens": 100, "completion_tokens": 3, "prompt_cache_hit_tokens": 64}
    assert answered(completion(usage=usage)).cached_tokens == 64


@pytest.mark.parametrize(
    ("usage", "written"),
    [
        ({"completion_tokens": 9, "total_tokens": 41}, 9),
        (
            {
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            103,
        ),
        ({"completion_tokens": 0, "total_tokens": 92}, 60),
        ({"completion_tokens": 9, "total_tokens": 20}, 9),
        ({"completion_tokens": 9, "total_tokens": "many"}, 9),
    ],
)
def test_thinking_that_is_counted_apart(usage: dict[str, Any], written: int) -> None:
    """It is billed as written: xAI and Gemini have it only in the total."""
    assert answered(completion(usage={"prompt_tokens": 32, **usage})).output_tokens == written


def test_an_answer_without_usage_has_no_counts() -> None:
    """Nothing is made up where a server does not count."""
    found = answered(completion(usage=None))
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (None, None, None)


def test_logprobs() -> None:
    """Per token its log-probability and the alternatives, without the bytes."""
    top = [{"token": "1", "logprob": -0.1, "bytes": [49]}, {"token": "0", "logprob": -2.5, "bytes": [48]}]
    body = completion()
    body["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    plain = [{"token": "1", "logprob": -0.1}, {"token": "0", "logprob": -2.5}]
    assert answered(body).logprobs == [{"token": "1", "logprob": -0.1, "top": plain}]


def test_parts_of_text_are_joined_without_the_thinking() -> None:
    """Mistral's reasoning models answer in parts."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "2"},
    ]
    assert answered(completion(parts)).text == "2"


def test_an_empty_answer_is_an_answer() -> None:
    """Null without a refusal, as when the limit was used up by reasoning, is empty text."""
    assert answered(completion(None)).text == ""


def test_a_refusal_is_the_rows_error() -> None:
    """The refusal's own words are kept."""
    body = completion(None)
    body["choices"][0]["message"]["refusal"] = "I cannot."
    with pytest.raises(ProviderError, match=r"refused: I cannot\."):
        answered(body)


def test_a_filtered_answer_is_the_rows_error() -> None:
    """Nothing came out, and why."""
    body = completion(None)
    body["choices"][0]["finish_reason"] = "content_filter"
    with pytest.raises(ProviderError, match="content filter"):
        answered(body)


def test_rate_limits_of_the_last_answer() -> None:
    """They are offered as they come, for the pacing to use."""
    headers = {"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "9000"}
    with serving(lambda call: Reply(completion(), headers=headers)) as server:
        provider = OpenAI(model="m", base_url=server.url)
        assert provider.rate_limits() is None
        ask(provider)
    assert provider.rate_limits() == RateLimits(requests=500, tokens=9000)


@pytest.mark.parametrize(
    ("logprobs", "options", "given"),
    [(None, {}, False), (0, {}, True), (None, {"logprobs": True}, True), (None, {"logprobs": False}, False)],
)
def test_logprobs_may_be_asked_for_by_options(
    logprobs: int | None, options: dict[str, Any], given: bool
) -> None:
    """The request's sampling or a field of the body brings them."""
    assert OpenAI(options=options).gives_logprobs(Sampling(logprobs=logprobs)) is given


@pytest.mark.parametrize("kind", [OpenAI, OpenAICompatible, Azure, Mistral])
def test_an_account_is_service_endpoint_key_and_model(kind: type[Chat]) -> None:
    """Options, pace and price do not make another account; a deployment's name does."""
    settings = {"model": "m", "base_url": "http://localhost/v1/", "api_key_env": "KEY"}
    provider = kind(**settings, options={"a": 1}, max_concurrency=1, priced_as="x", batch=True)
    expected = {"provider": provider.name, **settings, "base_url": "http://localhost/v1"}
    assert provider.account() == kind(**settings).account() == expected
    assert provider.identity()["provider"] == provider.name


def test_azures_token_goes_before_its_key() -> None:
    """The account is whose token or key is sent."""
    resource = {"model": "d", "base_url": "https://r.openai.azure.com"}
    assert Azure(**resource, token_env="TOKEN").account()["api_key_env"] == "TOKEN"
    assert Azure(**resource, stands_for="m").account()["model"] == "d"
    assert Azure(**resource, stands_for="m").identity()["model"] == "m"
