"""The chat-completions dialect. A service that speaks it is a small subclass of :class:`Chat`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.core.types import Completion, Request, Sampling
from runner.providers.completion import parse_completion
from runner.providers.remote import Remote

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Efforts of OpenAI and Mistral; which of them a model has, the service says."""


@dataclass(kw_only=True, eq=False)
class Chat(Remote):
    """A chat-completions server."""

    path = "/chat/completions"
    max_tokens_field = "max_tokens"
    seed_field = "seed"

    def lacking(self) -> tuple[str, ...]:
        """The dialect has no budget of thinking, only an effort."""
        return ("thinking_tokens",)

    def build_body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a request; what is None is left out."""
        sampling = request.sampling
        body = {
            "model": self.model,
            "messages": request.messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.max_tokens_field: sampling.max_tokens,
            self.seed_field: sampling.seed,
            "stop": sampling.stop,
            "logprobs": None if sampling.logprobs is None else True,
            "top_logprobs": sampling.logprobs,
            "reasoning_effort": sampling.reasoning_effort,
            "verbosity": sampling.verbosity,
            "response_format": build_response_format(sampling),
            **self.options,
        }
        return {name: value for name, value in body.items() if value is not None}

    def read_answer(self, answer: Any) -> Completion:
        """The completion in a decoded answer; see :func:`runner.providers.completion.parse_completion`."""
        return parse_completion(answer, self.name)


def build_response_format(sampling: Sampling) -> dict[str, Any] | None:
    """The field ``response_format`` of a body, or None. A schema is enforced (``strict``)."""
    if sampling.response_format == "json_object":
        return {"type": "json_object"}
    if sampling.response_format == "json_schema":
        schema = {"name": "answer", "strict": True, "schema": sampling.json_schema}
        return {"type": "json_schema", "json_schema": schema}
    return None
