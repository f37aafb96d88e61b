"""The engine asks nothing twice; a bad row stops nothing, and a bad key stops the run at once."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from children import process_of, shared_queue

from runner.core.errors import FatalProviderError, ProviderError, RetryableError, WaitError
from runner.core.provider import Provider
from runner.core.retry import Retry
from runner.core.types import Completion, Request
from runner.engine import guard, live
from runner.engine.ask import Part, ask_all, ask_parts
from runner.engine.call import KIND, UNASKED, make_keys
from runner.engine.ledger import Ledger


class Scripted(Provider):
    """A provider whose answers are a function of the question; counts what it is asked."""

    model = "scripted"
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


def make_requests(texts):
    return [Request(({"role": "user", "content": text},)) for text in texts]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def test_order_and_concurrency(ledger):
    """Answers come in the order of the questions, at most ``max_concurrency`` in flight."""
    provider = Scripted()
    answers = ask_all(make_requests("abcdefghij"), provider, ledger)
    assert "".join(answer.completion.text for answer in answers) == "ABCDEFGHIJ"
    assert provider.peak == 4


def test_second_time_free(ledger):
    """The same requests again make no call, and their answers are marked as stored."""
    ask_all(make_requests("abc"), Scripted(), ledger)
    again = Scripted()
    answers = ask_all(make_requests("cbad"), again, ledger)
    assert again.asked == ["d"]
    assert [answer.stored for answer in answers] == [True, True, True, False]


def test_equal_rows_asked_once(ledger):
    """Equal requests in one run are one call, and every row gets the answer."""
    provider, done = Scripted(), []
    answers = ask_all(make_requests("aabab"), provider, ledger, advance=done.append)
    assert sorted(provider.asked) == ["a", "b"]
    assert sum(done) == 5
    assert {answer.completion.text for answer in answers} == {"A", "B"}


@pytest.mark.parametrize("failing", ["", "c"])
def test_points_at_once_share_requests(ledger, failing):
    """Equal requests of stages that run at the same time are asked once, before or after the look-up."""

    def answer(text):
        if text == failing:
            raise ProviderError("no")
        return text.upper()

    providers = [Scripted(answer) for _ in range(4)]

    def ask_some(number):
        return ask_all(make_requests("abcdefghijklmnop"[: 10 + 2 * number]), providers[number], ledger)

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(ask_some, range(4)))
    asked = sorted(question for provider in providers for question in provider.asked)
    assert asked == sorted("abdefghijklmnop" + (4 * failing or "c"))
    assert [len(result) for result in results] == [10, 12, 14, 16]
    paid = [answer for answers in results for answer in answers if answer.completion and not answer.stored]
    assert len(paid) == 16 - len(failing)


def test_a_stage_that_stops_leaves_the_others_their_requests(ledger):
    """Who waits for a request of another stage makes it himself if that stage is stopped."""

    class Stopping(Scripted):
        async def complete(self, request):
            started.set()
            await asyncio.sleep(0.05)
            raise FatalProviderError("wrong key")

    started = threading.Event()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask_all, make_requests("abcd"), Stopping(), ledger)
        started.wait()
        answers = pool.submit(ask_all, make_requests("abcd"), Scripted(), ledger).result()
        with pytest.raises(FatalProviderError):
            first.result()
    assert "".join(answer.completion.text for answer in answers) == "ABCD"


def test_one_bad_row(ledger):
    """A failed row has an error and the others have their answers; the next run asks the failed row again."""

    def answer(text):
        if text == "b":
            raise ProviderError("content filter")
        return text

    answers = ask_all(make_requests("abc"), Scripted(answer), ledger)
    assert [a.error for a in answers] == [None, "content filter", None]
    again = Scripted()
    ask_all(make_requests("abc"), again, ledger)
    assert again.asked == ["b"]


def test_bad_key_stops(ledger):
    """An error that no retry can fix stops the run at once, and finished answers are kept."""

    def answer(text):
        if text == "5":
            raise FatalProviderError("the key is not valid")
        return text

    provider = Scripted(answer)
    with pytest.raises(FatalProviderError, match="not valid"):
        ask_all(make_requests(map(str, range(100))), provider, ledger)
    assert len(provider.asked) < 20
    again = Scripted()
    ask_all(make_requests(map(str, range(5))), again, ledger)
    assert again.asked == []


def test_retries(ledger, monkeypatch):
    """A failed call is repeated after the time that the server asked for, and the row gets its answer."""
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
    assert ask_all(make_requests("a"), provider, ledger)[0].completion.text == "a"
    assert waits.count(7.0) == 2


def test_gives_up(ledger, monkeypatch):
    """A call that keeps failing becomes the error of its row after a bounded number of tries."""
    monkeypatch.setattr(live, "RETRY", Retry(tries=3, longest_s=0.0))
    provider = Scripted(lambda text: (_ for _ in ()).throw(RetryableError("boom")))
    assert ask_all(make_requests("a"), provider, ledger)[0].error == "boom"
    assert len(provider.asked) == 3


def test_another_model_is_another_question(ledger):
    """The key of an answer depends on the provider's identity."""

    class Other(Scripted):
        def identity(self):
            return {"provider": "other"}

    ask_all(make_requests("a"), Scripted(), ledger)
    other = Other()
    ask_all(make_requests("a"), other, ledger)
    assert other.asked == ["a"]


def test_any_exception_belongs_to_its_row(ledger, monkeypatch, caplog):
    """An exception of a user's own provider is its row's error, with its place; one traceback is logged."""
    caplog.set_level("INFO")
    monkeypatch.chdir(Path(__file__).parent)

    def answer(text):
        if text in "bd":
            return json.loads(text)
        return text

    answers = ask_all(make_requests("abcd"), Scripted(answer), ledger)
    line = answer.__code__.co_firstlineno + 2
    place = f"test_ask.py, line {line}, in {answer.__qualname__}"
    error = f"JSONDecodeError: Expecting value: line 1 column 1 (char 0) ({place})"
    assert [a.error for a in answers] == [None, error, None, error]
    assert [bool(record.exc_info) for record in caplog.records] == [True]


def test_what_is_no_completion_is_an_error_of_its_row(ledger):
    """A provider that returns a plain string gives an error that says what was expected."""

    class Bare(Scripted):
        async def complete(self, request):
            return "text"

    (answer,) = ask_all(make_requests("a"), Bare(), ledger)
    assert answer.error == "bare: complete gave 'text', expected a Completion"


def test_a_row_may_ask_in_steps(ledger):
    """A row's next call may depend on its last answer; the second time all calls come from the ledger."""

    async def refine(text, ask):
        first = await ask(*make_requests([text]))
        second, third = await asyncio.gather(
            *(ask(*make_requests([first.completion.text + more])) for more in "xy")
        )
        return second.completion.text + third.completion.text

    assert ask_parts([Part(["a", "b"], refine, Scripted())], ledger) == [["AXAY", "BXBY"]]
    again = Scripted()
    assert ask_parts([Part(["a", "b"], refine, again)], ledger) == [["AXAY", "BXBY"]]
    assert again.asked == []


async def ask_one(request, ask):
    """The work of a row that is one question."""
    return (await ask(request)).completion.text


def test_several_providers_are_asked_at_once(ledger):
    """Each waits here for the other; a part without rows has no answers, and a fatal error ends all parts."""
    meeting = asyncio.Event()

    class Waits(Scripted):
        def __init__(self, name, sets):
            super().__init__()
            self.name, self.sets = name, sets

        async def complete(self, request):
            meeting.set() if self.sets else await asyncio.wait_for(meeting.wait(), 5)
            return await super().complete(request)

    class Refused(Scripted):
        name = "refused"

        async def complete(self, request):
            raise FatalProviderError("bad key")

    class Slow(Scripted):
        name = "slow"

        async def complete(self, request):
            await asyncio.sleep(60)

    parts = [Part(make_requests("ab"), ask_one, Waits("one", False)), Part([], ask_one, Scripted())]
    parts.append(Part(make_requests("c"), ask_one, Waits("two", True)))
    assert ask_parts(parts, ledger) == [["A", "B"], [], ["C"]]
    with pytest.raises(FatalProviderError, match="bad key"):
        ask_parts([Part(make_requests("x"), ask_one, kind()) for kind in (Slow, Refused)], ledger)


class Money:
    """An allowance for ``calls`` calls, each of which gives back what ``left`` says."""

    def __init__(self, calls, left=0):
        self.calls, self.left, self.held = calls, left, 0

    def reserve(self, request):
        enough = self.calls >= 1
        self.calls -= enough
        self.held += enough
        return enough

    def settle(self, request, completion):
        self.held -= 1
        self.calls += self.left if completion else 1


def test_money_that_runs_out(ledger):
    """Rows are asked in order until the money runs out; then nothing stays set aside."""
    provider, money = Scripted(), Money(3)
    answers = ask_all(make_requests("abcdefgh"), provider, ledger, allowance=money)
    assert [answer is UNASKED for answer in answers] == [False] * 3 + [True] * 5
    assert (sorted(provider.asked), money.held) == (["a", "b", "c"], 0)


def test_money_that_calls_leave(ledger):
    """A row that cannot be paid waits for calls in flight, which may give back enough."""
    provider = Scripted()
    answers = ask_all(make_requests("abcdefgh"), provider, ledger, allowance=Money(2, left=1))
    assert all(answer.completion for answer in answers)


def test_equal_requests_are_paid_once(ledger):
    """Rows with equal requests share one payment, and their answers say which row paid."""
    money = Money(1)
    answers = ask_all(make_requests("aaa"), Scripted(), ledger, allowance=money)
    assert [answer.repeated for answer in answers] == [False, True, True]


def test_an_unreadable_entry_is_asked_for_again(ledger):
    """What another version wrote wrongly is replaced."""
    [key] = make_keys(Scripted(), make_requests("a"))
    ledger.put(KIND, key, {"model": "m"})
    provider = Scripted()
    [answer] = ask_all(make_requests("a"), provider, ledger)
    assert (answer.completion.text, provider.asked) == ("A", ["a"])


def test_half_a_character_costs_no_other_answer(ledger):
    """An answer with a lone surrogate is stored without it, beside those of other rows."""
    answers = ask_all(make_requests("abc"), Scripted(lambda text: "\ud83d" if text == "b" else text), ledger)
    assert [answer.completion.text for answer in answers] == ["a", "\ufffd", "c"]
    assert ask_all(make_requests("abc"), Scripted(), ledger)[1].stored


def test_no_text_is_the_rows_error(ledger):
    """A completion without a text is no answer, and is not kept."""
    provider = Scripted({"a": "A", "b": None}.get)
    told, silent = ask_all(make_requests("ab"), provider, ledger)
    assert (told.completion.text, silent.completion) == ("A", None)
    assert silent.error == "scripted: Completion.text=None has a wrong type or value"


def test_the_first_retry_is_told(ledger, monkeypatch, caplog):
    """One line says why nothing happens, not one for each call."""
    monkeypatch.setattr(live, "RETRY", Retry(tries=2, longest_s=0.01))
    monkeypatch.setattr(guard, "_told", [-guard.TELL_EVERY_S, 0.0])

    def answer(question):
        raise RetryableError("busy", retry_after=0.01)

    ask_all(make_requests("abcdef"), Scripted(answer), ledger)
    assert caplog.messages == ["waiting 0.0 s after: busy; retry 1 of 1"]


def gone(number, first, last):
    """An answer function of a server that is gone from one call on to another."""
    calls = iter(range(10**6))

    def answer(question):
        if question == number or first <= next(calls) < last:
            raise RetryableError("connection refused")
        return question.upper()

    return answer


def test_an_outage_is_sat_out(ledger, monkeypatch):
    """While nothing is answered no row fails: rows wait for the server, and other rows are tried."""
    monkeypatch.setattr(live, "RETRY", Retry(tries=2, longest_s=0.001))
    answers = ask_all(make_requests(map(str, range(40))), Scripted(gone(None, 10, 100)), ledger)
    assert all(answer.completion for answer in answers)


@pytest.mark.parametrize(("first", "patience", "most"), [(0, 0.05, 0), (10, 0.05, 14)])
def test_a_server_that_is_gone_stops_the_run(ledger, monkeypatch, first, patience, most):
    """After a stretch without an answer the run stops; it can be continued, and what was answered is kept."""
    monkeypatch.setattr(live, "RETRY", Retry(tries=2, longest_s=0.001))
    provider = Scripted(gone(None, first, 10**6))
    provider.max_wait_s = patience
    with pytest.raises(WaitError, match="nothing was answered for"):
        ask_all(make_requests(map(str, range(4000))), provider, ledger)
    assert len(list(ledger.items(KIND))) <= most
    assert len(provider.asked) < 1000


@pytest.mark.parametrize("bad", ["0", "2", "4"])
def test_a_row_that_always_fails_stops_nothing(ledger, monkeypatch, bad):
    """Even if it is the first one and rows are asked one by one: another row shows that the server lives."""
    monkeypatch.setattr(live, "RETRY", Retry(tries=2, longest_s=0.001))
    provider = Scripted(gone(bad, 0, 0))
    provider.max_concurrency = 1
    answers = ask_all(make_requests(map(str, range(5))), provider, ledger)
    assert [answer.error for answer in answers] == [
        "connection refused" if str(number) == bad else None for number in range(5)
    ]


def test_the_last_rows_fail(ledger, monkeypatch):
    """Two rows of forty that are always refused do not stop the run, though nothing else is left to ask."""
    monkeypatch.setattr(live, "RETRY", Retry(tries=2, longest_s=0.001))

    def answer(question):
        if question in ("38", "39"):
            raise RetryableError("boom")
        return question

    provider = Scripted(answer)
    provider.max_wait_s = 0.05
    answers = ask_all(make_requests(map(str, range(40))), provider, ledger)
    assert [answer.error for answer in answers] == [None] * 38 + ["boom"] * 2


def test_a_server_that_hangs_stops_the_run(ledger):
    """Long before each row has made all its tries, of which each is a timeout and few are made at once."""
    calls = iter(range(10**6))

    class Hanging(Scripted):
        max_concurrency = 8

        async def complete(self, request):
            if next(calls) < 10:
                return await super().complete(request)
            await asyncio.sleep(0.1)
            raise RetryableError("no answer within 0.1 s", retry_after=0.01)

    provider = Hanging()
    provider.max_wait_s = 0.2
    with pytest.raises(WaitError, match="nothing was answered for"):
        ask_all(make_requests(map(str, range(60))), provider, ledger)
    assert next(calls) < 40


def _ask_with(url, name, pause_s, questions, queue):
    provider = Slow(pause_s)
    with closing(Ledger(url)) as ledger:
        answers = ask_all(make_requests(questions), provider, ledger)
    queue.put((name, provider.asked, [answer.completion.text for answer in answers]))


class Slow(Scripted):
    """Takes its time, so that two processes are at it at once."""

    def __init__(self, pause_s):
        super().__init__()
        self.pause_s = pause_s

    async def complete(self, request):
        await asyncio.sleep(self.pause_s)
        return await super().complete(request)


def test_processes_at_once_share_requests(tmp_path):
    """Two processes on one ledger ask each question once, and each gets all answers."""
    url, queue = f"sqlite:///{tmp_path}/ledger.db", shared_queue()
    questions = [f"q{number}" for number in range(150)]
    processes = [process_of(_ask_with, url, n, 0.02, questions[20 * n :], queue) for n in range(2)]
    for process in processes:
        process.start()
    told = [queue.get(timeout=60) for _ in processes]
    results = {name: (asked, texts) for name, asked, texts in told}
    assert [results[n][1] for n in range(2)] == [[q.upper() for q in questions[20 * n :]] for n in range(2)]
    assert len(results[0][0]) + len(results[1][0]) == 150
    assert min(len(asked) for asked, _ in results.values()) > 20
    with closing(Ledger(url)) as ledger:
        assert list(ledger.items("asking")) == []


def test_what_a_killed_process_had_claimed_is_asked(tmp_path):
    """Claims of a dead owner are taken over at once."""
    url, queue = f"sqlite:///{tmp_path}/ledger.db", shared_queue()
    killed = process_of(_ask_with, url, 0, 60.0, ["a", "b"], queue)
    killed.start()
    with closing(Ledger(url)) as ledger:
        while not list(ledger.items("asking")):
            time.sleep(0.01)
        killed.kill()
        killed.join()
        answers = ask_all(make_requests("abc"), Scripted(), ledger)
    assert [answer.completion.text for answer in answers] == ["A", "B", "C"]
