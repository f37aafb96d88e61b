"""Batches without input files and without a mark of their own are told apart by their results."""

from __future__ import annotations

from typing import Any

import pytest
from hosted import KEY
from messages import MessagesService, failure
from servers import serving

from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.core.types import Completion, Request, Sampling
from runner.providers.anthropic import Anthropic
from runner.providers.anthropic.batch import AnthropicBatcher


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def make_batcher(url: str) -> AnthropicBatcher:
    return AnthropicBatcher(Anthropic(base_url=f"{url}/v1", model="adder", batch=True, batch_poll_s=0.001))


def make_lines(batcher: AnthropicBatcher, *keys: str) -> bytes:
    """The requests of a batch; each sum is that of its number."""
    chats = (({"role": "user", "content": f"{number} + 1"},) for number in range(len(keys)))
    requests = [Request(chat, Sampling(max_tokens=5)) for chat in chats]  # type: ignore[arg-type]
    return b"".join(batcher.line(key, one) + b"\n" for key, one in zip(keys, requests, strict=True))


def make(batcher: AnthropicBatcher, *keys: str) -> tuple[str, str]:
    """The note and the id of a batch."""
    note = batcher.upload("x.jsonl", make_lines(batcher, *keys))
    return note, batcher.create("k", note)


def test_a_batch_is_found_among_others_of_its_size() -> None:
    """Those before it are not looked at, those after it only once they have ended."""
    api = MessagesService()
    with serving(api) as server:
        batcher = make_batcher(server.url)
        make(batcher, "x", "y")
        note, mine = make(batcher, "a", "b")
        make(batcher, "p", "q")
        make(batcher, "r")
        assert batcher.find("k", note) == mine
        looked = {call.path for call in server.calls if call.path.endswith("/results")}
    assert looked == {f"/v1/messages/batches/msgbatch_{n}/results" for n in (2, 3)}


@pytest.mark.parametrize("counts", [None, {}, {"processing": 1, "paused": 1}])
def test_a_batch_is_found_whatever_its_counts_are_called(
    counts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not say how many requests it has may be ours, too; a second one would be paid twice."""
    api = MessagesService()
    describe = api.describe
    monkeypatch.setattr(api, "describe", lambda name: describe(name) | {"request_counts": counts})
    with serving(api) as server:
        batcher = make_batcher(server.url)
        note, mine = make(batcher, "a", "b")
        assert batcher.find("k", note) == mine


def test_a_batch_that_was_not_made_is_not_found() -> None:
    """A note alone makes none, and without a note nothing can be found."""
    with serving(MessagesService()) as server:
        batcher = make_batcher(server.url)
        note = batcher.upload("x.jsonl", make_lines(batcher, "a"))
        make(make_batcher(server.url), "z")
        assert batcher.find("k", note) is None
        assert batcher.find("k", None) is None


def test_outcomes() -> None:
    """An answer, a request that was refused, a fault, one whose turn did not come: each is its row's."""

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        number = int(body["messages"][-1]["content"][0])
        return [MessagesService().answer(body), (400, failure(400, "no")), (529, failure(529, "busy"))][
            number
        ]

    api = MessagesService(answer=answer, looks=0, unheard=frozenset([3]))
    with serving(api) as server:
        batcher = make_batcher(server.url)
        _, name = make(batcher, "good", "bad", "fault", "late")
        assert batcher.status(name).state == "ended"
        found = dict(batcher.results(name))
    good = found["good"]
    assert isinstance(good, Completion)
    assert (good.text, good.batch) == ("1", True)
    kinds = {key: type(found[key]) for key in ("bad", "fault", "late")}
    assert kinds == {"bad": ProviderError, "fault": RetryableError, "late": RetryableError}


def test_a_refused_request_says_why() -> None:
    """The whole batch is refused if one of its requests is malformed, and stops the run."""
    with serving(MessagesService()) as server:
        batcher = make_batcher(server.url)
        lines = make_lines(batcher, "a").replace(b'"max_tokens": 5', b'"max_tokens": 5, "seed": 1')
        note = batcher.upload("x.jsonl", lines)
        with pytest.raises(FatalProviderError, match=r"not permitted \(hyperparameter\.seed=null"):
            batcher.create("k", note)
