"""Together's dialect: log-probabilities are asked for and told in a form of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hosted import KEY
from servers import Reply, completion, serving

from runner.core.types import Request, Sampling
from runner.providers.completion import parse_completion
from runner.providers.together import Together

LISTS = {
    "tokens": ["ye", "s"],
    "token_logprobs": [-0.1, -0.2],
    "top_logprobs": [{"ye": -0.1, "no": -2.0}, {"s": -0.2}],
}


def answer_with(logprobs: Any) -> dict[str, Any]:
    found = completion("yes")
    found["choices"][0]["logprobs"] = logprobs
    return found


def test_a_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    """``logprobs`` is a number; the default model is asked not to think."""
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    sampling = Sampling(temperature=0.0, max_tokens=5, seed=7, logprobs=2)

    async def ask(url: str) -> Any:
        provider = Together(base_url=url)
        try:
            return await provider.complete(Request(({"role": "user", "content": "?"},), sampling))
        finally:
            await provider.aclose()

    with serving(lambda call: Reply(answer_with(LISTS))) as server:
        answer = asyncio.run(ask(server.url))
        assert server.last.json == {
            "model": "Qwen/Qwen3.5-9B",
            "messages": [{"role": "user", "content": "?"}],
            "temperature": 0.0,
            "max_tokens": 5,
            "seed": 7,
            "logprobs": 2,
            "reasoning": {"enabled": False},
        }
    assert answer.logprobs[0] == {
        "token": "ye",
        "logprob": -0.1,
        "top": [{"token": "ye", "logprob": -0.1}, {"token": "no", "logprob": -2.0}],
    }


@pytest.mark.parametrize(
    "odd",
    [{"tokens": ["a"]}, {**LISTS, "tokens": ["a"]}, {**LISTS, "token_logprobs": [1, "x"]}, {"tokens": 3}],
)
def test_odd_lists_are_null(odd: Any) -> None:
    """The answer is kept."""
    assert parse_completion(answer_with(odd), "together").logprobs is None


def test_lists_without_alternatives() -> None:
    """The tokens have their own values all the same."""
    found = parse_completion(answer_with({**LISTS, "top_logprobs": {"ye": -0.1}}), "together").logprobs
    assert [(token["token"], token["top"]) for token in found or ()] == [("ye", []), ("s", [])]
