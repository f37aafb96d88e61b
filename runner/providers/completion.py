"""From the JSON answer of a chat-completions server to a completion.

What is missing in an answer is null. A part of the wrong type makes the whole answer unreadable: it comes
from a fault on the way, and the same request may be answered well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.errors import ProviderError, RetryableError
from runner.core.types import Completion
from runner.providers.http.failures import Service, make_error


class _Malformed(Exception):
    """A part of an answer has the wrong type; the message says which."""


def parse_completion(answer: Any, name: str) -> Completion:
    """The completion in a decoded answer of the service ``name``.

    Raises :class:`ProviderError` for a refusal, :class:`RetryableError` for an answer that cannot be read.
    """
    try:
        return _parse(_mapping(answer, "the answer"), name)
    except _Malformed as error:
        raise RetryableError(f"{name}: the answer cannot be read: {error}") from error


def _parse(answer: Mapping[str, Any], name: str) -> Completion:
    if answer.get("error"):  # some gateways report an upstream fault with 200
        raise _make_upstream_error(answer["error"], name)
    choices = _list(answer.get("choices"), "choices") or [None]
    choice = _mapping(choices[0], "choices[0]")
    message = _mapping(choice.get("message"), "message")
    usage = _mapping(answer.get("usage") or {}, "usage")
    details = _mapping(usage.get("prompt_tokens_details") or {}, "usage.prompt_tokens_details")
    text, finish = _join_text(message), _text(choice.get("finish_reason"), "finish_reason")
    _check_refusal(message, text, finish, name)
    return Completion(
        text=text,
        model=_text(answer.get("model"), "model"),
        finish_reason=finish,
        input_tokens=_count(usage.get("prompt_tokens"), "usage.prompt_tokens"),
        output_tokens=_count(usage.get("completion_tokens"), "usage.completion_tokens"),
        cached_tokens=_count(
            details.get("cached_tokens", usage.get("prompt_cache_hit_tokens")), "usage, cached tokens"
        ),
        cache_write_tokens=_count(details.get("cache_write_tokens"), "usage, cache_write_tokens"),
        logprobs=_parse_logprobs(_mapping(choice.get("logprobs") or {}, "logprobs").get("content")),
    )


def _make_upstream_error(error: Any, name: str) -> ProviderError:
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return make_error(Service(name, ""), status, {}, {"error": error})


def _check_refusal(message: Mapping[str, Any], text: str, finish: str, name: str) -> None:
    if refusal := message.get("refusal"):
        raise ProviderError(f"{name}: the model refused: {refusal}")
    if not text and finish == "content_filter":
        raise ProviderError(f"{name}: the answer was held back by the content filter")


def _join_text(message: Mapping[str, Any]) -> str:
    """The text of a message; of a list of parts, those that are text (not the thinking)."""
    if not {"content", "refusal", "tool_calls"} & message.keys():
        raise _Malformed("message has no content")
    content = message.get("content")
    if not isinstance(content, list):
        return _text(content, "content")
    parts = [_mapping(part, "content") for part in content]
    return "".join(_text(part.get("text"), "content") for part in parts if part.get("type") == "text")


def _parse_logprobs(tokens: Any) -> list[dict[str, Any]] | None:
    if tokens is None:
        return None
    found = [_mapping(token, "logprobs") for token in _list(tokens, "logprobs")]
    tops = (_list(token.get("top_logprobs") or [], "logprobs") for token in found)
    return [
        _parse_token(token) | {"top": [_parse_token(_mapping(item, "logprobs")) for item in top]}
        for token, top in zip(found, tops, strict=True)
    ]


def _parse_token(token: Mapping[str, Any]) -> dict[str, Any]:
    text, logprob = token.get("token"), token.get("logprob")
    if not isinstance(text, str) or not isinstance(logprob, int | float) or isinstance(logprob, bool):
        raise _Malformed("logprobs: expected a token and its logprob")
    return {"token": text, "logprob": logprob}


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Malformed(f"{where}: expected an object, got {type(value).__name__}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Malformed(f"{where}: expected a list, got {type(value).__name__}")
    return value


def _text(value: Any, where: str) -> str:
    """A text; null is empty."""
    if value is not None and not isinstance(value, str):
        raise _Malformed(f"{where}: expected a text, got {type(value).__name__}")
    return value or ""


def _count(value: Any, where: str) -> int | None:
    """A count or null; some servers write whole numbers as 9.0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15 or value % 1:
        raise _Malformed(f"{where}: expected a count, got {value!r:.20}")
    return int(value)
