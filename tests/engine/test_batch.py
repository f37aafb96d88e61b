"""Batches at each service buy each row once, even if calls are lost or processes killed."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from children import dies_at, process_of, shared_queue
from hosted import KEY, SPOILED, Outage, loses, worth_losing
from hosted_batch import MODEL, AzureBatchService, BatchService, MistralBatchService, add
from hosted_together import TogetherBatchService
from messages import MessagesService
from servers import Call, Reply, Server, completion, serving

from runner.core.errors import ConfigError, FatalProviderError, RunnerError
from runner.core.types import Request, Sampling
from runner.engine import batch, batch_jobs, call
from runner.engine.ask import ask_all
from runner.engine.call import Answer, make_keys
from runner.engine.ledger import Ledger
from runner.providers.anthropic import Anthropic
from runner.providers.azure import Azure
from runner.providers.http import client
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI, OpenAICompatible
from runner.providers.remote import Remote
from runner.providers.together import Together

FILES: dict[str, Any] = {
    "openai": BatchService,
    "azure": AzureBatchService,
    "mistral": MistralBatchService,
    "together": TogetherBatchService,
}
"""Services that take an input file."""
SERVICES = {**FILES, "anthropic": MessagesService}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "AZURE_OPENAI", "MISTRAL", "TOGETHER", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    monkeypatch.setattr("runner.core.retry.FIRST_WAIT_S", 0.001)


def provider_for(name: str, url: str) -> Remote:
    settings: dict[str, Any] = {"model": MODEL, "batch": True, "batch_poll_s": 0.01}
    if name == "openai":
        return OpenAI(base_url=f"{url}/v1", **settings)
    if name == "azure":
        return Azure(base_url=url, **settings)
    if name == "anthropic":
        return Anthropic(base_url=f"{url}/v1", **settings)
    return (Together if name == "together" else Mistral)(base_url=f"{url}/v1", **settings)


def refuses(*numbers: int) -> Any:
    """A service that answers 403 to the questions about these numbers."""

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        one, _, _ = body["messages"][-1]["content"].split()
        return (403, {"error": {"message": "flagged"}}) if int(one) in numbers else add(body)

    return answer


def questions(*numbers: int) -> list[Request]:
    return [Request(({"role": "user", "content": f"{n} + {n}"},), Sampling(max_tokens=5)) for n in numbers]


def ask(name: str, url: str, ledger: Ledger, *numbers: int, **more: Any) -> list[Answer]:
    return ask_all(questions(*numbers), provider_for(name, url), ledger, **more)


def texts(answers: list[Answer]) -> list[str | None]:
    return [answer.completion.text if answer.completion else answer.error for answer in answers]


def database(folder: Path, name: object = "ledger") -> str:
    return f"sqlite:///{folder}/{name}.db"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(database(tmp_path))


def clean(ledger: Ledger) -> bool:
    """Whether no row is claimed and no batch is open."""
    entries = [entry for _, entry in ledger.items(batch_jobs.BATCH)]
    return not list(ledger.items(batch_jobs.ROW)) and all(entry.get("closed") for entry in entries)


@pytest.mark.parametrize("name", SERVICES)
def test_a_batch(name: str, ledger: Ledger) -> None:
    """Rows are sent as one file and come back in their order as answers of a batch."""
    api = SERVICES[name]()
    told: list[int] = []
    with serving(api) as server:
        answers = ask(name, server.url, ledger, 3, 1, 2, 1, advance=told.append)
    assert texts(answers) == ["6", "2", "4", "2"]
    assert [answer.stored for answer in answers] == [False] * 4
    assert all(answer.completion and answer.completion.batch for answer in answers)
    assert (len(api.batches), api.live, sum(told)) == (1, 0, 4)
    assert clean(ledger)


@pytest.mark.parametrize("name", SERVICES)
def test_shared_with_live_answers(name: str, ledger: Ledger) -> None:
    """A batch leaves out what was answered live, and a live run does not ask what a batch answered."""
    api = SERVICES[name]()
    with serving(api) as server:
        live = replace(provider_for(name, server.url), batch=False)
        ask_all(questions(1, 2), live, ledger)
        ask(name, server.url, ledger, 1, 2, 3)
        answers = ask_all(questions(1, 2, 3), live, ledger)
    assert [answer.stored for answer in answers] == [True] * 3
    assert set(api.asked.values()) == {1}
    assert api.live == 2


def test_failed_lines(ledger: Ledger) -> None:
    """A refused row has its error and is asked again by the next run; the others are not."""

    def picky(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["messages"][-1]["content"].startswith("2"):
            return 400, {"error": {"message": "content filter", "type": "invalid_request_error"}}
        return add(body)

    api = BatchService(answer=picky)
    with serving(api) as server:
        answers = ask("openai", server.url, ledger, 1, 2, 3)
        assert (texts(answers)[0], texts(answers)[2]) == ("2", "6")
        assert "content filter" in (answers[1].error or "")
        api.answer = add
        assert texts(ask("openai", server.url, ledger, 1, 2, 3)) == ["2", "4", "6"]
    assert api.asked == {"1 + 1": 1, "2 + 2": 2, "3 + 3": 1}


def test_refused_lines(ledger: Ledger) -> None:
    """A 403 is its row's where others were answered, now or before; a batch of nothing else stops the run."""
    api = BatchService(answer=refuses(2, 5, 6))
    with serving(api) as server:
        for _ in range(2):
            found = texts(ask("openai", server.url, ledger, 1, 2, 3))
            assert (found[0], found[2]) == ("2", "6")
            assert (found[1] or "").startswith("openai: HTTP 403: flagged")
        with pytest.raises(FatalProviderError, match="flagged"):
            ask("openai", server.url, ledger, 5, 6)


@pytest.mark.parametrize(
    "odd",
    [
        *(completion(usage=7), completion(usage={"prompt_tokens": "12"}), completion("2", model=7)),
        *(completion(4), completion(choices=[{"message": {"content": ["2"]}, "finish_reason": "stop"}])),  # type: ignore[arg-type]
    ],
)
def test_odd_results(odd: Any, ledger: Ledger) -> None:
    """An odd line is its row's: an answer without its counts, or an error that is not kept."""
    api = BatchService(
        answer=lambda body: (200, odd) if body["messages"][-1]["content"][0] == "2" else add(body)
    )
    with serving(api) as server:
        answers = ask("openai", server.url, ledger, 1, 2)
        stored = dict(ledger.items(call.KIND))
    assert texts(answers)[0] == "2"
    assert len(stored) == (2 if answers[1].completion else 1)


def test_results_of_another_batch(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """They are never kept under their keys; a batch with no other results is named and not asked again."""
    api = BatchService(states=("completed",))
    write = api.write
    foreign = {"custom_id": "theirs", "response": {"status_code": 200, "body": completion("9")}}
    with serving(api) as server:
        api.write = lambda lines: write(lines and [*lines, foreign])  # type: ignore[method-assign]
        assert texts(ask("openai", server.url, ledger, 1)) == ["2"]
        assert "batch_1: 1 result of requests that it did not have" in caplog.text
        api.write = lambda lines: write(lines and [foreign])  # type: ignore[method-assign]
        with pytest.raises(FatalProviderError, match=r"batch batch_2: no result is of its requests"):
            ask("openai", server.url, ledger, 2)
        assert clean(ledger)
    assert (len(list(ledger.items(call.KIND))), len(api.batches)) == (1, 2)


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("times", [1, 100])
def test_results_that_lack_a_request(name: str, times: int, ledger: Ledger) -> None:
    """They may be cut on the way, so they are read again; what they always lack is not bought again."""
    api, cuts = SERVICES[name](), list(range(times))

    def cut(call: Call) -> Reply:
        reply = api(call)
        if call.path.endswith(("/content", "/results")) and cuts:
            cuts.pop()
            lines = reply.content.strip().split(b"\n")
            return Reply(b"\n".join([*lines[:-1], lines[-1][:50]]))
        return reply

    with serving(cut) as server:
        found = texts(ask(name, server.url, ledger, 1, 2, 3))
        lacked = [text for text in found if "its results lack this request" in str(text)]
        assert (len(lacked), len(api.batches)) == (0 if times == 1 else 1, 1)
        cuts.clear()
        assert texts(ask(name, server.url, ledger, 1, 2, 3)) == ["2", "4", "6"]
    assert sum(api.asked.values()) == 3 + len(lacked)
    assert clean(ledger)


@pytest.mark.parametrize(
    ("name", "last"), [("openai", "expired"), ("mistral", "TIMEOUT_EXCEEDED"), ("together", "EXPIRED")]
)
def test_an_expired_batch(name: str, last: str, ledger: Ledger) -> None:
    """The answers of an expired batch are kept, and the rest goes into another batch in the same run."""
    api = SERVICES[name](
        states=("in_progress" if name == "openai" else "RUNNING", last), unheard=frozenset([1])
    )
    with serving(api) as server:
        answers = ask(name, server.url, ledger, 1, 2, 3)
    assert texts(answers) == ["2", "4", "6"]
    assert len(api.batches) == 2
    assert set(api.asked.values()) == {1}


def test_always_expired(ledger: Ledger) -> None:
    """A row that three batches left without an answer is left to the next run."""
    api = BatchService(states=("expired",), unheard=frozenset(range(10)))
    with serving(api) as server:
        answers = ask("openai", server.url, ledger, 1)
        assert (texts(answers), len(api.batches)) == ([batch.LEFT_OVER], 3)
        api.unheard = frozenset()
        assert texts(ask("openai", server.url, ledger, 1)) == ["2"]


@pytest.mark.parametrize(
    ("name", "state"),
    [("openai", "failed"), ("azure", "Failed"), ("mistral", "FAILED"), ("together", "FAILED")],
)
def test_a_refused_batch(name: str, state: str, ledger: Ledger) -> None:
    """A refused batch stops the run with the service's reason; the next run makes a new one."""
    api = SERVICES[name](states=(state.lower() if name == "azure" else state,), errors=("no such model",))
    with serving(api) as server:
        with pytest.raises(FatalProviderError, match="no such model"):
            ask(name, server.url, ledger, 1, 2)
        assert clean(ledger)
        api.states = type(api)().states[-1:]
        assert texts(ask(name, server.url, ledger, 1, 2)) == ["2", "4"]
    assert len(api.batches) == 2


@pytest.mark.parametrize("lost", ["the file", "the batch"])
def test_what_the_service_deleted(lost: str, ledger: Ledger) -> None:
    """Results that are gone stop the run, and the next one asks anew; a batch that is gone is named."""
    api = BatchService(states=("completed",))
    route = api.route

    def forget(call: Any) -> Any:
        part = "/content" if lost == "the file" else "/batches/"
        return Reply({}, status=404) if call.method == "GET" and part in call.path else route(call)

    api.route = forget  # type: ignore[method-assign]
    words = "results are gone.*makes a new batch" if lost == "the file" else "is gone.*provider.batch=false"
    with serving(api) as server:
        with pytest.raises(FatalProviderError, match=words):
            ask("openai", server.url, ledger, 1)
        api.route = route  # type: ignore[method-assign]
        assert texts(ask("openai", server.url, ledger, 1)) == ["2"]
    assert len(api.batches) == (2 if lost == "the file" else 1)


def test_a_wrong_key_leaves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wrong key no row stays claimed, and the message names the environment variable."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")

    api = BatchService()
    with serving(api) as server, pytest.raises(RunnerError, match="wrong key"):
        ask("openai", server.url, ledger, 1)
    assert list(ledger.items(batch_jobs.ROW)) == list(ledger.items(batch_jobs.BATCH)) == []


def test_large_inputs_are_split(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file holds as many lines as the service takes, by number and by bytes."""
    monkeypatch.setattr("runner.providers.openai.batch.OpenAIBatcher.most_requests", 3)
    api = BatchService(states=("completed",))
    with serving(api) as server:
        assert texts(ask("openai", server.url, ledger, *range(8))) == [str(2 * n) for n in range(8)]
        assert [len(api.lines(item["input_file_id"])) for item in api.batches.values()] == [3, 3, 2]
        monkeypatch.setattr("runner.providers.openai.batch.OpenAIBatcher.most_bytes", 10)
        ask("openai", server.url, ledger, 20, 21)
    assert len(api.batches) == 5


def test_overlapping_runs(ledger: Ledger, tmp_path: Path) -> None:
    """A run waits for the rows in a killed run's batch and makes a batch of the other rows."""
    api = BatchService()
    with serving(api) as server:
        kill_at(api, "openai", server, database(tmp_path), 5, done=False)
        answers = ask("openai", server.url, ledger, 1, 2, 3, 4, 5)
    assert texts(answers) == ["2", "4", "6", "8", "10"]
    assert set(api.asked.values()) == {1}
    assert len(api.batches) == 2


@pytest.mark.parametrize("name", FILES)
def test_a_lost_ledger_finds_the_batch(name: str, tmp_path: Path) -> None:
    """With a new ledger the batch that was made for the same rows is found at the service."""
    api = SERVICES[name]()
    with serving(api) as server:
        ask(name, server.url, Ledger(database(tmp_path, "lost")), 1, 2)
        assert texts(ask(name, server.url, Ledger(database(tmp_path, "new")), 1, 2)) == ["2", "4"]
    assert (len(api.uploads), len(api.batches), set(api.asked.values())) == (1, 1, {1})


def cuts(name: str, lost: str, folder: Path) -> list[int]:
    with serving(SERVICES[name]()) as server:
        ask(name, server.url, Ledger(database(folder, "count")), 1, 2, 3)
    return worth_losing(server.calls, lost)


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("name", SERVICES)
def test_cut_at_every_call(name: str, lost: str, tmp_path: Path) -> None:
    """Whichever call or reply is lost, there is one batch, and each row is answered once."""
    for cut in cuts(name, lost, tmp_path):
        api = SERVICES[name]()
        api.fault = loses(cut, lost)
        ledger = Ledger(database(tmp_path, cut))
        with serving(api) as server:
            try:
                answers = ask(name, server.url, ledger, 1, 2, 3)
            except RunnerError:
                answers = ask(name, server.url, ledger, 1, 2, 3)
        assert texts(answers) == ["2", "4", "6"], f"call {cut}"
        assert (len(api.batches), set(api.asked.values())) == (1, {1}), f"call {cut}"
        assert len(api.uploads) == 1, f"call {cut}"
        assert clean(ledger)


@pytest.mark.parametrize("name", ["azure", "mistral", "anthropic"])
def test_an_outage_at_any_call(name: str, tmp_path: Path) -> None:
    """From the second call on no fault ends a run: there is one file and one batch, and it is collected."""
    calls, kinds = cuts(name, "request", tmp_path), list(SPOILED.values())
    for start in calls[1:]:
        api = SERVICES[name]()
        answer = kinds[start % len(kinds)]
        with serving(Outage(api, start, 8, answer, heard=start % 4 < 2)) as server:
            answers = ask(name, server.url, Ledger(database(tmp_path, start)), 1, 2, 3)
        assert texts(answers) == ["2", "4", "6"]
        assert (len(api.uploads), len(api.batches), set(api.asked.values())) == (1, 1, {1}), f"call {start}"


@pytest.mark.parametrize("kind", ["page", "junk"])
@pytest.mark.parametrize("name", SERVICES)
def test_results_that_cannot_be_read(name: str, kind: str, ledger: Ledger) -> None:
    """Are asked for again, and no row is."""
    api, left = SERVICES[name](), [SPOILED[kind], Reply(b"")]

    def spoil(call: Call) -> Reply:
        reply = api(call)
        return left.pop() if call.path.endswith(("/content", "/results")) and left else reply

    with serving(spoil) as server:
        assert texts(ask(name, server.url, ledger, 1, 2, 3)) == ["2", "4", "6"]
    assert (len(api.batches), set(api.asked.values())) == (1, {1})


@pytest.mark.parametrize("name", FILES)
def test_a_deleted_input_file(name: str, ledger: Ledger, tmp_path: Path) -> None:
    """A killed run had sent it, and it is gone before the batch is made: it is sent once more."""
    created = cuts(name, "answer", tmp_path)[-1]
    api = SERVICES[name]()
    with serving(api) as server:
        kill_at(api, name, server, database(tmp_path), created, done=False)
        api.uploads.clear()
        assert texts(ask(name, server.url, ledger, 1, 2, 3)) == ["2", "4", "6"]
    assert (len(api.uploads), len(api.batches)) == (1, 1)


def test_a_service_without_a_list_of_files(ledger: Ledger) -> None:
    """Takes the file all the same, and so does one that does not show the list to this key."""

    class Closed(BatchService):
        def uploaded(self, call: Call) -> dict[str, Any]:
            raise AssertionError

        def route(self, call: Call) -> Reply:
            closed = call.method == "GET" and call.path.endswith("/files")
            return Reply({"error": {"message": "no"}}, status=403) if closed else super().route(call)

    with serving(Closed()) as server:
        assert texts(ask("openai", server.url, ledger, 1, 2)) == ["2", "4"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_longer_outage(name: str, ledger: Ledger, tmp_path: Path) -> None:
    """A batch that may have been created is not created again while the service cannot be asked."""
    created = cuts(name, "answer", tmp_path)[-1]
    api = SERVICES[name]()
    api.fault = lambda number, done: (
        (number == created and done) or created < number <= created + client.RETRY.tries
    )
    with serving(api) as server:
        answers = ask(name, server.url, ledger, 1, 2, 3)
    assert texts(answers) == ["2", "4", "6"]
    assert (len(api.batches), set(api.asked.values())) == (1, {1})
    assert clean(ledger)


def kill_at(api: BatchService, name: str, server: Server, url: str, cut: int, done: bool) -> None:
    """Run a process that asks for three rows, and kill it at its n-th call."""
    child = process_of(_ask_alone, name, server.url, url)
    api.fault = dies_at(cut, done, child)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    api.fault = lambda number, over: False


def _ask_alone(name: str, url: str, database: str) -> None:
    ask(name, url, Ledger(database), 1, 2, 3)


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("name", SERVICES)
def test_killed_at_every_call(name: str, lost: str, tmp_path: Path) -> None:
    """After SIGKILL during any call the next run finds the one batch and collects it.

    The two tests share the calls, every other one each: the killed process costs a second.
    """
    for cut in cuts(name, lost, tmp_path)[lost == "answer" :: 2]:
        api = SERVICES[name]()
        with serving(api) as server:
            kill_at(api, name, server, database(tmp_path, cut), cut, done=lost == "answer")
            ledger = Ledger(database(tmp_path, cut))
            answers = ask(name, server.url, ledger, 1, 2, 3)
        assert texts(answers) == ["2", "4", "6"], f"call {cut}"
        assert (len(api.batches), set(api.asked.values())) == (1, {1}), f"call {cut}"
        assert len(api.uploads) == 1, f"call {cut}"
        assert clean(ledger)


def test_two_at_once(tmp_path: Path) -> None:
    """Processes that need the same rows at the same time share one batch, and one of them pays for it."""
    api = BatchService(states=("in_progress",) * 20 + ("completed",))
    url = database(tmp_path)
    Ledger(url).close()
    queue = shared_queue()
    with serving(api) as server:
        children = [process_of(_ask_and_tell, server.url, url, queue) for _ in range(3)]
        for child in children:
            child.start()
        told = [queue.get(timeout=60) for _ in children]
        for child in children:
            child.join()
    assert [found for found, _ in told] == [["2", "4", "6"]] * 3
    assert sorted(stored for _, stored in told) == [False, True, True]
    assert (len(api.batches), set(api.asked.values())) == (1, {1})


def _ask_and_tell(url: str, database: str, queue: Any) -> None:
    answers = ask("openai", url, Ledger(database), 1, 2, 3)
    queue.put((texts(answers), all(answer.stored for answer in answers)))


class Limited:
    """An allowance for a number of calls."""

    def __init__(self, calls: int) -> None:
        self.calls, self.settled, self.paid = calls, 0, 0

    def reserve(self, request: Request) -> bool:
        self.calls -= 1
        return self.calls >= 0

    def settle(self, request: Request, completion: Any) -> None:
        self.settled += 1
        self.paid += completion is not None


def test_an_allowance_bounds_the_batch(ledger: Ledger) -> None:
    """A batch holds only rows that can be paid; the others are not asked."""
    api, allowance = BatchService(), Limited(2)
    with serving(api) as server:
        answers = ask("openai", server.url, ledger, 1, 2, 3, allowance=allowance)
    assert [answer is call.UNASKED for answer in answers] == [False, False, True]
    assert (sum(api.asked.values()), allowance.settled, allowance.paid) == (2, 2, 2)


@pytest.mark.parametrize("theirs", [(1, 2), (1,)], ids=["all", "some"])
def test_answered_at_the_last_moment(ledger: Ledger, theirs: tuple[int, ...]) -> None:
    """Rows that another run answers between look-up and claim are neither asked nor paid again."""
    api = BatchService()

    class Late(Limited):
        def reserve(self, request: Request) -> bool:
            if self.calls == 9:
                ask("openai", server.url, ledger, *theirs)
            return super().reserve(request)

    allowance = Late(9)
    with serving(api) as server:
        answers = ask("openai", server.url, ledger, 1, 2, allowance=allowance)
    assert texts(answers) == ["2", "4"]
    assert [answer.stored for answer in answers] == [n in theirs for n in (1, 2)]
    assert set(api.asked.values()) == {1}
    assert (allowance.settled, allowance.paid) == (2, 2 - len(theirs))
    assert clean(ledger)


def test_refusals_inside_a_batch(ledger: Ledger) -> None:
    """A model's refusal in a batch is the error of its row, as in a live answer."""
    refusal = completion(None)
    refusal["choices"][0]["message"]["refusal"] = "I will not"
    api = BatchService(answer=lambda body: (200, refusal))
    with serving(api) as server:
        (answer,) = ask("openai", server.url, ledger, 1)
    assert "the model refused: I will not" in (answer.error or "")


def test_unknown_words_are_text(ledger: Ledger) -> None:
    """Line separators inside an answer do not break the result file apart."""
    api = BatchService(answer=lambda body: (200, completion("one\u2028two\x85three")))
    with serving(api) as server:
        assert texts(ask("openai", server.url, ledger, 1, 2)) == ["one\u2028two\x85three"] * 2


def test_an_input_file_that_takes_time(ledger: Ledger) -> None:
    """A batch is made once the service has read its input file."""
    api = AzureBatchService(upload_state="pending")
    with serving(api) as server:
        assert texts(ask("azure", server.url, ledger, 1)) == ["2"]
        paths = [(call.method, call.path.removeprefix(api.root)) for call in server.calls]
    assert paths.index(("GET", "/files/file-1")) < paths.index(("POST", "/batches"))


def test_a_provider_without_batches() -> None:
    """``provider.batch=true`` is refused for a provider without a batch API."""
    with pytest.raises(ConfigError, match=r"provider\.batch=true"):
        OpenAICompatible(model="m", base_url="http://127.0.0.1:1/v1", batch=True).check()


def test_batch_is_no_part_of_the_key() -> None:
    """Live and batch answers have the same ledger keys."""
    live, later = OpenAI(model="m"), OpenAI(model="m", batch=True)
    assert make_keys(live, questions(1)) == make_keys(later, questions(1))
    assert json.dumps(dict(later.identity())) == json.dumps(dict(live.identity()))
