"""OpenAI, and every server that speaks its chat-completions dialect."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date

from runner.core.provider import Batcher, Tuner
from runner.providers.chat import EFFORTS, Chat


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
    max_tokens_field = "max_completion_tokens"  # the reasoning models refuse ``max_tokens``

    def build_headers(self, key: str) -> dict[str, str]:
        """Key, organisation and project."""
        scope = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
        found = {header: os.environ.get(variable, "") for header, variable in scope.items()}
        return super().build_headers(key) | {header: value for header, value in found.items() if value}

    def shutdown_date(self) -> date | None:
        """The day on which OpenAI says that it shuts the model down, or None."""
        from runner.providers.openai.shutdown import find_shutdown_date

        return find_shutdown_date(self.endpoint(), self.model, self.build_headers(self.read_key()))

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

    ``base_url`` is required; without ``api_key_env`` no key is sent.
    """

    name = "openai_compatible"
    key_required = False
