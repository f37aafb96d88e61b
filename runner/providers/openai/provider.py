"""OpenAI, and every server that speaks its chat-completions dialect."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.core.errors import ConfigError, suggest
from runner.core.provider import Batcher, Tuner
from runner.core.types import Request, Sampling
from runner.providers.chat import EFFORTS, Chat

SCHEMA = "json_schema"
LACKED = (
    "temperature", "top_p", "max_tokens", "seed", "stop", "logprobs", "reasoning_effort", "verbosity",
    "thinking_tokens", SCHEMA,
)  # fmt: skip
"""What a service may lack: settings of :class:`runner.core.types.Sampling` that a config sets, or schemas."""
LIMITS = (
    "max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "num_predict", "n_predict",
)  # fmt: skip
"""How services call the limit of an answer. One that passes over a field that it does not know has none."""


@dataclass(kw_only=True, eq=False)
class OpenAI(Chat):
    """The OpenAI API (https://platform.openai.com/docs/api-reference/chat).

    ``OPENAI_ORG_ID`` and ``OPENAI_PROJECT_ID`` are sent along where they are set, as the SDK does.
    """

    model: str = "gpt-5.4-mini"
    base_url: str | None = "https://api.openai.com/v1"
    api_key_env: str | None = "OPENAI_API_KEY"
    max_concurrency: int = 50

    name = "openai"
    has_batches = True
    efforts = EFFORTS
    shutdown_field = "shutdown_date"
    max_tokens_field = "max_completion_tokens"  # the reasoning models refuse ``max_tokens``

    def build_headers(self, key: str) -> dict[str, str]:
        """Key, organisation and project."""
        scope = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
        found = {header: os.environ.get(variable, "") for header, variable in scope.items()}
        return super().build_headers(key) | {header: value for header, value in found.items() if value}

    def batcher(self) -> Batcher:
        """Batches in this account."""
        from runner.providers.openai.batch import OpenAIBatcher  # httpx2 takes 0.1 s to import

        return OpenAIBatcher(self)

    def tuner(self) -> Tuner:
        """Fine-tuning in this account."""
        from runner.providers.openai.tuning import OpenAITuner  # the SDK takes a second to import

        return OpenAITuner(self)


@dataclass(kw_only=True, eq=False)
class OpenAICompatible(Chat):
    """Any server with ``/chat/completions``: vLLM, Ollama, llama.cpp, a gateway.

    ``base_url`` is required; without ``api_key_env`` no key is sent. What a service does otherwise than
    OpenAI is declared, in an option file for each of them:

    ``service_name``  its name, in messages, prices and records
    ``lacks``         sampling settings that it has no counterpart for, or ``json_schema``: refused before the
                      first call
    ``token_limit``   how it calls the token limit
    ``efforts``       the efforts that it has; empty: any
    ``effort_field``  where the effort stands in the body; a point leads into an object
    ``no_effort``     fields of the body that are sent where ``hyperparameter.reasoning_effort`` is not set
    """

    service_name: str = "openai_compatible"
    lacks: Sequence[str] = field(default_factory=list)
    token_limit: str = "max_tokens"
    efforts: Sequence[str] = field(default_factory=list)
    effort_field: str = "reasoning_effort"
    no_effort: Mapping[str, Any] = field(default_factory=dict)

    name = "openai_compatible"
    key_required = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.service_name != OpenAICompatible.service_name:  # a subclass may have a name of its own
            self.name = self.service_name

    def lacking(self) -> tuple[str, ...]:
        """What the dialect lacks, and what this service does."""
        return tuple(dict.fromkeys((*super().lacking(), *(each for each in self.lacks if each != SCHEMA))))

    def check_settings(self, sampling: Sampling | None) -> None:
        """Raise :class:`ConfigError` also for a schema where there is none, and for what is set twice."""
        super().check_settings(sampling)
        fields = {"max_tokens": self.token_limit, "reasoning_effort": self.effort_field.partition(".")[0]}
        for name, own in fields.items():
            if getattr(sampling, name, None) is not None and own in self.options:
                raise ConfigError(
                    f"hyperparameter.{name}: provider.options.{own} sets it, too; leave one out"
                )
        if sampling and sampling.response_format == SCHEMA and SCHEMA in self.lacks:
            raise ConfigError(
                f"prompt.response_format={SCHEMA}: provider={self.name} has none; set text or json_object"
            )

    def check_limits(self) -> None:
        """Raise :class:`ConfigError` also for what a service cannot lack, and for names of no field."""
        super().check_limits()
        for name in self.lacks:
            if name not in LACKED:
                raise ConfigError(f"provider.lacks: {name!r} is no sampling setting{suggest(name, LACKED)}")
        if self.token_limit not in LIMITS:
            raise ConfigError(
                f"provider.token_limit={self.token_limit}: no service is known to have this field"
                f"{suggest(self.token_limit, LIMITS)}; provider.options sets any other, with"
                " hyperparameter.max_tokens=null"
            )
        if not re.fullmatch(r"\w+(\.\w+)?", self.effort_field):
            raise ConfigError(
                f"provider.effort_field={self.effort_field!r}: must be a field, or one in another, such as"
                " reasoning.effort"
            )

    def identity(self) -> Mapping[str, Any]:
        """As of other services, with the names of fields that are not OpenAI's, and what is sent without an
        effort: a service may pass over a field that it does not know."""
        own = {"token_limit": self.token_limit, "effort_field": self.effort_field}
        named = {name: value for name, value in own.items() if value != getattr(OpenAICompatible, name)}
        no_effort = {"no_effort": dict(self.no_effort)} if self.no_effort else {}
        return {**super().identity(), **named, **no_effort}

    def build_body(self, request: Request) -> dict[str, Any]:
        """As everywhere, with the service's own name of the token limit and its default of thinking."""
        body = super().build_body(request)
        if self.token_limit != self.max_tokens_field and self.max_tokens_field in body:
            body[self.token_limit] = body.pop(self.max_tokens_field)
        if (effort := body.pop("reasoning_effort", None)) is None:
            return {**self.no_effort, **body}
        outer, _, inner = self.effort_field.partition(".")
        return {**body, outer: {inner: effort} if inner else effort}
