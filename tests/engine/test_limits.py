"""All processes on one ledger obey the limits before the server has to refuse."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from played_limits import Limited, play

from runner.core.provider import RateLimits
from runner.engine.ledger import Ledger
from runner.engine.limits import BURST_S, AdaptiveRate, Booking, Gate, Pace


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def test_spacing(ledger):
    """Requests start a minute's share apart, after the burst that unused time allows."""
    booking = Booking(ledger, "k", per_minute=600)
    starts = [booking.take(1) for _ in range(20)]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps == pytest.approx([0.1] * 19, abs=1e-3)
    assert starts[0] == pytest.approx(time.time() - BURST_S, abs=0.2)


def test_two_processes_share(ledger, tmp_path):
    """Two processes on one ledger together take no more than one alone may take."""
    other = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    bookings = [Booking(ledger, "k", 6000), Booking(other, "k", 6000)]
    starts = sorted(booking.take(1) for _ in range(200) for booking in bookings)
    assert starts[-1] - starts[0] >= 399 / 100 - 0.5


def test_amounts(ledger):
    """Tokens are paced by their number: a large request delays the next one for longer."""
    booking = Booking(ledger, "k", per_minute=60_000)
    starts = [booking.take(amount) for amount in (500, 2000, 500)]
    assert starts[1] - starts[0] == pytest.approx(0.5, abs=1e-3)
    assert starts[2] - starts[1] == pytest.approx(2.0, abs=1e-3)


def test_a_refusal_stops_everyone(ledger):
    """After a 429 no request starts before the time that the server asked for."""

    async def timed():
        pace = Pace(ledger, "k")
        pace.note_refusal(retry_after=0.2)
        began = time.time()
        await asyncio.gather(*(pace.wait_turn(1) for _ in range(3)))
        return time.time() - began

    assert asyncio.run(timed()) >= 0.2


@pytest.mark.parametrize("early", [1, 8, 50])
def test_early_refusals_cost_little(early):
    """They say nothing about the rate: 600 rows take at most 1.5 times as long."""
    assert play(AdaptiveRate, Limited(early=early), 600)[0] < 1.5 * play(AdaptiveRate, Limited(), 600)[0]


@pytest.mark.parametrize("retry_after_s", [0.02, 1.0])
@pytest.mark.parametrize(("per_s", "latency_s"), [(10, 0.005), (10, 2.0), (50, 0.2), (100, 0.005)])
def test_an_unknown_limit_is_found(per_s, latency_s, retry_after_s):
    """Nearly all of what a server admits is used; after the first seconds it refuses less than 2%."""
    server = Limited(per_s, per_s, latency_s=latency_s, retry_after_s=retry_after_s)
    rows = 20 * per_s
    seconds, refused = play(AdaptiveRate, server, rows)
    longer, more = play(AdaptiveRate, server, 2 * rows)
    assert seconds < 30
    assert longer - seconds < 22
    assert more - refused < 0.02 * rows


def test_refusals_without_a_reason():
    """Three in a hundred requests are refused at any rate: it does not fall further and further."""
    seconds, refused = play(AdaptiveRate, Limited(noise=0.03), 3000)
    assert seconds < 3 * refused


def test_headers_tell_the_rate():
    """A limit in an answer's headers applies before any refusal, and the rate does not rise above it."""
    now = [100.0]
    found = AdaptiveRate(lambda: now[0])
    found.note_answer(600)
    assert found.rate == 10
    for _ in range(60):
        now[0] += 2
        found.take()
        found.note_answer()
    found.note_refusal()
    assert found.rate < 10
    now[0] += 600
    assert found.rate == 10


def test_fewer_at_once_while_the_server_fails():
    """A failure halves the requests in flight, successes restore them, and there is always at least one."""

    async def peak(gate):
        running = most = 0

        async def one():
            nonlocal running, most
            async with gate:
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.01)
                running -= 1

        await asyncio.gather(*(one() for _ in range(40)))
        return most

    gate = Gate(8)
    assert asyncio.run(peak(gate)) == 8
    gate.note_failure()
    assert asyncio.run(peak(gate)) == 4
    for _ in range(60):
        gate.note_success()
    assert asyncio.run(peak(gate)) == 8


def test_tokens_that_the_server_allows_are_obeyed(ledger):
    """A token limit in an answer's headers paces later requests, unless the config sets one."""

    async def timed(pace):
        pace.note_answer(RateLimits(tokens=60_000))
        began = time.monotonic()
        for _ in range(3):
            await pace.wait_turn(500)
        return time.monotonic() - began

    assert asyncio.run(timed(Pace(ledger, "told"))) >= 0.4
    given = Pace(ledger, "given")
    given.set_limits(None, 60_000_000)
    assert asyncio.run(timed(given)) < 0.2


def test_tokens_read_and_written_are_limited_apart(ledger):
    """The longer wait counts; what is written is taken to be a usual answer, not the longest."""

    async def timed(limits, *tokens):
        pace = Pace(ledger, repr(limits))
        pace.note_answer(limits)
        began = time.monotonic()
        for _ in range(3):
            await pace.wait_turn(*tokens)
        return time.monotonic() - began

    written = RateLimits(input_tokens=60_000_000, output_tokens=60_000)
    assert asyncio.run(timed(written, 500, 9000, 500)) == pytest.approx(0.5, abs=0.3)
    assert asyncio.run(timed(RateLimits(input_tokens=60_000), 500, 9, 9)) >= 0.4
    assert asyncio.run(timed(RateLimits(output_tokens=60_000_000), 500, 9, 9)) < 0.2
