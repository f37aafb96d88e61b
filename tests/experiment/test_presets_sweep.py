"""Two services at once: each has its lane and its prices, which the estimate and the record show."""

from __future__ import annotations

import re
import threading
import time

import pytest
from adding import CONFIG
from options import write_options
from servers import Call, Reply, completion, serving

PRICES = {"gemini-3.5-flash-lite": (0.3, 2.5), "llama-3.3-70b-versatile": (0.59, 0.79)}
"""Dollars per million tokens read and written, as the services list them."""
WIDTH = 3


class Services:
    """Two services behind one address, told apart by their models. They count, bill and take their time."""

    def __init__(self) -> None:
        self.bill, self.at_once, self.most = 0.0, dict.fromkeys(PRICES, 0), dict.fromkeys([*PRICES, "all"], 0)
        self.lock = threading.Lock()

    def __call__(self, call: Call) -> Reply:
        model, turns = call.json["model"], [turn["content"] for turn in call.json["messages"]]
        with self.lock:
            self.at_once[model] += 1
            self.most[model] = max(self.most[model], self.at_once[model])
            self.most["all"] = max(self.most["all"], sum(self.at_once.values()))
        time.sleep(0.01)
        read = 3 + sum(4 + len(re.findall(r"\w+|[^\w\s]", turn)) for turn in turns)
        written = 3 + len(turns[-1]) % 3
        with self.lock:
            self.at_once[model] -= 1
            self.bill += (read * PRICES[model][0] + written * PRICES[model][1]) / 1e6
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return Reply(completion("4", usage=usage, model=model))


@pytest.fixture
def services():
    return Services()


@pytest.fixture
def ask(runner, services, monkeypatch):
    """``ask(...)`` is the command line with this experiment, without a price of the test's own."""
    monkeypatch.setenv("GEMINI_API_KEY", "k1")
    monkeypatch.setenv("GROQ_API_KEY", "k2")
    monkeypatch.setattr("runner.experiment.plan._warned", set())
    write_options(runner.folder, CONFIG)
    rows = [f'{{"question": "{n} + {n} is what? {"Please. " * (n % 5)}", "target": "4"}}' for n in range(8)]
    (runner.folder / "rows.jsonl").write_text("\n".join(rows))
    fixed = ["--config-dir", "mine", "dataset=sums", "prompt=sums", "metric=accuracy", "tracking=none"]
    with serving(services) as server:
        fixed += [
            f"provider.base_url={server.url}/v1",
            f"provider.max_concurrency={WIDTH}",
        ]
        yield lambda *more, command=(): runner(*command, *fixed, *more)


POINTS = "provider=gemini,groq"


def test_a_sweep_over_two_services(runner, ask, services, monkeypatch):
    """With the shipped settings and models: the bill is within the bounds, and is what the record says."""
    told = []
    with monkeypatch.context() as patch:
        patch.setattr("runner.cli.estimate.show_points", lambda found, _: told.extend(found))
        assert ask("-m", POINTS, command=["estimate"]).code == 0
    assert (len(told), services.bill) == (2, 0.0)
    ran = ask("-m", "hydra/launcher=concurrent", POINTS)
    assert ran.code == 0, ran.err
    spent = sum(record.figures["cost_usd"] for record in runner.records())
    assert spent == pytest.approx(services.bill)
    assert sum(point.usd[0] for point in told) <= services.bill <= sum(point.usd[1] for point in told)
    assert all(services.most[model] <= WIDTH for model in PRICES)
    assert services.most["all"] > WIDTH


def test_the_price_and_its_date_are_shown_and_recorded(runner, ask):
    """In the estimate and in the record, with the package's version."""
    shown = ask("provider=groq", command=["estimate"]).out
    assert re.search(r"\$0.59 in and \$0.79 out per million tokens \(2\d{3}-\d\d-\d\d, genai-prices", shown)
    ask("provider=groq", "dataset.limit=1")
    assert runner.records()[0].params["price"].startswith("$0.59 in and $0.79 out per million tokens (20")


def test_what_a_service_lacks_is_said_once_or_refused(runner, ask):
    """The shipped seed of 0 is left out at Gemini; one that the user set is no default."""
    ran = ask("provider=gemini", "dataset.limit=1")
    assert (ran.code, ran.err.count("gemini has no hyperparameter.seed: left out (null in the record)")) == (
        0,
        1,
    )
    assert runner.records()[0].config["hyperparameter"]["seed"] is None
    refused = ask("provider=gemini", "hyperparameter.logprobs=2")
    assert refused.code == 2
    assert "hyperparameter.logprobs=2: provider=gemini has none; null leaves it out" in refused.err
