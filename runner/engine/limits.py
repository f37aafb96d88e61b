"""Limits of an account, obeyed before the server has to refuse: requests at once and requests a minute.

Known limits (``requests_per_minute``, ``tokens_per_minute``, the token limits in the headers of answers) are
kept in the ledger's database, so that all processes on one ledger share them. An unknown limit of requests is
learned from the headers of answers, or else from refusals (429): see :class:`AdaptiveRate`.
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
ENOUGH = 10  # answers, before a rate is learned
LOWER = 0.85  # the share of the admitted rate that is left after a refusal
SLACK, FLOOR = 1.2, 0.9  # bounds of the admitted rate, as shares of the measured and of the best one
LEAST = 0.1  # requests a second
QUICK_S = 0.5  # how soon a lowered rate is back for the first time; later: so many requests, within bounds
RECOVERY_REQUESTS, RECOVERY_S = 100, (3.0, 30.0)
SLOT_S, MEMORY_S = 5.0, 60.0
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
        self._read: Booking | None = None
        self._written: Booking | None = None
        self._configured_tokens: float | None = None
        self._adaptive_rate = AdaptiveRate()
        self._blocked_until = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Whether a token limit is known, so that :meth:`wait_turn` needs the tokens of a request."""
        return bool(self._tokens or self._read or self._written)

    def set_limits(self, requests: float | None, tokens: float | None) -> None:
        """Set what the config says the account allows per minute; None where it says nothing."""
        self._configured_tokens = tokens
        self._requests = self._make_booking("requests", requests, self._requests)
        self._tokens = self._make_booking("tokens", tokens, self._tokens)
        if tokens:
            self._read = self._written = None

    async def wait_turn(self, prompt: float = 0.0, longest: float = 0.0, usual: float = 0.0) -> None:
        """Wait until a request may start, by the tokens of its prompt, its longest and a usual answer.

        A limit of all tokens counts the longest answer, since servers do; one of those written what is
        written.
        """
        start = self._requests.take(1.0) if self._requests else 0.0
        counted = ((self._tokens, prompt + longest), (self._read, prompt), (self._written, usual))
        start = max(start, *(limit.take(tokens) if limit else 0.0 for limit, tokens in counted))
        lowered_at = None
        while lowered_at != self._adaptive_rate.lowered_at:  # a turn taken at a higher rate does not count
            lowered_at = self._adaptive_rate.lowered_at
            if not self._requests:
                start = max(start, self._adaptive_rate.take())
            while (wait := max(start, self._blocked_until) - time.time()) > 0:
                await asyncio.sleep(wait)
        self._adaptive_rate.note_start()

    def note_answer(self, limits: RateLimits | None) -> None:
        """Note an answer; ``limits`` holds the account's limits from its headers, if any."""
        self._adaptive_rate.note_answer(limits.requests if limits else None)
        if limits and self._configured_tokens is None:
            book = self._make_booking
            self._tokens = book("tokens", limits.tokens, self._tokens) or self._tokens
            self._read = book("read", limits.input_tokens, self._read) or self._read
            self._written = book("written", limits.output_tokens, self._written) or self._written

    def note_refusal(self, retry_after: float | None) -> None:
        """Note a 429: all requests wait for ``retry_after`` seconds, and the rate is lowered."""
        self._adaptive_rate.note_refusal(retry_after or 0.0)
        self._blocked_until = max(self._blocked_until, time.time() + (retry_after or 0.0))

    def _make_booking(self, unit: str, per_minute: float | None, current: Booking | None) -> Booking | None:
        if not per_minute:
            return None
        if current and current.per_minute == per_minute:
            return current
        return Booking(self._ledger, f"{self._key}-{unit}"[-64:], per_minute)


class AdaptiveRate:
    """A rate that is learned: unlimited until the first refusal, then held about what the server admits.

    Nothing is learned before :data:`ENOUGH` answers: an early refusal may be due to others' load, so requests
    only wait. Later, a refusal lowers the rate to :data:`LOWER` of what was admitted. The rate is back after
    some seconds, stays near it, and then grows faster and faster, as TCP's window does (RFC 9438, section
    4.2). The first recovery is quick, since the first seconds of a run say little.

    What was admitted is taken to be no less than :data:`FLOOR` of the best of the last minute, so that
    refusals which have nothing to do with the rate do not lower it further and further.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._answers = 0  # since the rate was lowered
        self._slots: deque[list[int]] = deque()  # of the last minute: number of the slot, answers in it
        self._starts: deque[float] = deque()  # of the last second, less what was refused
        self._count = 0  # requests since then, less what was refused
        self.lowered_at = -math.inf
        self._next = self._recovery_s = 0.0
        self._admitted = self._announced = math.inf

    @property
    def rate(self) -> float:
        """Requests a second now."""
        if math.isinf(self._admitted):
            return self._announced
        passed = (self._clock() - self.lowered_at) / self._recovery_s - 1
        return min(self._admitted * (1 + (1 - LOWER) * passed**3), self._announced)

    def take(self) -> float:
        """Return the wall-clock time at which the next request may start."""
        now, rate = self._clock(), self.rate
        start = now
        if math.isfinite(rate):
            start = max(self._next, now - BURST_S)
            self._next = start + 1 / rate
        return start

    def note_start(self) -> None:
        """Count a request that starts now."""
        now = self._clock()
        self._count += 1
        self._starts.append(now)
        while self._starts[0] < now - WINDOW_S:
            self._starts.popleft()

    def note_answer(self, per_minute: float | None = None) -> None:
        """Count an answer; ``per_minute`` is the limit in its headers, if any."""
        self._answers += 1
        slot = int(self._clock() / SLOT_S)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0])
        self._slots[-1][1] += 1
        if per_minute:
            self._announced = per_minute / 60

    def note_refusal(self, wait_s: float = 0.0) -> None:
        """Note a refusal, after which all wait ``wait_s`` seconds.

        The rate is lowered only once for all refusals within :data:`WINDOW_S`.
        """
        now = self._clock()
        self._count -= 1
        if self._starts:
            self._starts.pop()
        passed = now - self.lowered_at
        if passed < WINDOW_S:
            return
        if math.isfinite(self._admitted):
            measured = max(self._count, self._answers) / passed
            admitted = max(min(self.rate, SLACK * measured), FLOOR * self._find_best(), LEAST)
            self._recovery_s = min(max(RECOVERY_REQUESTS / admitted, RECOVERY_S[0]), RECOVERY_S[1])
            self._admitted = admitted
        elif self._answers >= ENOUGH:
            self._admitted, self._recovery_s = max(1.0, len(self._starts) / WINDOW_S), QUICK_S
        else:
            return
        self.lowered_at, self._count, self._answers, self._next = now, 0, 0, now + wait_s

    def _find_best(self) -> float:
        """Return the most answers a second in a slot of the last minute."""
        oldest = (self._clock() - MEMORY_S) / SLOT_S
        while self._slots and self._slots[0][0] < oldest:
            self._slots.popleft()
        return max((count for _, count in self._slots), default=0) / SLOT_S


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
