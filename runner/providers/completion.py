"""From the JSON answer of a chat-completions server to a completion.

What is missing in an answer is null, and so is what stands beside the text (usage, log-probabilities, the
model's name) where it has a wrong type: the text is what was paid for. A text of a wrong type is the error of
its row. An answer whose frame is malformed comes from a fault on the way, and the same request may be
answered well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner.core.adapt import MOST, make_plain_logprobs
from runner.core.errors import ProviderError, RetryableError
from runner.core.types import Completion
from runner.providers.http.failures import Service, make_error

FAILED = {
    *("error", "abort", "aborted", "cancelled", "canceled", "failed", "timeout"),
    *("insufficient_system_resource", "network_error"),  # DeepSeek, Zhipu
}
"""Words for the end of an answer that the server did not finish."""
FILTERED = {"content_filter", "content_filtered", "safety", "sensitive", "refusal", "prohibited_content"}
SHOWN = 40


class _Malformed(Exception):
    """A part of an answer has the wrong type; the message says which."""


def parse_completion(answer: Any, name: str) -> Completion:
    """The completion in a decoded answer of the service ``name``.

    A count may be a whole number with a point (9.0) or in quotes ("9").
    Raises :class:`ProviderError` for a refusal or a text of a wrong type, and :class:`RetryableError` for an
    answer that cannot be read, that the server did not finish, or that has neither a text nor a reason for
    that (``finish_reason``).
    """
    try:
        return _parse(_mapping(answer, "the answer"), name)
    except (_Malformed, RecursionError) as error:
        raise RetryableError(f"{name}: the answer cannot be read: {error}") from error


def _parse(answer: Mapping[str, Any], name: str) -> Completion:
    choices = answer.get("choices")
    if answer.get("error"):  # some gateways report an upstream fault with 200
        raise _make_upstream_error(answer["error"], name)
    if not choices and (read_text(answer.get("message")) or answer.get("detail")):  # vLLM, FastAPI
        raise _make_upstream_error(answer, name)
    if not isinstance(choices, list):
        raise _Malformed(f"choices: expected a list, got {describe_json(choices)} in {describe_json(answer)}")
    choice = _mapping(choices[0] if choices else None, "choices[0]")
    finish = read_text(choice.get("finish_reason"))
    if choice.get("error"):
        raise _make_upstream_error(choice["error"], name)
    if finish.lower() in FAILED:
        raise RetryableError(f"{name}: the server did not finish the answer: finish_reason is {finish!r}")
    message = _mapping(choice.get("message"), "message")
    text, reasoning = _read_message(message, finish, name)
    usage = read_mapping(answer.get("usage"))
    details = read_mapping(usage.get("prompt_tokens_details"))
    written = read_mapping(usage.get("completion_tokens_details"))
    return Completion(
        text=text,
        model=read_text(answer.get("model")),
        finish_reason=finish,
        input_tokens=read_count(usage.get("prompt_tokens")),
        output_tokens=_read_written(usage),
        cached_tokens=read_count(details.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))),
        cache_write_tokens=read_count(details.get("cache_write_tokens")),
        reasoning_tokens=read_count(written.get("reasoning_tokens")),
        logprobs=_read_logprobs(read_mapping(choice.get("logprobs"))),
        reasoning=reasoning,
    )


def _read_written(usage: Mapping[str, Any]) -> int | None:
    """The tokens written, thinking included: xAI and Gemini leave it out of ``completion_tokens``.

    Their ``total_tokens`` have it. https://docs.x.ai/docs/key-information/consumption-and-rate-limits
    """
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    read, written, total = (read_count(usage.get(name)) for name in names)
    if read is None or written is None or total is None:
        return written
    return max(written, total - read)


def _make_upstream_error(error: Any, name: str) -> ProviderError:
    """The error inside a success; 502, a fault behind the server, unless it has a status as its code."""
    status = read_count(error.get("code")) if isinstance(error, dict) else None
    right = status is not None and 400 <= status < 600
    return make_error(Service(name, ""), status if right and status else 502, {}, {"error": error})


def _read_message(message: Mapping[str, Any], finish: str, name: str) -> tuple[str, str | None]:
    """The text of a message, and its thinking where that is apart. No text is "" if there is a reason."""
    calls = message.get("tool_calls") or message.get("function_call")
    if "content" not in message and not finish and not calls and not message.get("refusal"):
        raise _Malformed("message has no content")  # Gemini leaves it out where the thinking was cut
    texts, thoughts, refusals = _read_content(message.get("content"), name)
    if refusal := message.get("refusal") or "".join(refusals):
        raise ProviderError(f"{name}: the model refused: {refusal}")
    text = "".join(texts)
    if finish.lower() in FILTERED:
        held = "ended" if text else "held back"
        raise ProviderError(f"{name}: the answer was {held} by the content filter ({finish})")
    if not text and not finish and not calls:
        raise _Malformed("neither content nor finish_reason")
    for field in ("reasoning_content", "reasoning"):
        thoughts = thoughts or [thought for thought in [read_text(message.get(field))] if thought]
    return text, "".join(thoughts) or None


def _read_content(content: Any, name: str) -> tuple[list[str], list[str], list[str]]:
    """Texts, thoughts and refusals of a content: a text, null, or a list of parts, each with its type."""
    if content is None or isinstance(content, str):
        return [content] if content is not None else [], [], []
    found: dict[str, list[str]] = {"text": [], "thinking": [], "refusal": []}
    if not isinstance(content, list):
        raise ProviderError(f"{name}: content: expected a text, got {describe_json(content)}")
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise ProviderError(f"{name}: content: expected parts with a type, got {describe_json(part)}")
        kind = {"output_text": "text", "reasoning": "thinking"}.get(part["type"], part["type"])
        if kind not in found:  # a reference, an image
            continue
        value = part.get(part["type"], part.get("text"))
        if kind == "thinking" and not isinstance(value, str):  # at Mistral a list of texts in parts
            value = "".join(read_text(read_mapping(item).get("text")) for item in read_list(value))
        if not isinstance(value, str):
            raise ProviderError(f"{name}: content: expected a text, got a part with {describe_json(value)}")
        found[kind].append(value)
    return found["text"], found["thinking"], found["refusal"]


def _read_logprobs(given: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The log-probabilities; null if any of them cannot be read."""
    tokens = given.get("content") if given.get("tokens") is None else _pair_lists(given)
    try:
        return None if tokens is None else make_plain_logprobs(tokens, "logprobs", top="top_logprobs")
    except ProviderError:
        return None


def _pair_lists(given: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Tokens from Together's form: parallel lists, the alternatives as objects from token to value."""
    texts, values = given["tokens"], given.get("token_logprobs")
    tops = given.get("top_logprobs") or []
    if not isinstance(texts, list) or not isinstance(values, list) or len(texts) != len(values):
        return None
    tops = tops if isinstance(tops, list) and len(tops) == len(texts) else [{}] * len(texts)
    return [
        {
            "token": text,
            "logprob": value,
            "top_logprobs": [{"token": other, "logprob": each} for other, each in read_mapping(top).items()],
        }
        for text, value, top in zip(texts, values, tops, strict=True)
    ]


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Malformed(f"{where}: expected an object, got {describe_json(value)}")
    return value


def read_mapping(value: Any) -> Mapping[str, Any]:
    """An object; anything else is empty."""
    return value if isinstance(value, dict) else {}


def read_list(value: Any) -> list[Any]:
    """A list; anything else is empty."""
    return value if isinstance(value, list) else []


def read_text(value: Any) -> str:
    """A text; anything else is empty."""
    return value if isinstance(value, str) else ""


def read_count(value: Any) -> int | None:
    """A count, also as 9.0 or "9"; anything else is null."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MOST)):
        value = int(value)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MOST or value % 1:
        return None
    return int(value)


def describe_json(value: Any) -> str:
    """What JSON value this is, with the start of it.

    >>> [describe_json(value) for value in (None, True, 4.5, {"a": 1})]
    ['null', 'a truth value: true', 'a number: 4.5', 'an object: {"a": 1}']
    """
    if value is None:
        return "null"
    kinds = {bool: "a truth value", dict: "an object", list: "a list", str: "a text"}
    text = json.dumps(value, ensure_ascii=False)
    return f"{kinds.get(type(value), 'a number')}: {text[:SHOWN]}{'…' if len(text) > SHOWN else ''}"
