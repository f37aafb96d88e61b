"""A fine-tuning job that failed or was cancelled is replaced by the next command, once; nothing is hidden."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.errors import ProviderError, RetryableError, RunnerError
from runner.core.services import Checkpoint, TuningStatus
from runner.engine.ledger import Ledger, claims
from runner.pipeline import jobs
from runner.pipeline.finetune import TrainingOrder, make_training_file

FILE = make_training_file("facts", [[{"role": "assistant", "content": "a"}]])
ORDER = TrainingOrder({"model": "m"}, (FILE,), None, HyperparameterConfig(), FinetuneConfig(poll_s=0.0))


@dataclass
class Service:
    """A service that keeps jobs by key; ``states`` is what the job of each attempt is at each look."""

    states: list[list[str]]
    jobs: dict[str, list[str]] = field(default_factory=dict)
    points: Any = (Checkpoint(1, 1, "tuned"),)
    fault: Callable[[str], None] = lambda call: None

    def check(self, files: Any) -> None: ...
    def check_job(self, job: Any) -> None: ...
    def find_file(self, name: str) -> str:
        return name

    def find_job(self, key: str) -> str | None:
        return key if key in self.jobs else None

    def create(self, job: Any) -> str:
        assert all(len(states) == 1 and states[0] in jobs.ENDED for states in self.jobs.values())
        self.jobs[job.key] = list(self.states[len(self.jobs)])
        self.fault("create")
        return str(job.key)

    def status(self, job_id: str) -> TuningStatus:
        self.fault("status")
        if job_id not in self.jobs:
            error = ProviderError("no such job")
            error.status = 404
            raise error
        states = self.jobs[job_id]
        return TuningStatus(states.pop(0) if len(states) > 1 else states[0], "bad luck")  # type: ignore[arg-type]

    def events(self, job_id: str) -> list[str]:
        self.fault("events")
        return []

    def curve(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        return {}

    def checkpoints(self, job_id: str, schedule: object) -> Any:
        return self.points() if callable(self.points) else self.points


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def train(service: Service, ledger: Ledger, command: str = "") -> jobs.TrainingResult:
    return jobs.train_once(ORDER, service, ledger, command=command)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_the_next_command_makes_a_new_job(ledger, caplog, end):
    """The first command says why its job ended; the second makes another one and names the old one."""
    service = Service([["running", end], ["running", "succeeded"]])
    with pytest.raises(RunnerError, match=f"{end}: bad luck; the same command makes a new job"):
        train(service, ledger)
    assert not jobs.has_job(ORDER, ledger)
    result = train(service, ledger)
    assert result.replaced == [f"{ORDER.key} {end}: bad luck"]
    assert f"{ORDER.key} {end} (bad luck); a new job takes its place" in caplog.text
    assert train(service, ledger).job_id == result.job_id
    assert len(service.jobs) == 2
    assert jobs.has_job(ORDER, ledger)


def test_one_new_job_for_all_points_of_a_sweep(ledger):
    """Points share a command, so the second one meets the failure of the first and pays for no other job."""
    service = Service([["failed"], ["running", "failed"], ["succeeded"]])
    for command, made in [("one", 1), ("one", 1), ("two", 2), ("two", 2)]:
        with pytest.raises(RunnerError, match="failed: bad luck"):
            train(service, ledger, command)
        assert len(service.jobs) == made
    assert [entry["state"] for _, entry in ledger.items(jobs.JOB)] == ["failed", "failed"]
    train(service, ledger, "three")


def test_a_new_job_whose_answer_was_lost_is_found_again(ledger):
    """A create call that arrived is not repeated, whichever attempt it was for."""

    def lose(call: str) -> None:
        if call == "create":
            raise RetryableError("cut")

    service = Service([["failed"], ["succeeded"]])
    with pytest.raises(RunnerError):
        train(service, ledger)
    service.fault = lose
    assert train(service, ledger).job_id in service.jobs
    assert len(service.jobs) == 2


def test_a_lost_ledger_finds_the_attempts_at_the_service(ledger, tmp_path):
    """With an empty ledger the failed job and the one in its place are found by their keys."""
    service = Service([["failed"], ["succeeded"]])
    with pytest.raises(RunnerError):
        train(service, ledger)
    first = train(service, ledger)
    assert train(service, Ledger(f"sqlite:///{tmp_path}/other.db")) == first
    assert len(service.jobs) == 2


def test_a_job_that_goes_on_is_not_replaced(ledger):
    """A local training starts again from its saved state: the old job is alive, so there is no new one."""
    service = Service([["failed"]])
    with pytest.raises(RunnerError):
        train(service, ledger)
    service.jobs[ORDER.key] = ["running", "succeeded"]
    assert train(service, ledger).replaced == []
    assert jobs.has_job(ORDER, ledger)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "succeeded, but it names no model"),
        ([Checkpoint(1, 1, "")], "succeeded, but its checkpoint 1 has no model"),
        ([Checkpoint(1, 1, None)], "succeeded, but its checkpoint 1 has no model"),  # type: ignore[arg-type]
        ([SimpleNamespace(step=1)], "its checkpoints cannot be read"),
        (lambda: [{}["step_number"]], "its checkpoints cannot be read"),
        (None, "its checkpoints cannot be read"),
    ],
)
def test_success_without_a_model_is_an_error(ledger, points, message):
    """It names the job, and no other job is made by itself: this one is paid for."""
    service = Service([["succeeded"]], points=points)
    for _ in range(2):
        with pytest.raises(RunnerError, match=message):
            train(service, ledger)
    assert len(service.jobs) == 1


def test_a_job_that_is_gone_is_named(ledger):
    """The service does not know the id any more: no guess, but a word on what to do."""
    service = Service([["succeeded"]])
    train(service, ledger)
    service.jobs.clear()
    with pytest.raises(RunnerError, match=r"is gone .*another hyperparameter\.seed makes another job"):
        train(service, ledger)


@pytest.mark.parametrize("job_id", [None, "", 7])
def test_a_job_without_an_id_is_not_kept(ledger, job_id):
    """The next command would ask for it in vain for ever."""
    service = Service([["succeeded"]])
    service.find_job = lambda key: job_id  # type: ignore[method-assign]
    service.create = lambda job: job_id  # type: ignore[method-assign]
    with pytest.raises(RunnerError, match="the job's id is"):
        train(service, ledger)
    assert ledger.get(jobs.JOB, ORDER.key) is None


def test_an_answer_of_an_odd_shape_has_words(ledger):
    """It is no internal error; odd messages stop nothing, and a job that was made is found again."""
    odd = {"status"}

    def fault(call):
        if call in odd:
            raise AttributeError("'str' object has no attribute 'status'")

    service = Service([["succeeded"], ["succeeded"]], fault=fault)
    with pytest.raises(RunnerError, match=r"cannot be read \(AttributeError.*the same command looks again"):
        train(service, ledger)
    odd = {"events"}
    assert train(service, ledger).checkpoints
    odd = {"create"}
    service.jobs.clear()
    ledger.put(jobs.JOB, ORDER.key, {"id": None})
    with pytest.raises(RunnerError, match="looks for the job before it makes one"):
        train(service, ledger)
    assert train(service, ledger).job_id in service.jobs
    assert len(service.jobs) == 1


class SlowUpload(Service):
    """A service at which the first upload waits until ``go`` is set."""

    def __init__(self) -> None:
        super().__init__([["succeeded"]])
        self.uploads, self.uploading, self.go = 0, threading.Event(), threading.Event()

    def find_file(self, name: str) -> str:
        self.uploads += 1
        if self.uploads == 1:
            self.uploading.set()
            self.go.wait(10)
        return super().find_file(name)


@pytest.mark.parametrize("alive", [True, False], ids=["renewed", "asleep"])
def test_two_machines_and_a_slow_upload(tmp_path, monkeypatch, alive):
    """They make one job: the second one waits for a claim that is renewed, and takes over one that is not.

    The first one looks, after its upload, whether the claim is still its own.
    """
    monkeypatch.setattr(claims, "_find_place", lambda: None)  # each out of the other's sight
    monkeypatch.setattr(claims, "BEAT_S", 0.02 if alive else 60.0)
    monkeypatch.setattr(claims, "LEASE_S", 0.3)
    service, url = SlowUpload(), f"sqlite:///{tmp_path}/shared.db"
    with ThreadPoolExecutor() as pool, closing(Ledger(url)) as one, closing(Ledger(url)) as two:
        first = pool.submit(train, service, one)
        service.uploading.wait(10)
        second = pool.submit(train, service, two)
        if alive:
            assert not wait([second], timeout=1.0).done
        else:
            second.result(10)
        service.go.set()
        assert first.result(10).job_id == second.result(10).job_id
    assert len(service.jobs) == 1
