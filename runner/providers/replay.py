"""Answers recorded earlier, read from a column of the rows: no model, no cost, no network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.core.errors import ConfigError, FatalProviderError, ProviderError, suggest
from runner.core.identity import identify_more
from runner.core.provider import THINKING_TAGS, Provider
from runner.core.types import Completion, Request, Sampling


@dataclass(kw_only=True, eq=False)
class Replay(Provider):
    """Answers each row with its own cell of ``column``; ``model`` is a free name for who answered.

    A cell that is a list of texts has the answers to a row that was asked several times. Each column of
    ``beside`` then holds a list, too, with what is known of each answer, such as a score or its tokens.
    ``thinking_tags`` are those of :class:`runner.core.provider.Provider`.
    """

    column: str = "recorded"
    model: str = "recorded"
    beside: Sequence[str] = field(default_factory=list)
    thinking_tags: Sequence[str] = field(default_factory=lambda: list(THINKING_TAGS))

    name = "replay"
    stored = False
    max_concurrency = 1

    def check(self, sampling: Sampling | None = None, columns: Iterable[str] | None = None) -> None:
        """Raise :class:`ConfigError` if the column is not among ``columns``, where they are known."""
        super().check(sampling, columns)
        if columns is not None and self.column not in (known := list(columns)):
            raise ConfigError(self._explain_missing(known))

    def gives_logprobs(self, sampling: Sampling) -> bool:
        """Recorded answers have none, whatever is asked for."""
        return False

    def identity(self) -> Mapping[str, Any]:
        """The column and the name; the answers themselves are part of the rows."""
        return {"provider": self.name, "column": self.column, "model": self.model} | identify_more(self)

    async def complete(self, request: Request) -> Completion:
        """The recorded answer. Text as it is, anything else as JSON."""
        if self.column not in request.row:
            raise FatalProviderError(self._explain_missing(request.row))
        value = request.row[self.column]
        if isinstance(value, list) and all(isinstance(one, str | None) for one in value):
            value = value[request.repeat] if request.repeat < len(value) else None
        if value is None:
            raise ProviderError(f"no answer is recorded in column {self.column!r}")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return Completion(text=text, model=self.model, finish_reason="stop")

    def _explain_missing(self, known: Iterable[str]) -> str:
        hint = suggest(self.column, known)
        if "did you mean" not in hint:
            hint = f"; this data set has no recorded answers, or has them under another name{hint}"
        return f"provider.column={self.column}: no such column{hint}"
