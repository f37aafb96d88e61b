"""The dialect of Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages).

It differs from chat completions in what matters here: the system turn stands apart, ``max_tokens`` is
required, there are neither a seed nor log-probabilities, and thinking is a block of the answer. As in
:mod:`runner.providers.completion`, what is missing in an answer is null; after a malformed frame the request
is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.core.errors import ProviderError, RetryableError
from runner.core.types import Completion, Message, Sampling
from runner.providers.completion import describe_json, read_count, read_mapping, read_text
from runner.providers.http.failures import Service, make_error

REDACTED = "[redacted]"
"""Stands for thinking that the service sent encrypted."""
STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status that a type of error stands for where the error comes inside an answer."""


def split_system(messages: Sequence[Message]) -> tuple[str | None, list[Message]]:
    """The system turn that a chat begins with, or None, and the other turns."""
    if messages and messages[0]["role"] == "system":
        return messages[0]["content"], list(messages[1:])
    return None, list(messages)


def build_thinking(sampling: Sampling, otherwise: str | None) -> dict[str, Any] | None:
    """The field ``thinking``, or None to leave it to the model.

    A budget of 0 tokens turns thinking off. An effort without a budget lets the model think as it sees fit;
    with neither, ``otherwise`` is the type that is sent.
    """
    if sampling.thinking_tokens:
        return {"type": "enabled", "budget_tokens": sampling.thinking_tokens}
    if sampling.thinking_tokens == 0:
        return {"type": "disabled"}
    kind = "adaptive" if sampling.reasoning_effort else otherwise
    return {"type": kind} if kind else None


def build_output(sampling: Sampling) -> dict[str, Any] | None:
    """The field ``output_config`` with effort and schema, or None."""
    output: dict[str, Any] = {}
    if sampling.reasoning_effort:
        output["effort"] = sampling.reasoning_effort
    if sampling.response_format == "json_schema":
        output["format"] = {"type": "json_schema", "schema": sampling.json_schema}
    return output or None


def parse_message(answer: Any, name: str) -> Completion:
    """The completion in a decoded answer of the service ``name``.

    ``input_tokens`` includes what was read from the cache and written to it, as at other services.
    Raises :class:`ProviderError` for a refusal and for a turn that was paused, and :class:`RetryableError`
    for an answer that cannot be read, or that has neither a text nor a reason for that (``stop_reason``).
    """
    if not isinstance(answer, dict):
        raise _malformed(name, f"expected an object, got {describe_json(answer)}")
    if answer.get("error"):
        raise make_inner_error(Service(name, ""), answer)
    blocks, stop = answer.get("content"), read_text(answer.get("stop_reason"))
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise _malformed(name, f"content: expected a list of blocks, got {describe_json(blocks)}")
    text = "".join(_read_blocks(blocks, "text", name))
    if stop == "refusal":
        raise ProviderError(f"{name}: {_describe_refusal(answer)}")
    if stop == "pause_turn":
        raise ProviderError(f"{name}: the model paused its turn (pause_turn), so the answer is not complete")
    if not text and not stop:
        raise _malformed(name, "neither a text nor stop_reason")
    redacted = [REDACTED for block in blocks if block.get("type") == "redacted_thinking"]
    thoughts = [*filter(None, _read_blocks(blocks, "thinking", name)), *redacted]
    return Completion(
        text=text,
        model=read_text(answer.get("model")),
        finish_reason=stop,
        reasoning="\n\n".join(thoughts) or None,
        **_read_usage(read_mapping(answer.get("usage"))),
    )


def make_inner_error(service: Service, answer: Mapping[str, Any]) -> ProviderError:
    """The error in an answer that is an error object though its status is not, or a line of a batch."""
    kind = read_mapping(answer.get("error")).get("type")
    return make_error(service, STATUS.get(str(kind), 500), {}, answer)


def _read_blocks(blocks: Iterable[Mapping[str, Any]], kind: str, name: str) -> list[str]:
    """The contents of the blocks of one kind; a content that is no text is an error of the row."""
    found = [block.get(kind) for block in blocks if block.get("type") == kind]
    for content in found:
        if not isinstance(content, str):
            raise ProviderError(f"{name}: content: expected a text, got {describe_json(content)}")
    return found  # type: ignore[return-value]


def _describe_refusal(answer: Mapping[str, Any]) -> str:
    """What the service says about a refusal (``stop_reason`` is ``refusal``)."""
    details = read_mapping(answer.get("stop_details"))
    category = read_text(details.get("category"))
    explanation = read_text(details.get("explanation"))
    return f"the model refused (refusal{', ' + category if category else ''})" + (
        f": {explanation}" if explanation else ""
    )


def _read_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of a completion. Null where the service does not count the input."""
    fresh, cached, written = (
        read_count(usage.get(key))
        for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return {
        "input_tokens": None if fresh is None else fresh + (cached or 0) + (written or 0),
        "output_tokens": read_count(usage.get("output_tokens")),
        "cached_tokens": cached,
        "cache_write_tokens": written,
        "reasoning_tokens": read_count(
            read_mapping(usage.get("output_tokens_details")).get("thinking_tokens")
        ),
    }


def _malformed(name: str, what: str) -> RetryableError:
    return RetryableError(f"{name}: the answer cannot be read: {what}")
