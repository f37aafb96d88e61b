"""Fine-tuning as part of a run: what determines a model, its training files, and serving it.

    prepare ─ check ─ upload ─ create ─ poll ─ curve and checkpoints ─ serve

:mod:`runner.pipeline.jobs` makes each job once and waits for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from runner.config.schema import FinetuneConfig, HyperparameterConfig
from runner.core.errors import DataError
from runner.core.identity import digest
from runner.core.provider import Tuner
from runner.core.retry import Patience, pause
from runner.core.services import Schedule, TrainingFile, TuningJob
from runner.core.types import Message

log = logging.getLogger(__name__)

TRAINING_SETTINGS = (
    "n_epochs",
    "batch_size",
    "learning_rate",
    "learning_rate_multiplier",
    "training_steps",
    "seed",
)
"""The keys of the group ``hyperparameter`` that determine a fine-tuned model."""
ASKED = ("options", "thinking", "gpu_layers")
"""What is in a model's identity because it changes answers, and changes no training."""
Pay = Callable[[float | None], None]
"""Called with the dollars that the service asks for a job, None if it did not say; may raise to stop it."""


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
                "base": {name: value for name, value in self.base.items() if name not in ASKED},
                "training": [(file.name, file.weight) for file in self.training],
                "validation": self.validation.name if self.validation else None,
                "options": self.config.options,
                **{name: values[name] for name in TRAINING_SETTINGS},
            }
        )

    @property
    def schedule(self) -> Schedule:
        """What tells the epochs of steps, as far as the order says it."""
        given, weighted = self.hyperparameter, any(file.weight != 1 for file in self.training)
        rows = None if weighted else sum(file.rows for file in self.training)
        return Schedule(rows, given.batch_size, None if given.training_steps else given.n_epochs)


def make_training_file(name: str, chats: Iterable[Sequence[Message]]) -> TrainingFile:
    """Write chats as a JSONL file in memory; its name ends in a digest, so equal files have equal names."""
    lines = [json.dumps({"messages": list(chat)}, ensure_ascii=False) for chat in chats]
    if not lines:
        raise DataError(f"training data {name}: there are no rows")
    content = ("\n".join(lines) + "\n").encode()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    content_digest = hashlib.sha256(content).hexdigest()[:16]
    return TrainingFile(f"{stem}-{content_digest}.jsonl", content, len(lines))


def create_job(
    key: str,
    order: TrainingOrder,
    tuner: Tuner,
    pay: Pay,
    confirm: Callable[[], None] = lambda: None,
) -> str:
    """Check, pay, upload and create the job of an order under this key; return its id.

    ``pay`` is called before the upload, and once more with the service's own price where it tells one.
    ``confirm`` is called before the job is created, after the uploads, which can take longer than a lease.
    """
    files, job = _list_files(order), _make_job(key, order)
    check_order(order, tuner)
    getattr(tuner, "check_hosting", lambda: None)()
    pay(None)
    patience = make_patience(order)
    ids = [_upload(file, tuner, patience) for file in files]
    pause(0)  # raises if the sweep was interrupted meanwhile
    weights = [weight for _, weight in job.training]
    training = tuple(zip(ids, weights, strict=False))  # the validation file's id comes last
    job = replace(job, training=training, validation=ids[-1] if order.validation else None)
    if quote := getattr(tuner, "quote", None):
        pay(patience.call(lambda: quote(job)))

    def create() -> str:
        confirm()
        return tuner.create(job)

    return patience.make(lambda: tuner.find_job(job.key), create)


def check_order(order: TrainingOrder, tuner: Tuner) -> None:
    """Raise :class:`RunnerError` for rows and settings that the service or the trainer would refuse."""
    tuner.check(_list_files(order))
    tuner.check_job(_make_job(order.key, order))


def _list_files(order: TrainingOrder) -> tuple[TrainingFile, ...]:
    return (*order.training, order.validation) if order.validation else order.training


def _make_job(key: str, order: TrainingOrder) -> TuningJob:
    """Return the job before its files are uploaded, with their names in place of their ids."""
    hyperparameter = order.hyperparameter
    return TuningJob(
        key=key,
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
    find = partial(tuner.find_file, file.name)
    return patience.call(find) or patience.make(find, lambda: tuner.upload(file))


def make_patience(order: TrainingOrder) -> Patience:
    """The patience for calls about a job of this order."""
    return Patience(order.config.poll_s, pause)
