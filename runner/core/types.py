"""Values that several packages exchange. Rows are exchanged as polars frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample an answer. None is not sent, so that the server's default applies."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    logprobs: int | None = None
    """Number of alternatives per token whose log-probabilities are requested."""
    response_format: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    ``row`` is the data row of the question: the whole row for a provider that is not ``stored``, such as
    ``replay``, otherwise only its ``id``.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. Token counts are None where the server does not report them."""

    text: str
    model: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Part of ``input_tokens`` that the server billed as cached."""
    cache_write_tokens: int | None = None
    """Part of ``input_tokens`` that was written to the server's cache, if that is billed."""
    batch: bool | None = None
    """True for an answer from a batch, which costs less; None for a live one."""
    logprobs: list[dict[str, Any]] | None = None
    """Per token: ``token``, ``logprob``, ``top`` (a list of token and logprob)."""
    latency_s: float | None = None


class Parser(Protocol):
    """Turns the text of a completion into a value, or None where it has no clear one."""

    def __call__(self, text: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Score:
    """A measured number with its uncertainty.

    ``low`` and ``high`` bound the confidence interval (None where it is not defined); ``n`` counts the
    rows behind the number. ``reason`` says why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = field(default="", compare=False)
