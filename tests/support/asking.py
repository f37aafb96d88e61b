"""Asking a provider one question against a local server."""

from __future__ import annotations

import asyncio
from typing import Any

from servers import Reply, serving

from runner.core.types import Completion, Message, Request, Sampling
from runner.providers.chat import Chat
from runner.providers.openai import OpenAICompatible

KEY = "sk-test-0123456789"
MESSAGES: tuple[Message, ...] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße, 1+1?"},
)


def ask(provider: Chat, sampling: Sampling | None = None) -> Completion:
    """One completion in a loop of its own, connections closed."""

    async def once() -> Completion:
        try:
            return await provider.complete(Request(MESSAGES, sampling or Sampling()))
        finally:
            await provider.aclose()

    return asyncio.run(once())


def answered(body: Any, **reply: Any) -> Completion:
    """What becomes of one reply of a server."""
    with serving(lambda call: Reply(body, **reply)) as server:
        return ask(OpenAICompatible(model="m", base_url=server.url, timeout_s=0.5))
