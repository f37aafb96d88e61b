"""Limits of an account, obeyed before the server has to refuse: requests at once and requests a minute.

Known limits (``requests_per_minute``, ``tokens_per_minute``, the token limit in the headers of answers) are
kept in the ledger's database, so that all processes on one ledger share them. An unknown limit of requests is
learned from the headers of answers, or else from the first refusal (429): the rate is then lowered, and
slowly raised again.
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
BURST_S = 0.5  # up to this many seconds of unused allowance may be used at once
SHARE_S = 0.25  # a process books this many seconds of the shared allowance at a time
LOWER, RAISE = 0.85, 1.03  # factors: on a refusal; for every second without one
RAISE_NEAR, NEAR = 1.005, (0.95, 1.1)  # the smaller factor, at these multiples of the last refused rate
WINDOW_S = 1.0


class Booking:
    """An allowance shared through one number in the database: the time at which the next request may start.

    Every booking moves that time on by its share of a minute: the generic cell rate algorithm (ITU-T I.371)
    over wall-clock time. ``per_minute`` counts requests or tokens.
    """

    def __init__(self, ledger: Ledger, key: str, per_minute: float) -> None:
        self._ledger, self._key = ledger, key
        self.per_minute = per_minute
        self._interval = 60 / per_minute
        self._chunk = max(1.0, SHARE_S / self._interval)
        self._next = self._end = 0.0

    def take(self, amount: float) -> float:
        """Return the wall-clock time at which a request of this size may start. May block briefly."""
        missing = amount - (self._end - self._next) / self._interval
        if missing > 1e-9:
            self._book(max(missing, self._chunk))
        start = self._next
        self._next += amount * self._interval
        return start

    def _book(self, amount: float) -> None:
        """Book time in the database; what is left of the last booking is kept and used first."""
        left = self._end - self._next
        length = amount * self._interval
        oldest = time.time() - BURST_S
        self._end = float(
            self._ledger.change(KIND, self._key, lambda end: max(float(end or 0.0), oldest) + length)
        )
        self._next = self._end - length - left


class Pace:
    """Decides when the next request to an account may start."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self._ledger, self._key = ledger, key
        self._requests: Booking | None = None
        self._tokens: Booking | None = None
        self._configured_tokens: float | None = None
        self._adaptive_rate = AdaptiveRate()
        self._blocked_until = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Whether a token limit is known, so that :meth:`wait_turn` needs the tokens of a request."""
        return self._tokens is not None

    def set_limits(self, requests: float | None, tokens: float | None) -> None:
        """Set what the config says the account allows per minute; None where it says nothing."""
        self._configured_tokens = tokens
        self._requests = self._make_booking("requests", requests, self._requests)
        self._tokens = self._make_booking("tokens", tokens, self._tokens)

    async def wait_turn(self, tokens: float) -> None:
        """Wait until a request of about this many tokens may start."""
        start = self._requests.take(1.0) if self._requests else self._adaptive_rate.take()
        if self._tokens:
            start = max(start, self._tokens.take(tokens))
        while (wait := max(start, self._blocked_until) - time.time()) > 0:
            await asyncio.sleep(wait)

    def note_answer(self, limits: RateLimits | None) -> None:
        """Note an answer; ``limits`` holds the account's limits from its headers, if any."""
        self._adaptive_rate.note_answer(limits.requests if limits else None)
        if limits and limits.tokens and self._configured_tokens is None:
            self._tokens = self._make_booking("tokens", limits.tokens, self._tokens)

    def note_refusal(self, retry_after: float | None) -> None:
        """Note a 429: all requests wait for ``retry_after`` seconds, and the rate is lowered."""
        self._adaptive_rate.note_refusal()
        if retry_after:
            self._blocked_until = max(self._blocked_until, time.time() + retry_after)

    def _make_booking(self, unit: str, per_minute: float | None, current: Booking | None) -> Booking | None:
        if not per_minute:
            return None
        if current and current.per_minute == per_minute:
            return current
        return Booking(self._ledger, f"{self._key}-{unit}"[-64:], per_minute)


class AdaptiveRate:
    """A rate that is learned: unlimited until the first refusal, then held just below what the server admits.

    It is slowly raised again, more slowly near the rate that was refused before. It never exceeds the limit
    in the headers of answers.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._answers: deque[float] = deque()
        self._next = self._raised_at = self._lowered_at = 0.0
        self._refused_rate = self._announced = math.inf
        self.rate = math.inf
        """Requests a second."""

    def take(self) -> float:
        """Return the wall-clock time at which the next request may start."""
        now = self._clock()
        if math.isinf(self.rate):
            return now
        if now - self._raised_at > WINDOW_S:
            near = NEAR[0] <= self.rate / self._refused_rate <= NEAR[1]
            self.rate = min(self.rate * (RAISE_NEAR if near else RAISE), self._announced)
            self._raised_at = now
        start = max(self._next, now - BURST_S)
        self._next = start + 1 / self.rate
        return start

    def note_answer(self, per_minute: float | None = None) -> None:
        """Count an answer; ``per_minute`` is the limit in its headers, if any."""
        now = self._clock()
        self._answers.append(now)
        while self._answers[0] < now - WINDOW_S:
            self._answers.popleft()
        if per_minute:
            self._announced = per_minute / 60
            self.rate = min(self.rate, self._announced)

    def note_refusal(self) -> None:
        """Lower the rate, but only once for all refusals within :data:`WINDOW_S`."""
        now = self._clock()
        if now - self._lowered_at < WINDOW_S:
            return
        admitted = max(1.0, len(self._answers) / WINDOW_S)
        self._refused_rate = min(self.rate, admitted)
        self.rate = LOWER * self._refused_rate
        self._lowered_at = self._raised_at = self._next = now


class Gate:
    """Limits how many requests are in flight: at most ``most``, fewer while the server fails.

    Additive increase and multiplicative decrease (Chiu and Jain 1989). The limit is halved at most once
    within :data:`WINDOW_S`.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._limit = float(most)
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lowered_at = 0.0

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
        """Set how many requests may be in flight at most."""
        self._limit = float(most) if self._limit >= self.most else min(self._limit, float(most))
        self.most = most
        self._wake()

    def note_success(self) -> None:
        """Raise the limit a little: the server answered."""
        if self._limit < self.most:
            self._limit = min(self.most, self._limit + 1 / self._limit)
            self._wake()

    def note_failure(self) -> None:
        """Halve the limit: the server timed out, closed the connection or reported an error."""
        now = time.monotonic()
        if now - self._lowered_at > WINDOW_S:
            self._lowered_at = now
            self._limit = max(1.0, self._limit / 2)

    def _wake(self) -> None:
        free = int(self._limit) - self._running
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
