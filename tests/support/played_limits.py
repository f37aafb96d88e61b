"""A server with a rate limit and clients that ask it, played on a clock of its own: hours take no time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Rate(Protocol):
    """What is tested: see :class:`runner.engine.limits.AdaptiveRate`."""

    lowered_at: float

    def take(self) -> float: ...
    def note_start(self) -> None: ...
    def note_answer(self) -> None: ...
    def note_refusal(self, wait_s: float) -> None: ...


@dataclass
class Limited:
    """A server. ``per_s`` requests a second are admitted, after a burst; the first ``early`` are refused."""

    per_s: float = 0.0
    burst: float = 1.0
    early: int = 0
    noise: float = 0.0
    """Share of requests that are refused whatever the rate."""
    retry_after_s: float = 1.0
    latency_s: float = 0.2


def play(
    make: Callable[[Callable[[], float]], Rate], server: Limited, rows: int, at_once: int = 50
) -> tuple[float, int]:
    """Return the seconds until ``rows`` answers have come, and the number of refusals."""
    chance, now = random.Random(1), [1000.0]
    rate = make(lambda: now[0])
    tokens, stamp, blocked, asked, refused, left = server.burst, now[0], 0.0, 0, 0, rows
    events = [(now[0], number, "turn") for number in range(min(at_once, rows))]
    turns = {}
    left -= len(events)
    while events:
        time, number, what = heapq.heappop(events)
        now[0] = max(now[0], time)
        if what == "turn":
            turns[number] = rate.lowered_at
            heapq.heappush(events, (max(rate.take(), blocked, now[0]), number, "ask"))
        elif what == "ask" and turns[number] != rate.lowered_at:
            heapq.heappush(events, (max(blocked, now[0]), number, "turn"))
        elif what == "ask" and blocked > now[0]:
            heapq.heappush(events, (blocked, number, "ask"))
        elif what == "ask":
            asked += 1
            rate.note_start()
            tokens = min(server.burst, tokens + (now[0] - stamp) * server.per_s)
            stamp = now[0]
            admitted = asked > server.early and chance.random() >= server.noise
            if admitted and server.per_s:
                admitted = tokens >= 1
                tokens -= admitted
            delay = server.latency_s * chance.uniform(0.5, 1.5) if admitted else 0.005
            heapq.heappush(events, (now[0] + delay, number, "answer" if admitted else "refusal"))
        elif what == "refusal":
            refused += 1
            rate.note_refusal(server.retry_after_s)
            blocked = max(blocked, now[0] + server.retry_after_s)
            heapq.heappush(events, (blocked, number, "turn"))
        else:
            rate.note_answer()
            if left:
                left -= 1
                heapq.heappush(events, (now[0], number, "turn"))
    return now[0] - 1000.0, refused
