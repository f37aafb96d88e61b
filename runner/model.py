"""The model that a config names: the provider's own, one by its id, or one that fine-tuning makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import polars as pl

from runner import dataset, finetune, shots
from runner.build import Plan, build
from runner.errors import ConfigError
from runner.ledger import Ledger
from runner.record import Record
from runner.respond import Responder
from runner.schema import DatasetConfig
from runner.training import training_file
from runner.types import Deployer, Provider, TrainingFile, Tuner, TuningStatus

Report = Callable[[TuningStatus], None]


@contextmanager
def responder(
    plan: Plan, evaluated: pl.DataFrame, ledger: Ledger, record: Record, report: Report
) -> Iterator[Responder]:
    """The plan's responder with the model that is evaluated, trained first if it does not exist yet."""
    with _provider(plan, evaluated, ledger, record, report) as provider:
        record.tags["model"] = provider.model
        yield replace(plan.responder, provider=provider)


@contextmanager
def _provider(
    plan: Plan, evaluated: pl.DataFrame, ledger: Ledger, record: Record, report: Report
) -> Iterator[Provider]:
    checkpoint = plan.config.checkpoint
    if plan.tuner is None or checkpoint == "base":
        yield _untrained(plan, checkpoint)
        return
    if isinstance(plan.tuner, Deployer):
        finetune.clean_up(plan.tuner, ledger)
    tuned = finetune.tune(_order(plan, plan.tuner, evaluated), plan.tuner, ledger, report)
    model = finetune.pick(checkpoint, tuned.checkpoints)
    last = model == tuned.checkpoints[-1].model
    record.tags["stage"] = "fine-tuned" if last else "checkpoint"
    record.params["finetune_job"] = tuned.job_id
    record.curves |= tuned.curve
    record.models = [
        {"number": item.number, "step": item.step, "model": item.model, "evaluated": item.model == model}
        for item in tuned.checkpoints
    ]
    with finetune.serving(model, plan.tuner, ledger) as provider:
        yield provider


def _untrained(plan: Plan, checkpoint: object) -> Provider:
    if checkpoint in (None, "base"):
        return plan.responder.provider
    if checkpoint == "last" or str(checkpoint).isdigit():
        raise ConfigError(f"checkpoint: {checkpoint} needs fine-tuning; set finetune=supervised")
    provider: Provider = build({**plan.config.provider, "model": str(checkpoint)}, "provider")
    return provider


def _order(plan: Plan, tuner: Tuner, evaluated: pl.DataFrame) -> finetune.Order:
    config = plan.config
    own = config.finetune.dataset or config.dataset
    files = tuple(
        _file(plan, data, data.split.train, evaluated, f"finetune.{key}")
        for key, data in {"dataset": own, **config.finetune.extra}.items()
    )
    watched = own.split.validation
    validation = _file(plan, own, watched, evaluated, "finetune.dataset") if watched else None
    files_weighted = tuple(
        replace(file, weight=config.finetune.weights.get(name, 1.0))
        for name, file in zip(["dataset", *config.finetune.extra], files, strict=True)
    )
    base = dict(plan.responder.provider.identity())
    return finetune.Order(base, files_weighted, validation, config.hyperparameter, config.finetune)


def _file(plan: Plan, data: DatasetConfig, split: str, evaluated: pl.DataFrame, key: str) -> TrainingFile:
    """The chats of one split as a training file, refused if it holds what is evaluated."""
    frame = dataset.load(data, key).filter(pl.col("split") == split)
    prompt = plan.responder.prompt
    prompt.check(frame.columns)
    if not plan.config.finetune.memorize:
        same = data.name == plan.config.dataset.name
        shots.refuse_leakage(evaluated, frame, prompt, what="training rows", by_id=same)
    chats = (prompt.training(row) for row in frame.iter_rows(named=True))
    return training_file(f"{data.name}-{split}", chats)
