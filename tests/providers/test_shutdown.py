"""A model that is about to be shut down is named before it is asked."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from adding import Sums, answer
from servers import Call, Reply, serving

from runner.pipeline import answer as pipeline
from runner.providers import shutdown

KEY = "sk-shutdown-0123456789"


@pytest.fixture
def told(runner, monkeypatch):
    """Run against OpenAI's API as a local server plays it; gives the warnings and the look-ups of a model."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(reply: Reply, *more: str, runs: int = 1) -> tuple[list[str], list[Call]]:
        warnings: list[str] = []
        with serving(lambda call: reply if call.method == "GET" else answer(call)) as server:
            sums = Sums(runner, server)
            for _ in range(runs):  # each as in a new process
                monkeypatch.setattr(pipeline, "_warned_models", set())
                shutdown._look_up.__wrapped__.cache_clear()
                outcome = sums("provider=openai", *more)
                assert outcome.code == 0, outcome.err
                warnings += [line for line in outcome.err.splitlines() if "shut down" in line]
        return warnings, [call for call in server.calls if call.method == "GET"]

    return run


def soon(days: int) -> Reply:
    """The endpoint's answer for a model that ends in so many days."""
    day = (date.today() + timedelta(days=days)).isoformat()
    return Reply({"id": "adder", "object": "model", "created": 1, "owned_by": "o", "shutdown_date": day})


def test_a_warning_with_the_date(told):
    """Within 90 days the warning names model and date; the service is asked once, with the key."""
    warnings, (call,) = told(soon(30))
    day = date.today() + timedelta(days=30)
    assert warnings == [f"WARNING: adder is shut down on {day}, in 30 days"]
    assert (call.path, call.headers["Authorization"]) == ("/v1/models/adder", f"Bearer {KEY}")


def test_once_per_process(told):
    """The points of a sweep share one look-up and one warning."""
    warnings, calls = told(soon(30), "-m", "hyperparameter.max_tokens=3,4")
    assert (len(warnings), len(calls)) == (1, 1)


@pytest.mark.parametrize(
    "reply",
    [
        soon(120),
        Reply({"id": "adder", "shutdown_date": None}),
        Reply({"id": "adder"}),
        Reply({"error": {"message": "no such model"}}, status=404),
        Reply(b"<html>"),
        Reply(fault="cut"),
        Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}),
    ],
)
def test_silent_where_there_is_nothing_to_say(told, reply):
    """A distant date, none, or an answer that cannot be read changes nothing."""
    warnings, calls = told(reply)
    assert (warnings, len(calls)) == ([], 1)


def test_nothing_to_ask_nothing_to_look_up(told):
    """A run whose answers are all in the ledger looks nothing up."""
    warnings, calls = told(soon(30), runs=2)
    assert (len(warnings), len(calls)) == (1, 1)


def test_at_mistral(told, monkeypatch):
    """Its models endpoint has a time in another field."""
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    day = date.today() + timedelta(days=30)
    card = Reply({"id": "adder", "deprecation": f"{day}T12:00:00Z"})
    warnings, _ = told(card, "provider=mistral", "provider.model=adder")
    assert warnings == [f"WARNING: adder is shut down on {day}, in 30 days"]
