"""Fine-tuning as part of a run: what determines a model, its training files, and serving it.

    prepare ─ check ─ upload ─ create ─ poll ─ curve and checkpoints ─ serve

:mod:`runner.pipeline.jobs` makes each job once and waits for it.
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
from runner.core.errors import ConfigError, DataError
from runner.core.identity import digest
from runner.core.provider import Deployer, Provider, Tuner
from runner.core.services import Checkpoint, TrainingFile, TuningJob
from runner.core.types import Message
from runner.engine.claims import is_alive, make_claim
from runner.engine.ledger import Ledger

log = logging.getLogger(__name__)

FILE, DEPLOYMENT = "file", "deployment"


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


def create_job(key: str, order: TrainingOrder, tuner: Tuner, ledger: Ledger, pay: Callable[[], None]) -> str:
    """Check, pay, upload and create the job of an order under this key; return its id."""
    files = (*order.training, order.validation) if order.validation else order.training
    job = _make_job(key, order)
    tuner.check(files)
    tuner.check_job(job)
    pay()
    ids = [_upload(file, order.base, tuner, ledger) for file in files]
    weights = [weight for _, weight in job.training]
    training = tuple(zip(ids, weights, strict=False))  # the validation file's id comes last
    return tuner.create(replace(job, training=training, validation=ids[-1] if order.validation else None))


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


def _upload(file: TrainingFile, base: dict[str, Any], tuner: Tuner, ledger: Ledger) -> str:
    """Return the id of a file with this content; upload it if the provider does not have it."""
    account = {name: base.get(name) for name in ("provider", "base_url")}
    key = digest([account, file.name])
    file_id = ledger.get(FILE, key) or tuner.find_file(file.name) or tuner.upload(file)
    ledger.put(FILE, key, file_id)
    return str(file_id)
