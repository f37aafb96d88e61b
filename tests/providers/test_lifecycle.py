"""The whole lifecycle over each hosted API, cut off at every single call: nothing is bought twice."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from children import dies_at, process_of
from hosted import KEY, AzureApi, Hosted, MistralApi, OpenAIApi, loses, worth_losing
from servers import Server, serving

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.errors import RunnerError
from runner.core.provider import Deployer, Tuner
from runner.core.types import Message, Request
from runner.engine.ledger import Ledger
from runner.pipeline import finetune, jobs
from runner.pipeline.finetune import make_training_file
from runner.providers.azure import Azure
from runner.providers.azure.tuning import AzureTuner
from runner.providers.mistral import Mistral
from runner.providers.mistral.tuning import MistralTuner
from runner.providers.openai import OpenAI
from runner.providers.openai.tuning import OpenAITuner

CHATS: list[list[Message]] = [
    [{"role": "user", "content": f"{n}+1?"}, {"role": "assistant", "content": str(n + 1)}] for n in range(10)
]
FILES = (make_training_file("facts", CHATS), make_training_file("watched", CHATS[::-1]))
SERVICES = {"openai": OpenAIApi, "azure": AzureApi, "mistral": MistralApi}


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "MISTRAL_API_KEY", "TOKEN"):
        monkeypatch.setenv(name, KEY)
    for module in ("openai.tuning", "azure.tuning"):  # the SDK's own pauses would make the tests long
        monkeypatch.setattr(f"runner.providers.{module}.RETRIES", 0)


def tuner_for(name: str, url: str) -> Tuner:
    """As in a new process: nothing is remembered but the ledger."""
    rest: Any = lambda seconds: None  # noqa: E731 - a named function would only repeat it
    if name == "openai":
        return OpenAITuner(OpenAI(model="m", base_url=f"{url}/v1"), rest)
    if name == "mistral":
        return MistralTuner(Mistral(model="m", base_url=f"{url}/v1"), rest)
    node = {
        "base_url": url,
        "account": "r",
        "token_env": "TOKEN",
        "subscription": "s",
        "resource_group": "g",
    }
    return AzureTuner(Azure(model="m", base_url=url, token_env="TOKEN", deployment=node), rest)


def live(name: str, url: str, ledger: Ledger) -> str:
    """Clean up, train, host where that is needed, and ask the finished model one question."""
    tuner = tuner_for(name, url)
    if isinstance(tuner, Deployer):
        finetune.delete_leftovers(tuner, ledger)
    config = FinetuneConfig(name="supervised", poll_s=0.0)
    settings = HyperparameterConfig(n_epochs=3)
    base = {"provider": name, "base_url": url, "model": "m"}
    order = finetune.TrainingOrder(base, FILES[:1], FILES[1], settings, config)
    tuned = jobs.train_once(order, tuner, ledger)
    with finetune.serve_model(tuned.checkpoints[-1].model, tuner, ledger) as provider:
        if name == "azure":
            asyncio.run(_ask(provider))
        return str(provider.identity()["model"])


async def _ask(provider: Any) -> None:
    try:
        await provider.complete(Request(({"role": "user", "content": "1+1?"},)))
    finally:
        await provider.aclose()


def database(folder: Path, name: object) -> str:
    return f"sqlite:///{folder}/{name}.db"


def cuts(name: str, lost: str, folder: Path) -> list[int]:
    with serving(SERVICES[name]()) as server:
        live(name, server.url, Ledger(database(folder, "count")))
    return worth_losing(server.calls, lost)


def bought(api: Hosted) -> tuple[int, int, int]:
    """Uploads, jobs and deployments that are on the server."""
    return len(api.files), len(api.jobs), len(getattr(api, "deployments", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_the_whole_lifecycle(name: str, tmp_path: Path) -> None:
    """Two files, one job, no deployment left; a second run makes nothing."""
    api = SERVICES[name]()
    with serving(api) as server:
        ledger = Ledger(database(tmp_path, "ledger"))
        first, posts = live(name, server.url, ledger), _posts(server)
        assert live(name, server.url, ledger) == first
        assert bought(api) == (2, 1, 0)
        assert [call for call in _posts(server)[len(posts) :] if "chat" not in call] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_failed_job_is_not_the_end(name: str, tmp_path: Path) -> None:
    """The next command makes a second job of the same files; the third one uses it."""
    api = SERVICES[name]()
    word = api.states[-1]
    failed = "FAILED" if name == "mistral" else "failed"
    api.state = lambda job: failed if job == next(iter(api.jobs)) else word  # type: ignore[method-assign]
    ledger = Ledger(database(tmp_path, "ledger"))
    with serving(api) as server:
        with pytest.raises(RunnerError, match="makes a new job"):
            live(name, server.url, ledger)
        assert live(name, server.url, ledger) == live(name, server.url, ledger)
    assert bought(api) == (2, 2, 0)


def _posts(server: Server) -> list[str]:
    return [call.path for call in server.calls if call.method == "POST"]


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("name", SERVICES)
def test_cut_at_every_call(name: str, lost: str, tmp_path: Path) -> None:
    """Whichever call is lost, or its answer, the next run ends with the same two files and one job."""
    for cut in cuts(name, lost, tmp_path):
        api = SERVICES[name]()
        api.fault = loses(cut, lost)
        ledger = Ledger(database(tmp_path, cut))
        with serving(api) as server:
            try:
                live(name, server.url, ledger)
            except RunnerError:
                live(name, server.url, ledger)
        assert bought(api) == (2, 1, 0), f"call {cut}"


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("name", SERVICES)
def test_killed_at_every_call(name: str, lost: str, tmp_path: Path) -> None:
    """SIGKILL while a call is under way: the next run finds what was made, and deletes what costs."""
    for cut in cuts(name, lost, tmp_path):
        api = SERVICES[name]()
        with serving(api) as server:
            child = process_of(_live_alone, name, server.url, database(tmp_path, cut))
            api.fault = dies_at(cut, lost == "answer", child)
            child.start()
            child.join()
            assert child.exitcode == -signal.SIGKILL
            live(name, server.url, Ledger(database(tmp_path, cut)))
        assert bought(api) == (2, 1, 0), f"call {cut}"


def _live_alone(name: str, url: str, database: str) -> None:
    live(name, url, Ledger(database))


def test_lines_are_what_was_prepared() -> None:
    """The server reads back the rows as they were given."""
    assert [json.loads(line)["messages"] for line in FILES[0].content.splitlines()] == CHATS
