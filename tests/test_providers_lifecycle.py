"""The whole lifecycle over each hosted API, cut off at every single call: nothing is bought twice."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hosted import KEY, AzureApi, Hosted, MistralApi, OpenAIApi
from servers import Server, serving

from runner import finetune
from runner.errors import RunnerError
from runner.ledger import Ledger
from runner.providers.azure import Azure
from runner.providers.azure_tuning import AzureTuner
from runner.providers.mistral import Mistral
from runner.providers.mistral_tuning import MistralTuner
from runner.providers.openai import OpenAI
from runner.providers.openai_tuning import OpenAITuner
from runner.schema import FinetuneConfig, HyperparameterConfig
from runner.training import training_file
from runner.types import Message, Request, Tuner

CHATS: list[list[Message]] = [
    [{"role": "user", "content": f"{n}+1?"}, {"role": "assistant", "content": str(n + 1)}] for n in range(10)
]
FILES = (training_file("facts", CHATS), training_file("watched", CHATS[::-1]))
SERVICES = {"openai": OpenAIApi, "azure": AzureApi, "mistral": MistralApi}


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "MISTRAL_API_KEY", "TOKEN"):
        monkeypatch.setenv(name, KEY)
    for module in ("openai_tuning", "azure_tuning"):  # the SDK's own pauses would make the tests long
        monkeypatch.setattr(f"runner.providers.{module}.RETRIES", 0)


def tuner_for(name: str, server: Server) -> Tuner:
    """As in a new process: nothing is remembered but the ledger."""
    rest: Any = lambda seconds: None  # noqa: E731 - a named function would only repeat it
    if name == "openai":
        return OpenAITuner(OpenAI(model="m", base_url=f"{server.url}/v1"), rest)
    if name == "mistral":
        return MistralTuner(Mistral(model="m", base_url=f"{server.url}/v1"), rest)
    node = {
        "base_url": server.url,
        "account": "r",
        "token_env": "TOKEN",
        "subscription": "s",
        "resource_group": "g",
    }
    return AzureTuner(Azure(model="m", base_url=server.url, token_env="TOKEN", deployment=node), rest)


def live(name: str, server: Server, ledger: Ledger) -> str:
    """Train, host where that is needed, and ask the finished model one question."""
    tuner = tuner_for(name, server)
    config = FinetuneConfig(name="supervised", poll_s=0.0)
    settings = HyperparameterConfig(n_epochs=3)
    base = {"provider": name, "base_url": server.url, "model": "m"}
    order = finetune.Order(base, FILES[:1], FILES[1], settings, config)
    tuned = finetune.tune(order, tuner, ledger)
    with finetune.serving(tuned.checkpoints[-1].model, tuner, ledger) as provider:
        if name == "azure":
            asyncio.run(_ask(provider))
        return str(provider.identity()["model"])


async def _ask(provider: Any) -> None:
    try:
        await provider.complete(Request(({"role": "user", "content": "1+1?"},)))
    finally:
        await provider.aclose()


def calls_of(name: str, folder: Path) -> int:
    api = SERVICES[name]()
    with serving(api) as server:
        live(name, server, Ledger(f"sqlite:///{folder}/count.db"))
    return api.calls


def bought(api: Hosted) -> tuple[int, int, int]:
    """Uploads, jobs and deployments that are on the server."""
    return len(api.files), len(api.jobs), len(getattr(api, "deployments", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_the_whole_lifecycle(name: str, tmp_path: Path) -> None:
    """Two files, one job, no deployment left; a second run makes nothing."""
    api = SERVICES[name]()
    with serving(api) as server:
        ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
        first, posts = live(name, server, ledger), _posts(server)
        assert live(name, server, ledger) == first
        assert bought(api) == (2, 1, 0)
        assert [call for call in _posts(server)[len(posts) :] if "chat" not in call] == []


def _posts(server: Server) -> list[str]:
    return [call.path for call in server.calls if call.method == "POST"]


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("name", SERVICES)
def test_cut_at_every_call(name: str, lost: str, tmp_path: Path) -> None:
    """Whichever call is lost, or its answer, the next run ends with the same two files and one job."""
    for cut in range(1, calls_of(name, tmp_path) + 1):
        api = SERVICES[name]()
        api.fault = lambda number, done, cut=cut: number == cut and done == (lost == "answer")
        ledger = Ledger(f"sqlite:///{tmp_path}/{cut}.db")
        with serving(api) as server:
            try:
                live(name, server, ledger)
            except RunnerError:
                live(name, server, ledger)
            left = [deployment for deployment, _ in ledger.items(finetune.DEPLOYMENT)]
            for deployment in left:
                tuner_for(name, server).undeploy(deployment)  # type: ignore[attr-defined]
        assert bought(api) == (2, 1, 0), f"call {cut}"


def test_lines_are_what_was_prepared() -> None:
    """The server reads back the rows as they were given."""
    assert [json.loads(line)["messages"] for line in FILES[0].content.splitlines()] == CHATS
