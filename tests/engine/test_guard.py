"""Whatever a provider's code raises, no run hangs, and every paid answer is in the ledger."""

from __future__ import annotations

import asyncio
import logging

import pytest

from runner.core.errors import FatalProviderError, ProviderError, RunnerError
from runner.core.provider import Provider, RateLimits
from runner.core.types import Completion, Request
from runner.engine import guard
from runner.engine.ask import Part, ask_all, ask_parts
from runner.engine.call import KIND, UNASKED
from runner.engine.ledger import Ledger
from runner.pipeline.judge import judge_row


class Mute(Exception):
    """An error whose message cannot be read."""

    def __str__(self):
        raise ValueError("no message")


class Faulty(Provider):
    """A provider of a user's own; the question ``bad`` runs ``fault``."""

    model = "faulty"

    def __init__(self, fault=None):
        self.fault, self.asked = fault, []

    def identity(self):
        return {"provider": "faulty"}

    async def complete(self, request):
        question = request.messages[0]["content"]
        self.asked.append(question)
        await asyncio.sleep(0.01)
        if question == "bad":
            await self.fault()
        return Completion(question.upper())


def raises(error):
    async def fault():
        raise error

    return fault


async def cancelled_inside():
    inner = asyncio.create_task(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(inner.cancel)
    await inner


async def exit_inside():
    await asyncio.create_task(raises(SystemExit(3))())


async def cancel_itself():
    asyncio.current_task().cancel()
    await asyncio.sleep(60)


def make_requests(*texts):
    return [Request(({"role": "user", "content": text},)) for text in texts]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


class Money:
    """Money for ``calls`` calls, of which each costs half of what it sets aside."""

    def __init__(self, calls):
        self.calls = calls

    def reserve(self, request):
        enough = self.calls >= 1
        self.calls -= enough
        return enough

    def settle(self, request, completion):
        self.calls += 0.5 if completion else 1


FAULTS = [
    (cancelled_inside, "CancelledError"),
    (exit_inside, "SystemExit: 3"),
    (raises(SystemExit(3)), "SystemExit: 3"),
    (raises(BaseException("odd")), "BaseException: odd"),
    (raises(TimeoutError()), "TimeoutError"),
    (raises(Mute()), "Mute"),
    (raises(ProviderError("half \ud800")), "half ?"),
]


@pytest.mark.parametrize(("fault", "error"), FAULTS)
def test_a_fault_is_its_rows_error(ledger, fault, error):
    """Whatever a call raises is the error of its row, and rows that wait for its money go on."""
    answers = ask_all(make_requests("bad", *"abc"), Faulty(fault), ledger, allowance=Money(2))
    first, *others = [answer.error for answer in answers]
    assert (first.partition(" (")[0], others) == (error, [None, None, None])
    assert {key for key, _ in ledger.items(KIND)} == {answer.key for answer in answers[1:]}


def test_an_interrupt_stops_the_run(ledger):
    """``KeyboardInterrupt`` in a call stops the run, and the next run works."""
    with pytest.raises(KeyboardInterrupt):
        ask_all(make_requests("bad", "a"), Faulty(raises(KeyboardInterrupt())), ledger)
    assert ask_all(make_requests("a"), Faulty(), ledger)[0].completion


def test_a_call_that_cancels_its_task(ledger):
    """A call that cancels the task that made it loses rows, which is said; the others are kept."""
    with pytest.raises(RunnerError, match="1 of 2 rows were lost"):
        ask_all(make_requests("bad", "a"), Faulty(cancel_itself), ledger)
    assert len(list(ledger.items(KIND))) == 1


def test_nothing_goes_on_after_a_stop(ledger):
    """An error that stops the run also stops the other call of its row, before the connections are closed."""
    ended = []

    class Slow(Faulty):
        async def complete(self, request):
            try:
                if request.messages[0]["content"] == "bad":
                    await asyncio.sleep(0.01)
                    raise FatalProviderError("wrong key")
                if request.messages[0]["content"] == "first":  # it goes alone; then there are several at once
                    return Completion("FIRST")
                await asyncio.sleep(60)
            finally:
                ended.append("call")

        async def aclose(self):
            ended.append("provider")

    ask_all(make_requests("first"), Slow(), ledger)
    ended.clear()
    rows = [make_requests("bad", "a"), make_requests("b", "c")]
    with pytest.raises(FatalProviderError, match="wrong key"):
        ask_parts([Part(rows, judge_row, Slow())], ledger)
    assert ended == ["call"] * 4 + ["provider"]


def test_first_come_first_served(ledger):
    """A row that waits for money is not overtaken, however the calls in flight end."""

    class Uneven(Faulty):
        max_concurrency = 8

        async def complete(self, request):
            number = int(request.messages[0]["content"])
            await asyncio.sleep(0.001 * (number * 7 % 5))
            return Completion("x")

    answers = ask_all(make_requests(*map(str, range(40))), Uneven(), ledger, allowance=Money(10))
    asked = [number for number, answer in enumerate(answers) if answer is not UNASKED]
    assert len(asked) == 19
    assert max(asked) < 19 + Uneven.max_concurrency  # rows of one block of claims may change places


@pytest.mark.parametrize(
    "limits", [ValueError("no header"), {"requests": 5}, RateLimits("many"), RateLimits(-1)]
)
def test_unreadable_limits(ledger, caplog, monkeypatch, limits):
    """Answers are kept if the provider's limits cannot be read, with one warning."""

    class Unlimited(Faulty):
        def rate_limits(self):
            if isinstance(limits, Exception):
                raise limits
            return limits

    monkeypatch.setattr(guard, "_warned_names", set())
    with caplog.at_level(logging.WARNING):
        answers = ask_all(make_requests(*"ab"), Unlimited(), ledger)
    assert [answer.completion.text for answer in answers] == ["A", "B"]
    assert caplog.text.count("its rate limits are unknown") == 1


@pytest.mark.parametrize("fault", [raises(OSError("gone")), raises(SystemExit()), lambda: asyncio.sleep(60)])
def test_connections_that_do_not_close(ledger, caplog, monkeypatch, fault):
    """A provider that fails to close, or never ends closing, costs a warning and no answer."""

    class Open(Faulty):
        async def aclose(self):
            await fault()

    monkeypatch.setattr(guard, "CLOSE_S", 0.05)
    with caplog.at_level(logging.WARNING):
        assert ask_all(make_requests("a"), Open(), ledger)[0].completion
    assert "its connections were not closed" in caplog.text


@pytest.mark.parametrize(
    "fault", [StopIteration("x"), SystemExit(3), asyncio.CancelledError(), ValueError("x")]
)
def test_a_batcher_that_fails(ledger, fault):
    """Whatever a batcher raises stops the run; nobody waits for ever."""

    class Batching(Faulty):
        batch = True

        def batcher(self):
            raise fault

    with pytest.raises((ProviderError, ValueError)) as caught:
        ask_all(make_requests(*"ab"), Batching(), ledger)
    assert fault in (caught.value, caught.value.__cause__)
