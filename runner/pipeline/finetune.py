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
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.errors import ConfigError, DataError, RunnerError
from runner.core.identity import digest
from runner.core.provider import Tuner
from runner.core.retry import pause
from runner.core.services import Checkpoint, TrainingFile, TuningJob, TuningStatus
from runner.core.types import Message
from runner.engine.claims import LostClaimError, confirm_claim, is_alive, make_claim
from runner.engine.ledger import Ledger

log = logging.getLogger(__name__)

FILE, JOB = "file", "job"
TRAINING_SETTINGS = (
    "n_epochs",
    "batch_size",
    "learning_rate",
    "learning_rate_multiplier",
    "training_steps",
    "seed",
)
"""The keys of the group ``hyperparameter`` that determine a fine-tuned model."""
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
        return digest(
            {
                "base": self.base,
                "training": [(file.name, file.weight) for file in self.training],
                "validation": self.validation.name if self.validation else None,
                "options": self.config.options,
                **{name: values[name] for name in TRAINING_SETTINGS},
            }
        )


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
    _wait(job_id, tuner, on_status, order.config.poll_s)
    return TrainingResult(job_id, tuner.curve(job_id), tuner.checkpoints(job_id))


def pick_model(checkpoint: Any, checkpoints: Sequence[Checkpoint]) -> str:
    """Return the model id of ``checkpoint``: a number from 1, ``last`` or None, or a model id itself.

    Raises :class:`ConfigError` for a number that the training does not have.
    """
    if checkpoint in (None, "last"):
        return checkpoints[-1].model
    text = str(checkpoint)
    if not text.isdigit():
        return text
    matches = [item.model for item in checkpoints if item.number == int(text)]
    if not matches:
        numbers = ", ".join(str(item.number) for item in checkpoints)
        raise ConfigError(f"checkpoint: {checkpoint} does not exist; this training has {numbers}")
    return matches[0]


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
    claim = make_claim(ledger)
    while not ledger.add(JOB, order.key, claim):
        entry = ledger.get(JOB, order.key) or {}
        if "id" in entry:
            return str(entry["id"])
        if entry and not is_alive(ledger, entry) and ledger.swap(JOB, order.key, entry, claim):
            break
        pause(min(1.0, order.config.poll_s))
    try:
        job_id = tuner.find_job(order.key) or _create(order, tuner, ledger, pay)
    except LostClaimError:
        return _create_once(order, tuner, ledger, pay)  # waits for the owner that took the claim over
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
    ids = [_upload(file, order.base, tuner, ledger) for file in files]
    pause(0)  # raises if the sweep was interrupted meanwhile
    confirm_claim(ledger, JOB, order.key)  # an upload can take longer than a lease
    weights = [weight for _, weight in job.training]
    training = tuple(zip(ids, weights, strict=False))  # the validation file's id comes last
    return tuner.create(replace(job, training=training, validation=ids[-1] if order.validation else None))


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


def _upload(file: TrainingFile, base: dict[str, Any], tuner: Tuner, ledger: Ledger) -> str:
    """Return the id of a file with this content; upload it if the provider does not have it."""
    account = {name: base.get(name) for name in ("provider", "base_url")}
    key = digest([account, file.name])
    file_id = ledger.get(FILE, key) or tuner.find_file(file.name) or tuner.upload(file)
    ledger.put(FILE, key, file_id)
    return str(file_id)


def _wait(job_id: str, tuner: Tuner, on_status: OnStatus, poll_s: float) -> None:
    logged = 0
    while True:
        status = tuner.status(job_id)
        events = tuner.events(job_id)
        for event in events[logged:]:
            log.info("%s: %s", job_id, event)
        logged = len(events)
        on_status(status)
        if status.state == "succeeded":
            return
        if status.state in ("failed", "cancelled", "paused"):
            raise RunnerError(
                f"fine-tuning job {job_id} {status.state}: {status.detail or 'no reason given'}"
            )
        pause(poll_s)
