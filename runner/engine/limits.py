"""Limits of an account, obeyed ahead of the server: how many requests at once, how many a minute.

What is known (``requests_per_minute``, ``tokens_per_minute``, the tokens that answers' headers allow) is
paced in the ledger's database, so that all processes on one ledger share it. A rate of requests that is not
known is found out: from answers' headers, else from the first refusal (429), after which the rate is lowered
and carefully raised again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from runner.core.provider import RateLimits
from runner.engine.ledger import Ledger

KIND = "pace"
BURST_S = 0.5  # unused allowance of this many seconds may be used at once
SHARE_S = 0.25  # a process books this many seconds of the shared allowance at a time
LOWER, RAISE = 0.85, 1.03  # on a refusal; for every second without one
GENTLY, NEAR = 1.005, (0.95, 1.1)  # so much instead, near the rate of the last refusal
WINDOW_S = 1.0


class Booking:
    """Shared allowance, one number in the database: the time from which the next request may start.

    The generic cell rate algorithm (ITU-T I.371) over wall-clock time: every booking moves that time on by
    its share of a minute. ``per_minute`` counts requests or tokens.
    """

    def __init__(self, ledger: Ledger, key: str, per_minute: float) -> None:
        self._ledger, self._key = ledger, key
        self.per_minute = per_minute
        self._each = 60 / per_minute
        self._chunk = max(1.0, SHARE_S / self._each)
        self._next = self._end = 0.0

    def take(self, amount: float) -> float:
        """When a request of this size may start, as wall-clock time. Blocks for one short transaction."""
        missing = amount - (self._end - self._next) / self._each
        if missing > 1e-9:
            self._book(max(missing, self._chunk))
        start = self._next
        self._next += amount * self._each
        return start

    def _book(self, amount: float) -> None:
        """Book a stretch of time; what is left of the last one is put before it."""
        left = self._end - self._next
        length = amount * self._each
        oldest = time.time() - BURST_S
        self._end = float(
            self._ledger.change(KIND, self._key, lambda end: max(float(end or 0.0), oldest) + length)
        )
        self._next = self._end - length - left


class Pace:
    """When the next request to an account may start."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self._ledger, self._key = ledger, key
        self._requests: Booking | None = None
        self._tokens: Booking | None = None
        self._given_tokens: float | None = None
        self._found = FoundRate()
        self._closed_until = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Whether a limit of tokens is known, so that requests must say how many they have."""
        return self._tokens is not None

    def set_limits(self, requests: float | None, tokens: float | None) -> None:
        """Take what a config says that the account allows, a minute; None: not known."""
        self._given_tokens = tokens
        self._requests = self._booking("requests", requests, self._requests)
        self._tokens = self._booking("tokens", tokens, self._tokens)

    async def wait_turn(self, tokens: float) -> None:
        """Wait until a request of about this many tokens may start."""
        start = self._requests.take(1.0) if self._requests else self._found.take()
        if self._tokens:
            start = max(start, self._tokens.take(tokens))
        while (wait := max(start, self._closed_until) - time.time()) > 0:
            await asyncio.sleep(wait)

    def note_answer(self, limits: RateLimits | None) -> None:
        """An answer came; ``limits`` is what it told about the account."""
        self._found.note_answer(limits.requests if limits else None)
        if limits and limits.tokens and self._given_tokens is None:
            self._tokens = self._booking("tokens", limits.tokens, self._tokens)

    def note_refusal(self, retry_after: float | None) -> None:
        """A 429 came: everyone waits as long as the server asks, and then goes slower."""
        self._found.note_refusal()
        if retry_after:
            self._closed_until = max(self._closed_until, time.time() + retry_after)

    def _booking(self, unit: str, per_minute: float | None, known: Booking | None) -> Booking | None:
        if not per_minute:
            return None
        if known and known.per_minute == per_minute:
            return known
        return Booking(self._ledger, f"{self._key}-{unit}"[-64:], per_minute)


class FoundRate:
    """A rate that nobody told: unlimited until a refusal, then held just below what is admitted.

    It is raised again, gently where it was refused before, and never above what answers tell to be the limit.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._answers: deque[float] = deque()
        self._next = self._raised = self._lowered = 0.0
        self._refused_at = self._told = math.inf
        self.rate = math.inf
        """Requests a second."""

    def take(self) -> float:
        """When the next request may start."""
        now = self._clock()
        if math.isinf(self.rate):
            return now
        if now - self._raised > WINDOW_S:
            near = NEAR[0] <= self.rate / self._refused_at <= NEAR[1]
            self.rate = min(self.rate * (GENTLY if near else RAISE), self._told)
            self._raised = now
        start = max(self._next, now - BURST_S)
        self._next = start + 1 / self.rate
        return start

    def note_answer(self, per_minute: float | None = None) -> None:
        """Count an answer, and take the limit that it tells, if any."""
        now = self._clock()
        self._answers.append(now)
        while self._answers[0] < now - WINDOW_S:
            self._answers.popleft()
        if per_minute:
            self._told = per_minute / 60
            self.rate = min(self.rate, self._told)

    def note_refusal(self) -> None:
        """Lower the rate, at most once for all refusals of the same moment."""
        now = self._clock()
        if now - self._lowered < WINDOW_S:
            return
        admitted = max(1.0, len(self._answers) / WINDOW_S)
        self._refused_at = min(self.rate, admitted)
        self.rate = LOWER * self._refused_at
        self._lowered = self._raised = self._next = now


class Gate:
    """How many requests may be under way: ``most``, fewer while the server fails, one more with each success.

    Additive increase and multiplicative decrease (Chiu and Jain 1989), once per failing moment.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._limit = float(most)
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lowered = 0.0

    async def __aenter__(self) -> None:
        while self._running >= int(self._limit):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._running += 1

    async def __aexit__(self, *_: object) -> None:
        self._running -= 1
        self._wake()

    def resize(self, most: int) -> None:
        """Let another number be under way at most."""
        self._limit = float(most) if self._limit >= self.most else min(self._limit, float(most))
        self.most = most
        self._wake()

    def note_success(self) -> None:
        """The server keeps up."""
        if self._limit < self.most:
            self._limit = min(self.most, self._limit + 1 / self._limit)
            self._wake()

    def note_failure(self) -> None:
        """The server does not keep up: it timed out, broke off or reported a fault."""
        now = time.monotonic()
        if now - self._lowered > WINDOW_S:
            self._lowered = now
            self._limit = max(1.0, self._limit / 2)

    def _wake(self) -> None:
        free = int(self._limit) - self._running
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
