"""Providers with the same account share its limits, whatever else they set."""

from __future__ import annotations

import asyncio

import pytest

from runner.core.provider import Provider
from runner.core.types import Completion, Request, Sampling
from runner.engine.lanes import use_lane
from runner.engine.ledger import Ledger


class Service(Provider):
    model = "m"

    async def complete(self, request):
        return Completion("")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def test_settings_of_the_request_share_a_lane(ledger):
    """Providers that differ in options or in concurrency share a lane."""
    plain, other = Service(), Service(max_concurrency=3)
    other.options = {"reasoning_effort": "high"}
    with use_lane(plain, ledger) as one, use_lane(other, ledger) as two:
        assert one is two


def test_another_model_has_its_own(ledger):
    """Each model of an account has its own lane."""
    with use_lane(Service(), ledger) as one, use_lane(Service(model="n"), ledger) as two:
        assert one is not two


def test_the_widest_gate_and_the_strictest_limit_count(ledger):
    """The widest gate and the strictest limit among the present users apply."""

    async def look():
        with use_lane(Service(max_concurrency=2, requests_per_minute=60), ledger) as lane:
            with use_lane(Service(max_concurrency=7, requests_per_minute=600), ledger):
                both = lane.gate.most
            return both, lane.gate.most

    assert asyncio.run(look()) == (7, 2)


def test_tokens_are_estimated_from_what_the_server_counted(ledger):
    """The estimate is scaled to the server's token counts, and answers are taken to have average length."""
    request = Request(({"role": "user", "content": "one two three four"},))
    with use_lane(Service(model="counted", tokens_per_minute=1_000_000), ledger) as lane:
        before = sum(lane.estimate_tokens(request)[:2])
        for _ in range(5):
            counted = Completion("", input_tokens=2 * (int(before) - 1), output_tokens=30)
            lane.note_answer(request, counted, None)
        assert lane.estimate_tokens(request) == pytest.approx((2 * (before - 1), 30, 30))
        bounded = Request(request.messages, Sampling(max_tokens=7))
        assert lane.estimate_tokens(bounded) == pytest.approx((2 * (before - 1), 7, 30))
