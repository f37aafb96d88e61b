"""A budget holds across workers and processes, stops cleanly, and refuses what it cannot bound."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from adding import ADDER, GRADER, INPUT, OUTPUT, Sums, answer
from servers import serving

from runner.core.types import Completion, Request, Sampling
from runner.engine.ledger import Ledger
from runner.money.budget import Budget, StageAllowance, bound_usd
from runner.money.price import Price

PRICE = Price(1000.0, 10000.0)
REQUEST = Request(({"role": "user", "content": "1 + 1"},), Sampling(max_tokens=OUTPUT))
ANSWER = Completion("2", input_tokens=INPUT, output_tokens=OUTPUT)
COST = PRICE.compute_cost(ANSWER) or 0.0


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def sums(runner):
    with serving(answer) as server:
        yield Sums(runner, server, rows=40)


def buy(url: str, limit: float, calls: int) -> int:
    """Buy answers in a worker process: as many as the budget allows, at most ``calls``."""
    ledger = Ledger(url)
    allowance = StageAllowance(Budget(ledger, "sweep", limit), PRICE)
    bought = 0
    for _ in range(calls):
        request = Request(REQUEST.messages, REQUEST.sampling)
        if not allowance.reserve(request):
            break
        allowance.settle(request, ANSWER)
        bought += 1
    allowance.close()
    return bought


def test_many_processes_stay_below(url):
    """Four processes that share a budget spend nearly all of it and not more."""
    Ledger(url).close()
    context = multiprocessing.get_context("spawn")
    limit = 100 * COST
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        bought = list(pool.map(buy, [url] * 4, [limit] * 4, [60] * 4))
    assert 85 <= sum(bought) <= 100
    assert Budget(Ledger(url), "sweep", limit).spent == pytest.approx(sum(bought) * COST)


def test_in_flight_calls_are_counted(url):
    """Calls in flight hold the most that they can cost, so that together they stay below the limit."""
    allowance = StageAllowance(Budget(Ledger(url), "run", 3.5 * bound_usd(PRICE, REQUEST)), PRICE)
    requests = [Request(REQUEST.messages, REQUEST.sampling) for _ in range(5)]
    assert [allowance.reserve(request) for request in requests] == [True, True, True, False, False]


def test_what_is_not_spent_is_put_back(url):
    """A failed call costs nothing and an answer its price; the rest is put back."""
    budget = Budget(Ledger(url), "run", 10.0)
    allowance = StageAllowance(budget, PRICE)
    for completion in (None, ANSWER):
        allowance.reserve(REQUEST)
        allowance.settle(REQUEST, completion)
    allowance.close()
    assert budget.spent == pytest.approx(COST)


def test_a_killed_call_stays_counted(url):
    """What a killed process had set aside stays counted, since it may have been billed."""
    allowance = StageAllowance(Budget(Ledger(url), "sweep", 10.0), PRICE)
    allowance.reserve(REQUEST)
    assert Budget(Ledger(url), "sweep", 10.0).spent >= bound_usd(PRICE, REQUEST)


def test_uncounted_tokens_cost_the_most(url):
    """An answer without token counts costs all that was set aside."""
    budget = Budget(Ledger(url), "run", 10.0)
    allowance = StageAllowance(budget, PRICE)
    allowance.reserve(REQUEST)
    allowance.settle(REQUEST, Completion("2"))
    allowance.close()
    assert budget.spent == pytest.approx(bound_usd(PRICE, REQUEST))


def test_a_run_stops(sums):
    """A run that has money for half of its rows is marked as stopped, shows its scores and exits with 1.

    Money that calls in flight hold does not end it early: less than one call's bound is left.
    """
    outcome = sums("budget_usd=0.6", "hyperparameter.max_tokens=2", "provider.max_concurrency=16")
    record = sums.records()[0]
    done = len(sums.server.calls)
    assert 0 <= 0.6 - done * ADDER < bound_usd(PRICE, REQUEST)
    assert (outcome.code, record.status, record.figures["n"]) == (1, "stopped", done)
    assert record.figures["cost_usd"] == pytest.approx(done * ADDER)
    assert record.scores["accuracy"].n == done
    assert f"budget_usd=0.6: ${done * ADDER:.4f} spent, {done} of 40 rows done" in outcome.err
    assert "Traceback" not in outcome.err
    assert "accuracy" in outcome.out


def test_the_same_command_goes_on(sums):
    """The message shows the command that continues; it pays for the rest and repeats nothing."""
    outcome = sums("budget_usd=0.9", "hyperparameter.max_tokens=2")
    assert outcome.err.splitlines()[-1].startswith("To go on: runner --config-dir mine")
    assert sums("budget_usd=0.9", "hyperparameter.max_tokens=2").code == 0
    assert len(sums.server.calls) == 40
    assert sums.records()[1].figures["n"] == 40


def test_enough_is_no_news(sums):
    """A budget that suffices changes nothing."""
    assert sums("budget_usd=5", "hyperparameter.max_tokens=2").code == 0
    record = sums.records()[0]
    assert (record.status, record.figures["cost_usd"]) == ("finished", pytest.approx(40 * ADDER))


def test_a_sweep_shares_one_budget(sums):
    """All points share one budget; points that it does not cover are stopped and keep their answers."""
    outcome = sums("budget_usd=0.9", "-m", "hyperparameter.max_tokens=2,3,4")
    records = sums.records()
    assert sum(record.figures["cost_usd"] for record in records) <= 0.9
    assert len(sums.server.calls) >= 20
    assert [record.status for record in records] == ["stopped"] * 3
    assert outcome.code == 1
    assert "[1] stopped: budget_usd=0.9" in outcome.out


def test_money_for_the_judge_is_kept(sums):
    """The cost of judging is set aside with each answer, so that every answered row is judged."""
    outcome = sums(
        *sums.judge, "budget_usd=1.5", "hyperparameter.max_tokens=2", "judge.hyperparameter.max_tokens=2"
    )
    record = sums.records()[0]
    done = int(record.figures["n"])
    assert 5 <= done < 20
    assert record.figures["judged"] == done
    assert record.figures["cost_usd"] == pytest.approx(done * (ADDER + GRADER))
    assert f"{done} of 40 rows done" in outcome.err


def test_nothing_at_all(sums):
    """A budget below the cost of one call ends without a call, a score or a traceback."""
    outcome = sums("budget_usd=0", "hyperparameter.max_tokens=2")
    assert (outcome.code, sums.server.calls, sums.records()[0].status) == (1, [], "stopped")
    assert "0 of 40 rows done" in outcome.err


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["provider.model=nobody"], "budget_usd: no price is known for provider.model=nobody"),
        (["hyperparameter.max_tokens=null"], "budget_usd: set hyperparameter.max_tokens, which bounds"),
    ],
)
def test_what_cannot_be_bounded_is_refused(sums, overrides, words):
    """A budget is refused without a price or without ``max_tokens``."""
    outcome = sums("budget_usd=1", *overrides)
    assert (outcome.code, sums.server.calls) == (2, [])
    assert words in outcome.err


def test_the_judge_needs_a_price_too(sums):
    """A judge without a price is refused, and the message names its own key."""
    outcome = sums(*sums.judge, "judge.provider.model=nobody", "budget_usd=1")
    assert "no price is known for judge.provider.model=nobody" in outcome.err
