"""What training and hosting at Together cost: estimated before, limited by the budget, and as billed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hosted import KEY
from hosted_together import CENTS_PER_MINUTE, USD_PER_TOKEN, TogetherApi
from servers import serving
from training import write_training

from runner.engine.ledger import Ledger
from runner.experiment import estimate

QUESTION = (
    "The hospital recorded {n} patients in the morning and one more of them in the late afternoon."
    " How many patients did the doctors see on that day, if nobody was sent home before the evening?"
)
PARTS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
SPLITS = "dataset.split.validation=validation"


@pytest.fixture
def api() -> TogetherApi:
    return TogetherApi()


@pytest.fixture
def command(runner: Any, api: TogetherApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The command line at the played service, whose clock the ledger shares; nothing waits."""
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    monkeypatch.setattr("runner.providers.hosting.POLL_S", 0.01)
    monkeypatch.setattr(Ledger, "now", lambda self: api.time)
    arguments = write_training(runner.folder)
    rows = [
        {"question": QUESTION.format(n=n), "target": str(n + 1), "part": part} for n, part in enumerate(PARTS)
    ]
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    price = f"+prices.models.mine={{input: 0.1, output: 0.2, training: {USD_PER_TOKEN * 1e6}}}"
    with serving(api) as server:
        there = [f"provider.base_url={server.url}/v1", "provider.model=m", "provider.priced_as=mine", price]
        more = [*there, SPLITS, "hyperparameter.n_epochs=3", "hyperparameter.max_tokens=4"]
        yield lambda *words: runner(*words, *arguments, "provider=together", *more)


def told(command: Any, *overrides: str) -> list[estimate.Point]:
    """The points of an estimate."""
    shown: list[estimate.Point] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.cli.estimate.show_points", lambda found, _: shown.extend(found))
        outcome = command("estimate", *overrides)
    assert outcome.code == 0, outcome.err
    return shown


def test_the_estimate_is_within_a_tenth_of_the_bill(command: Any, runner: Any, api: TogetherApi) -> None:
    """Of a sweep: one training with its evaluations, and an endpoint for each trained model."""
    api.answer_s = 900
    sweep = ["-m", "checkpoint=last-1,last", "provider.deployment.minutes=60"]
    points = told(command, *sweep)
    assert api.calls == 0
    done = command(*sweep)
    assert done.code == 0, done.err
    (job,) = api.jobs.values()
    trained, hosted = api.count(job) * USD_PER_TOKEN, api.minutes * CENTS_PER_MINUTE / 100
    assert job["n_evals"] == job["n_checkpoints"] == 3
    assert (api.made, api.deployments) == (2, {})
    assert [point.hosted_minutes for point in points] == [60, 60]
    assert sum(point.training_usd or 0 for point in points) == pytest.approx(trained, rel=0.1)
    assert sum(point.hosting_usd or 0 for point in points) == pytest.approx(hosted, rel=0.1)
    figures = [record.figures for record in runner.records()]
    assert max(figure.get("training_usd", 0) for figure in figures) == pytest.approx(trained)
    assert sum(figure.get("hosting_usd", 0) for figure in figures) == pytest.approx(hosted, rel=0.1)
    spent = sum(figure["cost_usd"] for figure in figures)
    assert sum(point.usd[0] or 0 for point in points) == pytest.approx(spent, rel=0.1)


def test_the_budget_covers_hosting(command: Any, runner: Any, api: TogetherApi) -> None:
    """Without enough for the training and an endpoint neither is bought; one that is trained is kept."""
    refused = command("checkpoint=last", "budget_usd=1")
    assert refused.code == 1
    assert "and hosting its model $1.6230; it was not started" in refused.err
    assert "no row was asked · 0 calls made" in refused.out
    least = refused.err.split("budget_usd=")[-1].split()[0]  # with 1 the same would happen again
    assert (api.jobs, api.made) == ({}, 0)
    assert command("checkpoint=last", f"budget_usd={least}").code == 0
    api.deployments.clear()
    refused = command("checkpoint=last", "budget_usd=1", "hyperparameter.temperature=0.5")
    assert "hosting the model for 15 minutes (provider.deployment.minutes) costs $1.6230" in refused.err
    assert len(api.jobs) == 1
    (record,) = [record for record in runner.records() if record.status == "finished"]
    assert record.figures["hosting_usd"] < 1


def test_the_budget_covers_what_the_service_asks_for_a_job(
    command: Any, runner: Any, api: TogetherApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own price counts, not that of the table: a dearer job is not made, one that is covered is paid."""
    monkeypatch.setattr("hosted_together.USD_PER_TOKEN", 0.01)
    refused = command("checkpoint=last", "budget_usd=10")
    assert refused.code == 1
    assert "$0.0000 spent, and the training would cost about $11.7600, and" in refused.err
    assert (api.jobs, api.deployments) == ({}, {})
    done = command("checkpoint=last", "budget_usd=14")
    assert done.code == 0, done.err
    assert runner.records()[-1].figures["training_usd"] == pytest.approx(11.76)


def test_a_budget_needs_the_price_of_an_hour(command: Any, api: TogetherApi) -> None:
    """The message names the key, and with it the price is known; nothing was asked for either."""
    words = ["checkpoint=last", "provider.deployment.hardware=8x_new"]
    refused = command(*words, "budget_usd=1")
    assert refused.code == 2
    assert "+prices.models={8x_new: {hosting_per_hour" in refused.err
    (priced,) = told(command, *words, "++prices.models={8x_new: {hosting_per_hour: 60}}")
    assert priced.hosting_usd == pytest.approx(15)
    assert api.calls == 0


def test_a_misspelt_hardware_trains_nothing(command: Any, api: TogetherApi) -> None:
    """Else the training would be paid, and its model could not be hosted."""
    refused = command("checkpoint=last", "provider.deployment.hardware=1x_nvidia_h100_80gb")
    assert refused.code == 2
    assert "provider.deployment.hardware=1x_nvidia_h100_80gb: together has none" in refused.err
    assert (api.jobs, api.files) == ({}, {})


def test_what_could_not_be_deleted_is_left_to_cleanup(
    command: Any, api: TogetherApi, monkeypatch: Any
) -> None:
    """Price and command are said; ``cleanup`` finds it in the ledger and at the service, and deletes it."""
    monkeypatch.setattr("runner.pipeline.hosting.PAUSES_S", (0.01,))
    api.keeps = 403
    left = command("checkpoint=last")
    assert left.code == 1
    assert "costs $6.49 per hour while it stands" in left.err
    api.keeps = 0
    assert "deleted  runner-" in command("cleanup").out
    assert api.deployments == {}
