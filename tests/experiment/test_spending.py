"""Who pays for a training, and what happens if the budget does not cover it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hosted import KEY, OpenAIApi
from servers import serving

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.errors import BudgetError, RunnerError
from runner.engine.ledger import Ledger
from runner.experiment.spending import Spending
from runner.money import forecast
from runner.money.budget import Budget
from runner.money.price import Price
from runner.pipeline import finetune, jobs
from runner.pipeline.finetune import make_training_file
from runner.providers.openai import OpenAI
from runner.providers.openai.tuning import OpenAITuner

FILE = make_training_file(
    "facts",
    [
        [{"role": "user", "content": f"{n}+1?"}, {"role": "assistant", "content": str(n + 1)}]
        for n in range(10)
    ],
)
ORDER = finetune.TrainingOrder(
    {"provider": "openai"}, (FILE,), None, HyperparameterConfig(n_epochs=3), FinetuneConfig(poll_s=0.0)
)
PRICE = Price(1.0, 1.0, training=1000.0)
BILLED = 999 * 1000 / 1e6  # the server says that it trained on 999 tokens
ROWS = pl.DataFrame({"cost_usd": [0.0], "stored": [False]})


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def train(ledger: Ledger, api: OpenAIApi, limit: float | None = None, price: Price = PRICE) -> Spending:
    """Train at a server, as one run does."""
    budget = None if limit is None else Budget(ledger, "run", limit)
    with serving(api) as server, Spending(ledger, budget) as spending:
        rest: Any = lambda seconds: None  # noqa: E731 - a named function would only repeat it
        tuner = OpenAITuner(OpenAI(model="m", base_url=f"{server.url}/v1"), rest)
        with spending.open_bill(ORDER, price, forecast.estimate_training_tokens([FILE], 3)) as bill:
            jobs.train_once(ORDER, tuner, ledger, bill.watch(lambda status: None), bill.pay)
    return spending


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_one_run_pays_and_all_tell(ledger):
    """The run that starts a training pays the provider's bill; the next one only reports it."""
    api = OpenAIApi()
    first, second = (train(ledger, api).sum_up(ROWS) for _ in range(2))
    assert (first["cost_usd"], first["training_usd"]) == (pytest.approx(BILLED), pytest.approx(BILLED))
    assert (second["cost_usd"], second["cost_usd_total"]) == (0, pytest.approx(BILLED))


def test_a_free_training_stays_free(ledger):
    """A training that cost nothing is reported as such by a run that only uses the model."""
    api = OpenAIApi()
    train(ledger, api, price=Price(1.0, 1.0, training=0.0))
    assert train(ledger, api).sum_up(ROWS)["cost_usd_total"] == 0


def test_an_unknown_training_price_hides_the_cost(ledger):
    """Without a price for training the cost of the run is unknown, not too low."""
    assert train(ledger, OpenAIApi(), price=Price(1.0, 1.0)).sum_up(ROWS) == {}


def test_a_budget_is_settled_by_the_bill(ledger):
    """The estimate that was set aside is replaced by the provider's bill."""
    train(ledger, OpenAIApi(), limit=5.0)
    assert Budget(ledger, "run", 5.0).spent == pytest.approx(BILLED)


def test_too_dear_a_training_is_not_started(ledger):
    """If the budget does not cover the training nothing is uploaded, and the job can be created later."""
    api = OpenAIApi()
    with pytest.raises(BudgetError, match="the training would cost about"):
        train(ledger, api, limit=0.01)
    assert (api.files, api.jobs) == ({}, {})
    train(ledger, api, limit=5.0)
    assert len(api.jobs) == 1


def test_a_failed_training_is_not_billed(ledger):
    """A job that fails costs nothing, and its money is put back."""
    with pytest.raises(RunnerError, match="failed"):
        train(ledger, OpenAIApi(states=("queued", "failed")), limit=5.0)
    assert Budget(ledger, "run", 5.0).spent == pytest.approx(0.0)


def test_hosting_is_billed_by_the_hour(ledger):
    """A deployment costs by the hour; without a price the cost is unknown."""
    for price, usd in [(1.7, 0.85), (None, None), (0.0, 0.0)]:
        spending = Spending(ledger, None)
        spending.pay_hosting(0.5, price)
        assert spending.sum_up(ROWS).get("cost_usd") == usd


def test_trained_tokens():
    """A training bills its rows once per epoch."""
    once = forecast.estimate_training_tokens([FILE], 1)
    assert once > 0
    assert forecast.estimate_training_tokens([FILE], 3) == 3 * once
