"""A refusal is its row's or the run's; a long wait stops the run; an odd stored answer is asked for again."""

from __future__ import annotations

import asyncio
import logging

import pytest
import sqlalchemy as sa

from runner.core.errors import FatalProviderError, RetryableError, RunnerError, WaitError
from runner.core.provider import Provider
from runner.core.types import Completion, Request
from runner.engine.ask import ask_all
from runner.engine.call import KIND, make_keys
from runner.engine.ledger import Ledger
from runner.engine.ledger.table import ENTRIES
from runner.providers.http.failures import Service, make_error


class Guarded(Provider):
    """Refuses ``no…``, is limited for a day at ``wait``, answers the rest; what it does takes its time."""

    model = "guarded"
    max_concurrency = 4

    def __init__(self, **pauses):
        self.pauses, self.asked = pauses, []

    def identity(self):
        return {"provider": "guarded"}

    async def complete(self, request):
        question = request.messages[0]["content"]
        self.asked.append(question)
        await asyncio.sleep(self.pauses.get(question, 0))
        if question.startswith("no"):
            error = FatalProviderError(f"HTTP 403: {question}")
            error.refused = True
            raise error
        if question == "wait":
            raise RetryableError("HTTP 429: daily limit", retry_after=86400, limited=True)
        return Completion(question.upper())


def ask(provider, ledger, *texts):
    return ask_all([Request(({"role": "user", "content": text},)) for text in texts], provider, ledger)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


@pytest.mark.parametrize("pauses", [{}, {"a": 0.02}, {"no": 0.02}])
def test_a_refused_row_among_answered_ones(ledger, pauses):
    """It is the row's own, whichever comes first while several are under way."""
    answers = ask(Guarded(**pauses), ledger, "a", "no", "b", "no too")
    assert [answer.error for answer in answers] == [None, "HTTP 403: no", None, "HTTP 403: no too"]


def test_the_first_call_refused_stops(ledger):
    """No row was answered, so the key is at fault; further rows are not asked."""
    provider = Guarded()
    with pytest.raises(FatalProviderError, match="HTTP 403"):
        ask(provider, ledger, *(f"no {number}" for number in range(20)))
    assert len(provider.asked) == provider.max_concurrency


def test_answers_of_earlier_runs_count(ledger):
    """A resumed run asks only the refused rows again; it stops where more are refused than were answered."""
    ask(Guarded(), ledger, "a", "b", "no")
    assert ask(Guarded(), ledger, "a", "b", "no")[2].error == "HTTP 403: no"
    with pytest.raises(FatalProviderError, match="HTTP 403"):
        ask(Guarded(), ledger, "a", "b", *(f"no {number}" for number in range(9)))


def test_a_long_wait_stops_the_run(ledger):
    """At once, but what is under way is paid, so its answer is kept; nothing more is sent."""
    provider = Guarded(a=0.05)
    with pytest.raises(WaitError, match="HTTP 429: daily limit; the server asks to wait 86,400 s"):
        ask(provider, ledger, "a", "wait", *"bcdefgh")
    assert "h" not in provider.asked
    answers = [stored["text"] for _, stored in ledger.items(KIND)]
    assert sorted(answers) == sorted(text.upper() for text in provider.asked if text != "wait")


def test_the_longest_wait_is_a_setting(ledger):
    """``max_wait_s`` of the provider."""
    provider = Guarded()
    provider.max_wait_s = 86399
    with pytest.raises(WaitError, match="max_wait_s=86399"):
        ask(provider, ledger, "wait")


ODD = [
    7,
    "text",
    [],
    {},
    {"text": 5},
    {"text": "a", "input_tokens": "many"},
    {"text": "a", "input_tokens": 10**30},
    {"text": "a", "logprobs": [1]},
    {"text": "a", "colour": "red"},
]


def test_an_unreadable_stored_answer_is_asked_for_again(ledger, caplog):
    """It is replaced, and said once; the other answers are kept."""
    texts = [f"q{number}" for number in range(len(ODD) + 2)]
    requests = [Request(({"role": "user", "content": text},)) for text in texts]
    provider = Guarded()
    keys = make_keys(provider, requests)
    ledger.put_many(KIND, dict(zip(keys, [*ODD, {"text": "kept"}, {"text": "broken"}], strict=True)))
    with ledger._engine.begin() as connection:
        connection.execute(sa.update(ENTRIES).where(ENTRIES.c.key == keys[-1]).values(value="{half"))
    with caplog.at_level(logging.WARNING):
        answers = ask(provider, ledger, *texts)
        assert len(provider.asked) == len(texts) - 1
        assert answers[-2].completion.text == "kept"
        assert ask(provider, ledger, *texts)[0].stored
    assert caplog.text.count("10 stored answers cannot be read") == 1
    assert len(provider.asked) == len(texts) - 1


def test_an_unreadable_entry_of_another_kind_stops(ledger):
    """A job must not be made twice, so its place is named."""
    ledger.put("job", "k", {})
    with ledger._engine.begin() as connection:
        connection.execute(sa.update(ENTRIES).values(value="{half"))
    with pytest.raises(RunnerError, match="ledger: the entry job k cannot be read"):
        ledger.get("job", "k")


class Picky(Provider):
    """Does not take a temperature at ``no…``; says so as a service does."""

    model = "picky"
    max_concurrency = 8

    def __init__(self):
        self.asked = []

    def identity(self):
        return {"provider": "picky"}

    async def complete(self, request):
        question = request.messages[0]["content"]
        self.asked.append(question)
        await asyncio.sleep(0.01)
        if question.startswith("no"):
            body = {"error": {"message": "no", "param": "temperature"}}
            raise make_error(Service("picky", ""), 400, {}, body)
        return Completion(question.upper())


def test_a_parameter_refused_at_the_first_call_stops_before_the_second(ledger):
    """Every row would hear it; the message names the key to set to null."""
    provider = Picky()
    with pytest.raises(FatalProviderError, match=r"hyperparameter\.temperature=null leaves it out"):
        ask(provider, ledger, *(f"no {number}" for number in range(20)))
    assert provider.asked == ["no 0"]


def test_a_parameter_refused_among_answers_is_the_rows(ledger):
    """Another row was answered with it, now or by an earlier run."""
    provider = Picky()
    assert [answer.error is None for answer in ask(provider, ledger, "a", "no", "b")] == [True, False, True]
    assert [answer.error is None for answer in ask(Picky(), ledger, "a", "no", "b")] == [True, False, True]
