"""Fine-tuning as part of a run: the model that a config names is made once, then found again.

    prepare ─ check ─ upload ─ create ─ poll ─ curve and checkpoints ─ serve

A job is addressed by what determines its model. The intent is in the ledger before the create call and the
id right after it; whoever comes between, or later, finds the job by its key and never makes a second one.
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
from typing import Any

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.digest import digest
from runner.core.errors import ConfigError, DataError, RunnerError
from runner.core.provider import Deployer, Provider, Tuner
from runner.core.services import Checkpoint, TrainingFile, TuningJob, TuningStatus
from runner.core.types import Message
from runner.engine.claims import is_alive, make_claim
from runner.engine.ledger import Ledger

log = logging.getLogger(__name__)

FILE, JOB, DEPLOYMENT = "file", "job", "deployment"
OnStatus = Callable[[TuningStatus], None]
"""Is told where a job stands."""


@dataclass(frozen=True)
class TrainingOrder:
    """All that determines a fine-tuned model."""

    base: dict[str, Any]
    training: tuple[TrainingFile, ...]
    validation: TrainingFile | None
    hyperparameter: HyperparameterConfig
    config: FinetuneConfig

    @property
    def key(self) -> str:
        """The digest by which the job is found in the ledger and at the provider."""
        given = asdict(self.hyperparameter)
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
                **{name: given[name] for name in names},
            }
        )


@dataclass(frozen=True)
class Tuned:
    """A finished job: its id, its training curve and its checkpoints."""

    job_id: str
    curve: dict[str, list[tuple[int, float]]]
    checkpoints: list[Checkpoint]


def train_once(
    order: TrainingOrder,
    tuner: Tuner,
    ledger: Ledger,
    on_status: OnStatus = lambda status: None,
    pay: Callable[[], None] = lambda: None,
) -> Tuned:
    """The finished job for an order, made if there is none yet. Blocks until it is finished.

    ``pay`` is called before anything is uploaded for a job that this process makes; it may raise.
    Raises :class:`RunnerError` with the provider's reason when the job failed or was cancelled.
    """
    known = ledger.get(JOB, order.key) or {}
    job_id = known.get("id") or _create_once(order, tuner, ledger, pay)
    _wait(job_id, tuner, on_status, order.config.poll_s)
    return Tuned(job_id, tuner.curve(job_id), tuner.checkpoints(job_id))


def pick_model(checkpoint: Any, checkpoints: Sequence[Checkpoint]) -> str:
    """The model id that ``checkpoint`` means: a number from 1, ``last``, or a model id itself."""
    if checkpoint in (None, "last"):
        return checkpoints[-1].model
    text = str(checkpoint)
    if not text.isdigit():
        return text
    found = [item.model for item in checkpoints if item.number == int(text)]
    if not found:
        numbers = ", ".join(str(item.number) for item in checkpoints)
        raise ConfigError(f"checkpoint: {checkpoint} is not there; this training has {numbers}")
    return found[0]


@contextmanager
def serve_model(
    model: str, tuner: Tuner, ledger: Ledger, is_needed: Callable[[Provider], bool] = lambda provider: True
) -> Iterator[Provider]:
    """A provider that answers as ``model``; where hosting is billed, only while the context is open.

    It is not hosted at all unless ``is_needed`` says that the provider has something to answer.
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
    """Deployments whose process is gone: each costs money by the hour until it is deleted."""
    return [name for name, claim in ledger.items(DEPLOYMENT) if not is_alive(claim, lease=False)]


def delete_leftovers(tuner: Deployer, ledger: Ledger) -> list[str]:
    """Delete what :func:`list_leftovers` lists and return it."""
    names = list_leftovers(ledger)
    for name in names:
        tuner.undeploy(name)
        ledger.remove(DEPLOYMENT, name)
        log.warning("deleted deployment %s, left over from a run that was killed", name)
    return names


def make_training_file(name: str, chats: Iterable[Sequence[Message]], weight: float = 1.0) -> TrainingFile:
    """Chats as a JSONL file; its name ends in a digest of the content, so equal files have equal names."""
    lines = [json.dumps({"messages": list(chat)}, ensure_ascii=False) for chat in chats]
    if not lines:
        raise DataError(f"training data {name}: no rows")
    content = ("\n".join(lines) + "\n").encode()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    mark = hashlib.sha256(content).hexdigest()[:16]
    return TrainingFile(f"{stem}-{mark}.jsonl", content, len(lines), weight)


def _create_once(order: TrainingOrder, tuner: Tuner, ledger: Ledger, pay: Callable[[], None]) -> str:
    """The id of the one job for this order: ours if the claim is ours, else the one that its owner makes."""
    claim = make_claim()
    while not ledger.add(JOB, order.key, claim):
        known = ledger.get(JOB, order.key) or {}
        if "id" in known:
            return str(known["id"])
        if not is_alive(known) and ledger.swap(JOB, order.key, known, claim):
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
    job = _job(order)
    tuner.check(files)
    tuner.check_job(job)
    pay()
    ids = [_upload(file, order.base, tuner, ledger) for file in files]
    weights = [weight for _, weight in job.training]
    training = tuple(zip(ids, weights, strict=False))  # the validation file's id comes last
    return tuner.create(replace(job, training=training, validation=ids[-1] if order.validation else None))


def _job(order: TrainingOrder) -> TuningJob:
    """The job before its files are uploaded: their names stand for their ids."""
    given = order.hyperparameter
    return TuningJob(
        key=order.key,
        training=tuple((file.name, file.weight) for file in order.training),
        validation=order.validation.name if order.validation else None,
        n_epochs=given.n_epochs,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        learning_rate_multiplier=given.learning_rate_multiplier,
        training_steps=given.training_steps,
        seed=given.seed,
        suffix=order.config.suffix,
        integrations=tuple(order.config.integrations),
        options=order.config.options,
    )


def _upload(file: TrainingFile, base: dict[str, Any], tuner: Tuner, ledger: Ledger) -> str:
    """The id of a file with this content, uploaded unless it is there."""
    account = {name: base.get(name) for name in ("provider", "base_url")}
    key = digest([account, file.name])
    file_id = ledger.get(FILE, key) or tuner.find_file(file.name) or tuner.upload(file)
    ledger.put(FILE, key, file_id)
    return str(file_id)


def _wait(job_id: str, tuner: Tuner, on_status: OnStatus, poll_s: float) -> None:
    said = 0
    while True:
        status = tuner.status(job_id)
        events = tuner.events(job_id)
        for event in events[said:]:
            log.info("%s: %s", job_id, event)
        said = len(events)
        on_status(status)
        if status.state == "succeeded":
            return
        if status.state in ("failed", "cancelled", "paused"):
            raise RunnerError(
                f"fine-tuning job {job_id} {status.state}: {status.detail or 'no reason given'}"
            )
        time.sleep(poll_s)
