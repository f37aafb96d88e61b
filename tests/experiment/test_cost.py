"""The cost of a run is in its record, on the screen and in a sweep's table."""

from __future__ import annotations

import re

import pytest
from adding import ADDER, GRADER, INPUT, OUTPUT, Sums, answer
from servers import serving

from runner.records.record import read_predictions


@pytest.fixture
def sums(runner):
    with serving(answer) as server:
        yield Sums(runner, server)


def test_cost_of_a_run(sums):
    """The cost of ten answers is in the record, on the screen and in each row."""
    outcome = sums()
    record = sums.records()[0]
    assert record.figures["cost_usd"] == pytest.approx(10 * ADDER)
    assert "$0.3000 " in outcome.out
    folder = max(sums.folder.glob("outputs/runs/*"))
    assert read_predictions(folder)["cost_usd"].to_list() == pytest.approx([ADDER] * 10)


def test_what_the_ledger_has_costs_nothing_now(sums):
    """A second run spends nothing and reports what its answers once cost."""
    sums()
    outcome = sums()
    figures = sums.records()[1].figures
    assert (figures["cost_usd"], figures["cost_usd_total"]) == (0, pytest.approx(10 * ADDER))
    assert "$0.0000 (answers worth $0.3000)" in outcome.out


def test_a_small_cost_does_not_look_like_none(sums):
    """Below a hundredth of a cent two digits are shown, of a run and of a sweep."""
    outcome = sums("+prices.models.adder={input: 0.1, output: 0.1}", "-m", "dataset.limit=1,2")
    assert not re.search(r"\$0\.0000\b", outcome.out)
    assert re.search(r"\$0\.0000\d*[1-9] spent", outcome.out)


def test_equal_rows_are_paid_once(sums):
    """Rows with equal requests cost as much as one of them and count as one call."""
    sums.write(["1 + 1"] * 3 + ["2 + 2"])
    sums()
    figures = sums.records()[0].figures
    assert (figures["n"], figures["calls"], len(sums.server.calls)) == (4, 2, 2)
    assert figures["cost_usd"] == pytest.approx(2 * ADDER)
    assert figures["new_tokens"] == 2 * (INPUT + OUTPUT)


def test_the_judge_is_included(sums):
    """A judge has its own price, and its verdicts are part of what the run cost."""
    assert sums(*sums.judge).code == 0
    assert sums.records()[0].figures["cost_usd"] == pytest.approx(10 * (ADDER + GRADER))
    again = sums(*sums.judge, "judge.hyperparameter.repeats=3")
    assert "20 calls made · 240 tokens · $1.2000" in again.out


@pytest.mark.parametrize("judged", [False, True])
def test_an_unknown_price_is_not_nothing(sums, judged):
    """Without a price for the model or the judge the cost is unknown, and the screen says so."""
    more = [*sums.judge, "judge.provider.model=nobody"] if judged else ["provider.model=nobody"]
    outcome = sums(*more)
    assert "cost_usd" not in sums.records()[0].figures
    assert "cost not known" in outcome.out


def test_priced_as(sums):
    """``priced_as`` prices a deployment as the model that it serves; an unknown name is refused."""
    sums("provider.model=our-own", "provider.priced_as=adder")
    assert sums.records()[0].figures["cost_usd"] == pytest.approx(10 * ADDER)
    outcome = sums("provider.priced_as=addder")
    assert (outcome.code, "provider.priced_as=addder: openai_compatible has no price" in outcome.err) == (
        2,
        True,
    )


def test_a_server_may_tell_the_model(sums, runner):
    """If the configured model has no price, that of the model named in the answers is used."""
    sums("provider.model=alias", "+prices.models={m-2026: {input: 0, output: 5000}}")
    assert sums.records()[0].figures["cost_usd"] == pytest.approx(10 * 2 * 5000 / 1e6)


def test_cost_in_a_sweep(sums):
    """A sweep's table shows the cost of each point; a point whose rows another one bought is free."""
    outcome = sums("-m", "hyperparameter.max_tokens=5,6", "++dataset.limit=4,10")
    costs = [record.figures["cost_usd"] for record in sums.records()]
    assert sorted(costs) == pytest.approx([4 * ADDER, 4 * ADDER, 6 * ADDER, 6 * ADDER])
    assert "cost_usd" in outcome.out
    assert "0.1200" in outcome.out
