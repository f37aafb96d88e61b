"""A stand-in for the provider of a past run: it has that provider's identity, and only the ledger answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.core.errors import ProviderError
from runner.core.provider import THINKING_TAGS, Provider
from runner.core.types import Completion, Request


@dataclass(kw_only=True, eq=False)
class Recorded(Provider):
    """Has the same ledger keys as the provider with this identity. Needs no key, weights or network."""

    known_as: Mapping[str, Any]
    thinking_tags: Sequence[str] = field(default_factory=lambda: list(THINKING_TAGS))

    stored = True
    max_concurrency = 1

    def __post_init__(self) -> None:
        self.name = str(self.known_as.get("provider", "recorded"))
        self.model = str(self.known_as.get("model", "recorded"))  # weights have no name

    def identity(self) -> Mapping[str, Any]:
        """The identity in the record."""
        return self.known_as

    async def complete(self, request: Request) -> Completion:
        """Raise :class:`ProviderError`: the ledger has no answer, and no model is asked."""
        raise ProviderError("the ledger has no answer; reproduce.ask=true asks the model")

    async def aclose(self) -> None:
        """Do nothing, since nothing is open."""
