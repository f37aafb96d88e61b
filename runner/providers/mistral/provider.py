"""Mistral's API (https://docs.mistral.ai/api): the same dialect with a few names of its own."""

from __future__ import annotations

from dataclasses import dataclass

from runner.core.provider import Batcher, Tuner
from runner.providers.chat import EFFORTS, Chat


@dataclass(kw_only=True, eq=False)
class Mistral(Chat):
    """Chat completions at Mistral."""

    model: str = "mistral-small-latest"
    base_url: str | None = "https://api.mistral.ai/v1"
    api_key_env: str | None = "MISTRAL_API_KEY"
    max_concurrency: int = 16

    name = "mistral"
    has_batches = True
    seed_field = "random_seed"
    efforts = EFFORTS
    shutdown_field = "deprecation"

    def lacking(self) -> tuple[str, ...]:
        """There is an effort, but no verbosity."""
        return (*super().lacking(), "verbosity")

    def batcher(self) -> Batcher:
        """Batches in this account."""
        from runner.providers.mistral.batch import MistralBatcher

        return MistralBatcher(self)

    def tuner(self) -> Tuner:
        """Fine-tuning in this account."""
        from runner.providers.mistral.tuning import MistralTuner  # the SDK takes half a second to import

        return MistralTuner(self)
