"""The model that a config names: the provider's own, one by its id, or one that fine-tuning makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import polars as pl

from runner.config.dataset_schema import DatasetConfig
from runner.core.errors import ConfigError, DataError
from runner.core.provider import Deployer, Provider
from runner.core.services import TrainingFile, TuningStatus
from runner.data import dataset
from runner.engine.ledger import Ledger
from runner.experiment.plan import Plan, build
from runner.experiment.spending import Spending
from runner.money.prices import Price
from runner.pipeline import finetune, respond, shots
from runner.pipeline.respond import Responder
from runner.pipeline.training import training_file
from runner.records.record import Record

Report = Callable[[TuningStatus], None]


@contextmanager
def responder(
    plan: Plan, frame: pl.DataFrame, ledger: Ledger, record: Record, report: Report, spending: Spending
) -> Iterator[Responder]:
    """The plan's responder with the model that is evaluated, trained first if it does not exist yet.

    ``frame`` holds the rendered chats of the evaluated rows; a model that is hosted by the hour is hosted
    only if the ledger lacks an answer to one of them.
    """
    with _provider(plan, frame, ledger, record, report, spending) as provider:
        record.identities["model"] = dict(provider.identity())
        if plan.judge:
            record.identities["judge"] = dict(plan.judge.provider.identity())
        record.tags["model"] = str(record.identities["model"].get("model") or provider.model)
        yield replace(plan.responder, provider=provider)


@contextmanager
def _provider(
    plan: Plan, evaluated: pl.DataFrame, ledger: Ledger, record: Record, report: Report, spending: Spending
) -> Iterator[Provider]:
    checkpoint = plan.config.checkpoint
    if plan.tuner is None or checkpoint == "base":
        yield untrained(plan, checkpoint)
        return
    if isinstance(plan.tuner, Deployer):
        finetune.clean_up(plan.tuner, ledger)
    wanted = order(plan, evaluated)
    with spending.training(wanted, price(plan)) as bill:
        tuned = finetune.tune(wanted, plan.tuner, ledger, bill.watching(report), bill.pay)
    model = finetune.pick(checkpoint, tuned.checkpoints)
    last = model == tuned.checkpoints[-1].model
    record.tags["stage"] = "fine-tuned" if last else "checkpoint"
    record.params |= {"finetune_job": tuned.job_id, "finetune_key": wanted.key}
    record.identities["base"] = wanted.base
    record.curves |= tuned.curve
    record.models = [
        {"number": item.number, "step": item.step, "model": item.model, "evaluated": item.model == model}
        for item in tuned.checkpoints
    ]

    def unanswered(provider: Provider) -> bool:
        hosted = respond.unanswered(evaluated, replace(plan.responder, provider=provider), ledger)
        if hosted:
            spending.start_hosting(plan.responder.provider, price(plan))
        return hosted

    try:
        with finetune.serving(model, plan.tuner, ledger, unanswered) as provider:
            yield provider
    finally:
        spending.end_hosting()


def untrained(plan: Plan, checkpoint: object) -> Provider:
    """The provider as the config has it, or another model of it by its id."""
    if checkpoint in (None, "base"):
        return plan.responder.provider
    if checkpoint == "last" or str(checkpoint).isdigit():
        raise ConfigError(f"checkpoint: {checkpoint} needs fine-tuning; set finetune=supervised")
    provider: Provider = build({**plan.config.provider, "model": str(checkpoint)}, "provider")
    return provider


def price(plan: Plan) -> Price | None:
    """The price of the model that fine-tuning makes, and of making it."""
    provider = plan.responder.provider
    return plan.responder.book.tuned(provider.name, getattr(provider, "priced_as", None) or provider.model)


def order(plan: Plan, evaluated: pl.DataFrame) -> finetune.Order:
    """The training that a plan asks for; refused where it would show what is evaluated."""
    config = plan.config
    own = config.finetune.dataset or config.dataset
    files = []
    for name, data in {"dataset": own, **config.finetune.extra}.items():
        file = _file(plan, data, data.split.train, evaluated, f"finetune.{name}")
        if file is None:
            raise DataError(f"finetune.{name}: no row is in the split {data.split.train!r} to train on")
        files.append(replace(file, weight=config.finetune.weights.get(name, 1.0)))
    validation = _file(plan, own, own.split.validation, evaluated, "finetune.dataset")
    base = dict(plan.responder.provider.identity())
    return finetune.Order(base, tuple(files), validation, config.hyperparameter, config.finetune)


def _file(
    plan: Plan, data: DatasetConfig, split: str | None, evaluated: pl.DataFrame, key: str
) -> TrainingFile | None:
    """The chats of one split as a training file, refused if it holds what is evaluated; None without rows."""
    frame = dataset.load_rows(data, key).filter(pl.col("split") == split) if split else pl.DataFrame()
    if frame.is_empty():
        return None
    prompt = plan.responder.prompt
    prompt.check(frame.columns)
    if not plan.config.finetune.memorize:
        same = data.name == plan.config.dataset.name
        shots.refuse_leakage(evaluated, frame, prompt, what="training rows", by_id=same)
    chats = (prompt.training(row) for row in frame.iter_rows(named=True))
    return training_file(f"{data.name}-{split}", chats)
