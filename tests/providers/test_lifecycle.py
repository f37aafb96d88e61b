"""The whole lifecycle over each hosted API, cut off at every single call: nothing is bought twice."""

import asyncio
import json
import os
import signal
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from children import container_of, dies_at, find_inner, process_of
from hosted import KEY, SPOILED, AzureApi, Hosted, MistralApi, OpenAIApi, Outage, loses, worth_losing
from hosted_together import TogetherApi
from servers import Call, Reply, Server, serving

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.errors import ProviderError, RetryableError, RunnerError
from runner.core.provider import Deployer, Tuner
from runner.core.retry import Retry
from runner.core.types import Message, Request
from runner.engine.ledger import Ledger, claims
from runner.engine.ledger.claims import OWNER
from runner.pipeline import finetune, hosting, jobs
from runner.pipeline.finetune import make_training_file
from runner.providers.azure import Azure
from runner.providers.azure.tuning import AzureTuner
from runner.providers.mistral import Mistral
from runner.providers.mistral.tuning import MistralTuner
from runner.providers.openai import OpenAI
from runner.providers.openai.tuning import OpenAITuner
from runner.providers.together import Together
from runner.providers.together.tuning import TogetherTuner

CHATS: list[list[Message]] = [
    [{"role": "user", "content": f"{n}+1?"}, {"role": "assistant", "content": str(n + 1)}] for n in range(10)
]
FILES = (make_training_file("facts", CHATS), make_training_file("watched", CHATS[::-1]))
SERVICES = {"openai": OpenAIApi, "azure": AzureApi, "mistral": MistralApi, "together": TogetherApi}


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "MISTRAL_API_KEY", "TOGETHER_API_KEY", "TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setattr("runner.core.retry.FIRST_WAIT_S", 0.0)
    for module in ("openai.tuning", "azure.tuning"):  # the SDK's own pauses would make the tests long
        monkeypatch.setattr(f"runner.providers.{module}.RETRIES", 0)


def tuner_for(name: str, url: str) -> Tuner:
    """As in a new process: nothing is remembered but the ledger."""
    rest: Any = lambda seconds: None  # noqa: E731 - a named function would only repeat it
    if name == "openai":
        return OpenAITuner(OpenAI(model="m", base_url=f"{url}/v1"), rest)
    if name == "mistral":
        return MistralTuner(Mistral(model="m", base_url=f"{url}/v1"), rest)
    if name == "together":
        return TogetherTuner(Together(model="m", base_url=f"{url}/v1"), rest)
    node = {
        "base_url": url,
        "account": "r",
        "token_env": "TOKEN",
        "subscription": "s",
        "resource_group": "g",
    }
    return AzureTuner(Azure(model="m", base_url=url, token_env="TOKEN", deployment=node), rest)


def live(name: str, url: str, ledger: Ledger, n_epochs: int = 3) -> str:
    """Clean up, train, host where that is needed, and ask the finished model one question."""
    tuner = tuner_for(name, url)
    if isinstance(tuner, Deployer):
        hosting.delete_leftovers(tuner, ledger)
    config = FinetuneConfig(name="supervised", poll_s=0.0)
    settings = HyperparameterConfig(n_epochs=n_epochs)
    base = {"provider": name, "base_url": url, "model": "m"}
    order = finetune.TrainingOrder(base, FILES[:1], FILES[1], settings, config)
    tuned = jobs.train_once(order, tuner, ledger)
    with hosting.serve_model(tuned.checkpoints[-1].model, tuner, ledger) as provider:
        if name in ("azure", "together"):
            asyncio.run(_ask(provider))
        return str(provider.identity()["model"])


async def _ask(provider: Any) -> None:
    """The engine asks again where an answer is lost."""
    attempts = Retry(tries=9)
    try:
        for attempt in count(1):
            try:
                await provider.complete(Request(({"role": "user", "content": "1+1?"},)))
                return
            except RetryableError as error:
                attempts.wait_s(error, attempt)
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
        again = [
            call for call in _posts(server)[len(posts) :] if not call.endswith(("completions", "endpoints"))
        ]
        assert again == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_failed_job_is_not_the_end(name: str, tmp_path: Path) -> None:
    """The next command makes a second job of the same files; the third one uses it."""
    api = SERVICES[name]()
    word = api.states[-1]
    failed = {"mistral": "FAILED", "together": "error"}.get(name, "failed")
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
    """SIGKILL while a call is under way: the next run finds what was made, and deletes what costs.

    The two tests share the calls, every other one each: the killed process costs a second.
    """
    for cut in cuts(name, lost, tmp_path)[lost == "answer" :: 2]:
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


@pytest.mark.parametrize("name", SERVICES)
def test_an_outage_at_any_call(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second call on no fault ends a run: it waits, looks for what was made, and repeats nothing."""
    monkeypatch.setattr(hosting, "PAUSES_S", (0.0,) * len(hosting.PAUSES_S))
    kinds = list(SPOILED.values())
    with serving(SERVICES[name]()) as server:
        live(name, server.url, Ledger(database(tmp_path, "count")))
    for start in range(2, len(server.calls) + 1):
        api, answer = SERVICES[name](), kinds[start % len(kinds)]
        with serving(Outage(api, start, 8, answer, heard=start % 4 < 2)) as down:
            live(name, down.url, Ledger(database(tmp_path, start)))
        assert bought(api) == (2, 1, 0), f"call {start}: {answer}"


@pytest.mark.parametrize("kind", ["page", "empty"])
@pytest.mark.parametrize("name", SERVICES)
def test_a_spoiled_answer_to_a_create_call(name: str, kind: str, tmp_path: Path) -> None:
    """It was heard, so the job is looked for, and it is the one that is found."""
    api, spoiled = SERVICES[name](), [SPOILED[kind]]

    def spoil(call: Call) -> Reply:
        reply = api(call)
        return spoiled.pop() if api.jobs and spoiled else reply

    with serving(spoil) as server:
        live(name, server.url, Ledger(database(tmp_path, "ledger")))
    assert bought(api) == (2, 1, 0)


@pytest.mark.parametrize("name", SERVICES)
def test_a_deleted_file_is_uploaded_again(name: str, tmp_path: Path) -> None:
    """The next job of the same files finds one of them gone, though the ledger was there when it was sent."""
    api = SERVICES[name]()
    with serving(api) as server:
        ledger = Ledger(database(tmp_path, "ledger"))
        live(name, server.url, ledger)
        del api.files["file-1"]
        live(name, server.url, ledger, n_epochs=2)
        assert (len(api.jobs), sorted(api.files)) == (2, ["file-2", "file-3"])


@pytest.mark.parametrize("state", ["deleted", "error", "expired"])
def test_a_file_that_cannot_be_used_is_uploaded_again(state: str, tmp_path: Path) -> None:
    """A service may still list it."""
    api = OpenAIApi()
    with serving(api) as server:
        live("openai", server.url, Ledger(database(tmp_path, "one")))
        api.files["file-1"]["status"] = state
        live("openai", server.url, Ledger(database(tmp_path, "two")), n_epochs=2)
    assert (len(api.jobs), len(api.files)) == (2, 3)


@pytest.mark.parametrize("name", ["openai", "azure"])
@pytest.mark.parametrize("word", ["pending", "running", "notRunning", "uploaded"])
def test_a_file_that_is_found_is_waited_for(name: str, word: str, tmp_path: Path) -> None:
    """A killed run left it with the service, which has not read it yet."""
    api = SERVICES[name]()
    with serving(api) as server:
        tuner_for(name, server.url).upload(FILES[0])
        api.files["file-1"]["status"] = word
        live(name, server.url, Ledger(database(tmp_path, "ledger")))
    assert bought(api) == (2, 1, 0)


def test_a_file_that_is_never_read(tmp_path: Path) -> None:
    """Is given up after an hour, in words that say what is waited for."""

    class Stuck(AzureApi):
        def route(self, call: Call) -> Reply:
            reply = super().route(call)
            for file in self.files.values():
                file["status"] = "running"
            return reply

    with (
        serving(Stuck()) as server,
        pytest.raises(ProviderError, match=r"file-1.* still running after \d+ min"),
    ):
        live("azure", server.url, Ledger(database(tmp_path, "ledger")))


def test_a_model_without_its_curve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The result file was deleted at the service; the model was not."""

    class Bare(OpenAIApi):
        def route(self, call: Call) -> Reply:
            if call.path.endswith(("/content", "/events")):
                return Reply({"error": {"message": "no such file"}}, status=404)
            return super().route(call)

    with serving(Bare()) as server:
        assert live("openai", server.url, Ledger(database(tmp_path, "ledger"))) == "ft:m:o::1"
    assert "no training curve" in caplog.text


@pytest.mark.parametrize("next_one", ["the same container", "cleanup from outside"])
def test_a_container_that_is_killed(next_one: str, tmp_path: Path) -> None:
    """Its deployment is deleted by a process with the same host name and process id, or from outside."""
    api = AzureApi()
    url = database(tmp_path, "ledger")
    with serving(api) as server:
        killed = container_of(_live_briefly, server.url, url)
        asked = [n for n, call in enumerate(_count(tmp_path), start=1) if call.path.endswith("/completions")]

        def kill(number: int, done: bool) -> bool:
            if number == asked[-1] and not done:
                os.kill(find_inner(killed.pid), signal.SIGKILL)
            return number == asked[-1]

        api.fault = kill
        killed.start()
        killed.join(60)
        api.fault = lambda number, done: False
        if killed.exitcode == 77:
            pytest.skip("needs the right to make namespaces")
        assert (killed.exitcode, len(api.deployments)) == (247, 1)
        if next_one == "the same container":
            again = container_of(_live_briefly, server.url, url)
            again.start()
            again.join(60)
            assert again.exitcode == 0
        else:
            with closing(Ledger(url)) as ledger:
                ledger.change(OWNER, next(ledger.items(OWNER))[0], lambda entry: {**entry, "time": 0})
                assert list(hosting.delete_leftovers(tuner_for("azure", server.url), ledger).values()) == [
                    None
                ]
    assert bought(api) == (2, 1, 0)


def _count(folder: Path) -> list[Any]:
    with serving(AzureApi()) as server:
        live("azure", server.url, Ledger(database(folder, "count")))
    return server.calls


def _live_briefly(url: str, database: str) -> None:
    """With a lease of a second; as in a container, the first process."""
    claims.LEASE_S, claims.BEAT_S = 1.0, 0.2
    assert os.getpid() == 1
    live("azure", url, Ledger(database))


def test_lines_are_what_was_prepared() -> None:
    """The server reads back the rows as they were given."""
    assert [json.loads(line)["messages"] for line in FILES[0].content.splitlines()] == CHATS
