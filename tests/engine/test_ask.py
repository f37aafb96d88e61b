"""The completion engine: nothing asked twice, one bad row kills nothing, a bad key stops at once."""

from __future__ import annotations

import asyncio

import pytest

from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.core.types import Completion, Request
from runner.engine import ask as engine
from runner.engine.ledger import Ledger


class Scripted:
    """A provider whose answers are a function of the question; counts what it is asked."""

    name = model = "scripted"
    max_concurrency = 4

    def __init__(self, answer=str.upper):
        self.answer, self.asked, self.running, self.peak = answer, [], 0, 0

    def identity(self):
        return {"provider": self.name}

    async def complete(self, request):
        self.running += 1
        self.peak = max(self.peak, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        question = request.messages[-1]["content"]
        self.asked.append(question)
        return Completion(self.answer(question))

    async def aclose(self):
        pass


def ask(texts):
    return [Request(({"role": "user", "content": text},)) for text in texts]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def test_order_and_concurrency(ledger):
    """Answers come in the order of the questions, at most ``max_concurrency`` in flight."""
    provider = Scripted()
    answers = engine.ask(ask("abcdefghij"), provider, ledger)
    assert "".join(answer.completion.text for answer in answers) == "ABCDEFGHIJ"
    assert provider.peak == 4


def test_second_time_free(ledger):
    """The same questions again ask nothing, and say so."""
    engine.ask(ask("abc"), Scripted(), ledger)
    again = Scripted()
    answers = engine.ask(ask("cbad"), again, ledger)
    assert again.asked == ["d"]
    assert [answer.stored for answer in answers] == [True, True, True, False]


def test_equal_rows_asked_once(ledger):
    """Equal requests in one run are one call, and every row has its answer."""
    provider, done = Scripted(), []
    answers = engine.ask(ask("aabab"), provider, ledger, advance=done.append)
    assert sorted(provider.asked) == ["a", "b"]
    assert sum(done) == 5
    assert {answer.completion.text for answer in answers} == {"A", "B"}


def test_one_bad_row(ledger):
    """A row that fails has its reason; the others have their answers; it is asked again next time."""

    def answer(text):
        if text == "b":
            raise ProviderError("content filter")
        return text

    answers = engine.ask(ask("abc"), Scripted(answer), ledger)
    assert [a.error for a in answers] == [None, "content filter", None]
    again = Scripted()
    engine.ask(ask("abc"), again, ledger)
    assert again.asked == ["b"]


def test_bad_key_stops(ledger):
    """An error that no retry can mend stops the run at once, and what was finished is kept."""

    def answer(text):
        if text == "5":
            raise FatalProviderError("the key is not valid")
        return text

    provider = Scripted(answer)
    with pytest.raises(FatalProviderError, match="not valid"):
        engine.ask(ask(map(str, range(100))), provider, ledger)
    assert len(provider.asked) < 20
    again = Scripted()
    engine.ask(ask(map(str, range(5))), again, ledger)
    assert again.asked == []


def test_retries(ledger, monkeypatch):
    """A fault is tried again, waiting as long as the server asked; the row then has its answer."""
    waits, tries = [], []

    async def sleep(seconds, original=asyncio.sleep):
        waits.append(seconds)
        await original(0)

    def answer(text):
        tries.append(text)
        if len(tries) < 3:
            raise RetryableError("overloaded", retry_after=7.0)
        return text

    provider = Scripted(answer)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert engine.ask(ask("a"), provider, ledger)[0].completion.text == "a"
    assert waits.count(7.0) == 2


def test_gives_up(ledger, monkeypatch):
    """A row whose faults do not end becomes an error of that row after a bounded number of tries."""
    monkeypatch.setattr(engine, "LONGEST_WAIT_S", 0.0)
    provider = Scripted(lambda text: (_ for _ in ()).throw(RetryableError("boom")))
    assert engine.ask(ask("a"), provider, ledger)[0].error == "boom"
    assert len(provider.asked) == engine.ATTEMPTS


def test_another_model_is_another_question(ledger):
    """The key of an answer holds the provider's identity."""

    class Other(Scripted):
        def identity(self):
            return {"provider": "other"}

    engine.ask(ask("a"), Scripted(), ledger)
    other = Other()
    engine.ask(ask("a"), other, ledger)
    assert other.asked == ["a"]
