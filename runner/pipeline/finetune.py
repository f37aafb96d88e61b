"""Fine-tuning as part of a run: the model that a config names is trained once and then found again.

    prepare ─ check ─ upload ─ create ─ poll ─ curve and checkpoints ─ serve

The key of a job is a digest of everything that determines its model. A claim under this key is in the ledger
before the job is created, and the job's id right after. A process that comes later, or one that takes over
after a crash in between, finds the job by its key and never creates a second one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.errors import DataError, ProviderError, RunnerError
from runner.core.identity import digest
from runner.core.provider import Deployer, Provider, Tuner
from runner.core.retry import Patience
from runner.core.services import Checkpoint, Schedule, TrainingFile, TuningJob, TuningStatus
from runner.core.types import Message
from runner.engine.claims import is_alive, make_claim
from runner.engine.ledger import Ledger

log = logging.getLogger(__name__)

JOB, DEPLOYMENT = "job", "deployment"
OnStatus = Callable[[TuningStatus], None]
"""Called with the status of a job each time it is polled."""


@dataclass(frozen=True)
class TrainingOrder:
    """Everything that determines a fine-tuned model."""

    base: dict[str, Any]
    training: tuple[TrainingFile, ...]
    validation: TrainingFile | None
    hyperparameter: HyperparameterConfig
    config: FinetuneConfig

    @property
    def key(self) -> str:
        """The digest under which the ledger and the provider know the job."""
        values = asdict(self.hyperparameter)
        names = (
            "n_epochs",
            "batch_size",
            "learning_rate",
            "learning_rate_multiplier",
            "training_steps",
            "seed",
        )
        return digest(
            {
                "base": self.base,
                "training": [(file.name, file.weight) for file in self.training],
                "validation": self.validation.name if self.validation else None,
                "options": self.config.options,
                **{name: values[name] for name in names},
            }
        )

    @property
    def schedule(self) -> Schedule:
        """What tells the epochs of steps, as far as the order says it."""
        given, weighted = self.hyperparameter, any(file.weight != 1 for file in self.training)
        rows = None if weighted else sum(file.rows for file in self.training)
        return Schedule(rows, given.batch_size, None if given.training_steps else given.n_epochs)


@dataclass(frozen=True)
class TrainingResult:
    """A finished job: its id, its training curves (name to (step, value) pairs) and its checkpoints."""

    job_id: str
    curve: dict[str, list[tuple[int, float]]]
    checkpoints: list[Checkpoint]


def train_once(
    order: TrainingOrder,
    tuner: Tuner,
    ledger: Ledger,
    on_status: OnStatus = lambda status: None,
    pay: Callable[[], None] = lambda: None,
) -> TrainingResult:
    """Return the finished job of an order; create it if it does not exist. Blocks until it is finished.

    ``pay`` is called if this process creates the job, before anything is uploaded; it may raise to stop it.
    Raises :class:`RunnerError` with the provider's reason if the job failed, was cancelled or paused.
    """
    entry = ledger.get(JOB, order.key) or {}
    job_id = entry.get("id") or _create_once(order, tuner, ledger, pay)
    patience = _make_patience(order)
    _wait(job_id, tuner, on_status, order.config.poll_s, patience)
    checkpoints = patience.call(lambda: tuner.checkpoints(job_id, order.schedule))
    try:
        curve = patience.call(lambda: tuner.curve(job_id))
    except ProviderError as error:  # the model is finished and paid for: a missing curve must not lose it
        log.warning("%s: no training curve: %s", job_id, error)
        curve = {}
    return TrainingResult(job_id, curve, checkpoints)


def is_ordered(order: TrainingOrder, ledger: Ledger) -> bool:
    """Whether the ledger has the job of an order, whatever became of it."""
    return "id" in (ledger.get(JOB, order.key) or {})


@contextmanager
def serve_model(
    model: str, tuner: Tuner, ledger: Ledger, is_needed: Callable[[Provider], bool] = lambda provider: True
) -> Iterator[Provider]:
    """Yield a provider that answers as ``model``.

    A model that must be hosted is deployed on entry and its deployment deleted on exit, but only if
    ``is_needed`` says that the provider will be called.
    """
    if not isinstance(tuner, Deployer):
        yield tuner.serving(model)
        return
    name = f"runner-{digest([model, os.getpid(), time.time()])[:12]}"
    provider = tuner.hosted(model, name)
    if not is_needed(provider):
        yield provider
        return
    ledger.put(DEPLOYMENT, name, {"model": model, **make_claim()})
    try:
        tuner.deploy(model, name)
        yield provider
    finally:
        tuner.undeploy(name)
        ledger.remove(DEPLOYMENT, name)


def list_leftovers(ledger: Ledger) -> list[str]:
    """Return the deployments whose process has ended; each costs money by the hour until it is deleted."""
    return [name for name, claim in ledger.items(DEPLOYMENT) if not is_alive(claim, lease=False)]


def delete_leftovers(tuner: Deployer, ledger: Ledger) -> list[str]:
    """Delete the deployments that :func:`list_leftovers` returns, and return their names."""
    names = list_leftovers(ledger)
    for name in names:
        tuner.undeploy(name)
        ledger.remove(DEPLOYMENT, name)
        log.warning("deleted deployment %s, left over from a run that was killed", name)
    return names


def make_training_file(name: str, chats: Iterable[Sequence[Message]], weight: float = 1.0) -> TrainingFile:
    """Write chats as a JSONL file in memory; its name ends in a digest, so equal files have equal names."""
    lines = [json.dumps({"messages": list(chat)}, ensure_ascii=False) for chat in chats]
    if not lines:
        raise DataError(f"training data {name}: there are no rows")
    content = ("\n".join(lines) + "\n").encode()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    content_digest = hashlib.sha256(content).hexdigest()[:16]
    return TrainingFile(f"{stem}-{content_digest}.jsonl", content, len(lines), weight)


def _create_once(order: TrainingOrder, tuner: Tuner, ledger: Ledger, pay: Callable[[], None]) -> str:
    """Return the id of the one job for this order; create it, or wait for the process that does."""
    claim = make_claim()
    while not ledger.add(JOB, order.key, claim):
        entry = ledger.get(JOB, order.key) or {}
        if "id" in entry:
            return str(entry["id"])
        if not is_alive(entry) and ledger.swap(JOB, order.key, entry, claim):
            break
        time.sleep(min(1.0, order.config.poll_s))
    try:
        job_id = tuner.find_job(order.key) or _create(order, tuner, ledger, pay)
    except BaseException:
        ledger.remove(JOB, order.key)
        raise
    ledger.put(JOB, order.key, {"id": job_id, **claim})
    return job_id


def _create(order: TrainingOrder, tuner: Tuner, ledger: Ledger, pay: Callable[[], None]) -> str:
    files = (*order.training, order.validation) if order.validation else order.training
    job = _make_job(order)
    tuner.check(files)
    tuner.check_job(job)
    pay()
    patience = _make_patience(order)
    ids = [_upload(file, tuner, patience) for file in files]
    weights = [weight for _, weight in job.training]
    training = tuple(zip(ids, weights, strict=False))  # the validation file's id comes last
    job = replace(job, training=training, validation=ids[-1] if order.validation else None)
    return patience.make(lambda: tuner.find_job(job.key), lambda: tuner.create(job))


def _make_job(order: TrainingOrder) -> TuningJob:
    """Return the job before its files are uploaded, with their names in place of their ids."""
    hyperparameter = order.hyperparameter
    return TuningJob(
        key=order.key,
        training=tuple((file.name, file.weight) for file in order.training),
        validation=order.validation.name if order.validation else None,
        n_epochs=hyperparameter.n_epochs,
        batch_size=hyperparameter.batch_size,
        learning_rate=hyperparameter.learning_rate,
        learning_rate_multiplier=hyperparameter.learning_rate_multiplier,
        training_steps=hyperparameter.training_steps,
        seed=hyperparameter.seed,
        suffix=order.config.suffix,
        integrations=tuple(order.config.integrations),
        options=order.config.options,
    )


def _upload(file: TrainingFile, tuner: Tuner, patience: Patience) -> str:
    """Return the id of a file with this content; upload it if the provider does not have it.

    The provider is asked each time, since files are deleted there and expire.
    """
    find, upload = partial(tuner.find_file, file.name), partial(tuner.upload, file)
    return patience.call(find) or patience.make(find, upload)


def _make_patience(order: TrainingOrder) -> Patience:
    return Patience(order.config.poll_s, time.sleep)


def _wait(job_id: str, tuner: Tuner, on_status: OnStatus, poll_s: float, patience: Patience) -> None:
    logged = 0
    while True:
        status = patience.call(lambda: tuner.status(job_id))
        logged = _log_events(job_id, tuner, logged)
        on_status(status)
        if status.state == "succeeded":
            return
        if status.state in ("failed", "cancelled", "paused"):
            raise RunnerError(
                f"fine-tuning job {job_id} {status.state}: {status.detail or 'no reason given'}"
            )
        time.sleep(poll_s)


def _log_events(job_id: str, tuner: Tuner, logged: int) -> int:
    """Log the events after the first ``logged``; return how many there are. A failure can wait."""
    try:
        events = tuner.events(job_id)
    except ProviderError as error:
        log.info("%s: no events: %s", job_id, error)
        return logged
    for event in events[logged:]:
        log.info("%s: %s", job_id, event)
    return max(logged, len(events))
