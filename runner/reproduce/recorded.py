"""The provider of a past run, known by its identity alone: the ledger answers for it, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.core.errors import ProviderError
from runner.core.provider import Provider
from runner.core.types import Completion, Request


@dataclass(kw_only=True, eq=False)
class Recorded(Provider):
    """Has the ledger keys of whoever had this identity; needs no key, no weights and no network."""

    known_as: Mapping[str, Any]

    stored = True
    max_concurrency = 1

    def __post_init__(self) -> None:
        self.name = str(self.known_as.get("provider", "recorded"))
        self.model = str(self.known_as.get("model", "recorded"))  # weights have no name

    def identity(self) -> Mapping[str, Any]:
        """What the record says."""
        return self.known_as

    async def complete(self, request: Request) -> Completion:
        """Raise :class:`ProviderError`: what the ledger does not have is not asked."""
        raise ProviderError("the ledger has no answer, and none was asked for (reproduce.ask=true asks)")

    async def aclose(self) -> None:
        """Nothing is open."""
