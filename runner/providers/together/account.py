"""Chat completions at Together (https://docs.together.ai/reference/chat-completions)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.core.types import Request
from runner.providers.chat import Chat


@dataclass(kw_only=True, eq=False)
class Account(Chat):
    """What answers, batches and fine-tuning share; see :class:`runner.providers.together.Together`."""

    model: str = "Qwen/Qwen3.5-9B"
    base_url: str | None = "https://api.together.xyz/v1"
    api_key_env: str | None = "TOGETHER_API_KEY"
    thinking: bool | None = False
    stands_for: str | None = None
    deployment: Mapping[str, Any] = field(default_factory=dict)

    name = "together"
    has_batches = True
    efforts = ("none", "low", "medium", "high")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.addresses: dict[str, str] = {}
        """The names by which endpoints are asked, by their display names; only the service knows them."""

    def lacking(self) -> tuple[str, ...]:
        """There is an effort, but no verbosity."""
        return (*super().lacking(), "verbosity")

    def identity(self) -> Mapping[str, Any]:
        """As of other services, with the default of thinking."""
        return {**super().identity(), "thinking": self.thinking}

    def build_body(self, request: Request) -> dict[str, Any]:
        """As everywhere, but ``logprobs`` is the number of alternatives, and thinking is a switch."""
        body, effort = super().build_body(request), request.sampling.reasoning_effort
        if request.sampling.logprobs is not None:
            body["logprobs"] = body.pop("top_logprobs")
        thinking = self.thinking if effort is None else effort != "none"
        if effort == "none":
            del body["reasoning_effort"]
        if thinking is not None:
            body = {"reasoning": {"enabled": thinking}} | body
        return body | {"model": self.addresses.get(self.model, self.model)}
