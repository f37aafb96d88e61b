"""Pacing: requests and tokens a minute are spaced ahead of the server; a 429 only corrects."""

from __future__ import annotations

import asyncio
import time


class Pacer:
    """Spaces requests evenly in time.

    Each limit is one number, the time at which the next request may start (the generic cell rate
    algorithm, ITU-T I.371): a request moves it on by its share of a minute. ``burst_s`` seconds' worth of
    unused allowance may be used at once.
    """

    def __init__(
        self, requests_per_minute: float | None, tokens_per_minute: float | None, burst_s: float = 1.0
    ) -> None:
        self._per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._burst = burst_s
        self._next_request = self._next_token = 0.0
        self._closed_until = 0.0

    async def acquire(self, tokens: int) -> None:
        """Wait until a request of about this many tokens may start."""
        now = time.monotonic()
        start = max(now, self._next_request, self._next_token, self._closed_until)
        self._next_request = max(self._next_request, start - self._burst) + self._per_request
        self._next_token = max(self._next_token, start - self._burst) + self._per_token * tokens
        if start > now:
            await asyncio.sleep(start - now)

    def pause(self, seconds: float) -> None:
        """The server asked everyone to wait."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)
