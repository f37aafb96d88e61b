"""Models at Anthropic, over the Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.core.errors import ConfigError
from runner.core.provider import Batcher
from runner.core.types import Completion, Request, Sampling
from runner.providers.anthropic.messages import build_output, build_thinking, parse_message, split_system
from runner.providers.remote import Remote

SAMPLES = "2023-06-01"
"""The last version of the API that takes ``temperature`` and ``top_p``."""
LEAST_THINKING = 1024
KINDS = ("adaptive", "disabled", None)


@dataclass(kw_only=True, eq=False)
class Anthropic(Remote):
    """Messages at Anthropic. There is no seed, and there are no log-probabilities.

    ``api_version``   of the API: from ``2026-10-21`` on it takes no temperature and no ``top_p``, in the one
                      before (``2023-06-01``) models before Claude 4.7 do
    ``thinking``      ``disabled`` or ``adaptive``, where neither ``hyperparameter.reasoning_effort`` nor
                      ``hyperparameter.thinking_tokens`` is set; null leaves it to the model
    """

    model: str = "claude-haiku-5-5"
    base_url: str | None = "https://api.anthropic.com/v1"
    api_key_env: str | None = "ANTHROPIC_API_KEY"
    max_concurrency: int = 16
    api_version: str = "2026-10-21"
    thinking: str | None = "disabled"

    name = "anthropic"
    path = "/messages"
    has_batches = True
    efforts = ("low", "medium", "high", "xhigh", "max")

    def lacking(self) -> tuple[str, ...]:
        """What the Messages API has no counterpart for."""
        sampled = () if self.api_version == SAMPLES else ("temperature", "top_p")
        return (*sampled, "seed", "logprobs", "verbosity")

    def check_settings(self, sampling: Sampling | None) -> None:
        """Raise :class:`ConfigError` also for what the Messages API would refuse."""
        super().check_settings(sampling)
        if self.thinking not in KINDS:
            raise ConfigError(f"provider.thinking={self.thinking!r}: must be adaptive, disabled or null")
        if sampling:
            _check_sampling(sampling)
        if sampling and sampling.response_format == "json_schema" and "output_config" in self.options:
            raise ConfigError("prompt.json_schema: provider.options.output_config would replace it")

    def identity(self) -> Mapping[str, Any]:
        """As of other services, with the version of the API and the default of thinking."""
        return {**super().identity(), "api_version": self.api_version, "thinking": self.thinking}

    def batcher(self) -> Batcher:
        """Batches in this account."""
        from runner.providers.anthropic.batch import AnthropicBatcher  # httpx2 takes 0.1 s to import

        return AnthropicBatcher(self)

    def build_headers(self, key: str) -> dict[str, str]:
        """The key and the version of the API."""
        return {**super().build_headers(key), "anthropic-version": self.api_version}

    def build_body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a request; what is None is left out."""
        sampling = request.sampling
        system, turns = split_system(request.messages)
        body = {
            "model": self.model,
            "system": system or None,
            "messages": turns,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop_sequences": sampling.stop,
            "thinking": build_thinking(sampling, self.thinking),
            "output_config": build_output(sampling),
            **self.options,
        }
        return {name: value for name, value in body.items() if value is not None}

    def read_answer(self, answer: Any) -> Completion:
        """The completion in an answer; see :func:`runner.providers.anthropic.messages.parse_message`."""
        return parse_message(answer, self.name)


def _check_sampling(sampling: Sampling) -> None:
    """Raise :class:`ConfigError` for settings that the Messages API refuses whatever the row."""
    most, budget = sampling.max_tokens, sampling.thinking_tokens
    if most is None:
        raise ConfigError("hyperparameter.max_tokens=null: anthropic needs a number")
    if sampling.response_format == "json_object":
        raise ConfigError("prompt.response_format=json_object: anthropic has only json_schema, or text")
    if any(not text.strip() for text in sampling.stop or ()):
        raise ConfigError("hyperparameter.stop: anthropic takes no text of white space only")
    if sampling.temperature is not None and sampling.temperature > 1:
        raise ConfigError(f"hyperparameter.temperature={sampling.temperature}: anthropic takes 0 to 1")
    if not budget:
        return
    if not LEAST_THINKING <= budget < most:
        raise ConfigError(
            f"hyperparameter.thinking_tokens={budget}: must be 0, or at least {LEAST_THINKING} and below"
            f" hyperparameter.max_tokens={most}, which counts the thinking, too"
        )
    if sampling.temperature not in (None, 1):
        raise ConfigError(
            f"hyperparameter.temperature={sampling.temperature}: anthropic takes none with thinking_tokens;"
            " null leaves it out"
        )
