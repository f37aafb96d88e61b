"""Runs through a batch, from the command line to the record."""

from __future__ import annotations

import pytest
from adding import ADDER, Sums
from hosted import KEY
from hosted_batch import BatchService
from servers import serving

BATCH = ("provider=openai", "provider.batch=true", "provider.batch_poll_s=0.01")


@pytest.fixture
def api():
    return BatchService()


@pytest.fixture
def sums(runner, monkeypatch, api):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(api) as server:
        yield Sums(runner, server)


def test_half_the_price(sums, api):
    """A run through a batch has the scores of a live one and costs the batch's share of the price."""
    assert sums(*BATCH).code == 0
    record = sums.records()[0]
    assert (record.status, record.figures["answered"]) == ("finished", 10)
    assert record.figures["cost_usd"] == pytest.approx(10 * ADDER / 2)
    assert (len(api.batches), api.live) == (1, 0)


def test_live_after_batch_is_free(sums, api):
    """A live run of the same rows makes no call, and its answers count at the price of the batch."""
    sums(*BATCH)
    sums("provider=openai")
    figures = sums.records()[1].figures
    assert (api.live, figures["cost_usd"]) == (0, 0)
    assert figures["cost_usd_total"] == pytest.approx(10 * ADDER / 2)


def test_an_estimate_knows_the_share(sums):
    """The estimate of a batch is half of a live one, with a note about the time."""
    live, later = (
        sums.estimate("hyperparameter.max_tokens=2", *more) for more in (("provider=openai",), BATCH)
    )
    bounds = [float(outcome.out.splitlines()[1].split()[-1]) for outcome in (live, later)]
    assert bounds[1] == pytest.approx(bounds[0] / 2, rel=0.01)
    assert "a batch may take 24 h" in later.out


def test_a_budget_bounds_a_batch(sums, api):
    """A batch holds only rows that can be paid, and the next one what the first left over."""
    limited = (*BATCH, "budget_usd=0.12", "hyperparameter.max_tokens=2")
    outcome = sums(*limited)
    done = sum(api.asked.values())
    assert (outcome.code, sums.records()[0].status) == (1, "stopped")
    assert (done, len(api.batches)) == (7, 3)
    assert sums.records()[0].figures["cost_usd"] == pytest.approx(done * ADDER / 2)
    assert sums(*limited).code == 0
    assert set(api.asked.values()) == {1}


@pytest.mark.parametrize("launcher", ["basic", "concurrent"])
def test_a_sweep_shares_batches(sums, api, launcher):
    """Points with common rows buy each row in one batch, even if they run at the same time."""
    outcome = sums(*BATCH, f"hydra/launcher={launcher}", "-m", "++dataset.limit=6,10")
    assert (outcome.code, set(api.asked.values()), len(api.asked)) == (0, {1}, 10)
    total = sum(record.figures["cost_usd"] for record in sums.records())
    assert total == pytest.approx(10 * ADDER / 2)


def test_no_batches_elsewhere(sums):
    """A provider without a batch API refuses the key before anything is asked."""
    outcome = sums("provider.batch=true")
    assert outcome.code == 2
    assert "provider.batch" in outcome.err
