"""The model that a config names: the provider's own, another one by its id, or a fine-tuned one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from runner.config.dataset_schema import DatasetConfig
from runner.core.errors import ConfigError, DataError, note_calls
from runner.core.identity import read_identity
from runner.core.provider import Deployer, Provider
from runner.core.services import TrainingFile
from runner.data import dataset
from runner.engine.ledger import Ledger
from runner.experiment.plan import Plan, make_provider
from runner.experiment.spending import Spending
from runner.money.forecast import estimate_training_tokens
from runner.money.prices import Price
from runner.pipeline import finetune, jobs
from runner.pipeline.answer import Responder, needs_answers
from runner.pipeline.finetune import TrainingOrder, make_training_file
from runner.pipeline.jobs import OnStatus
from runner.pipeline.shots import refuse_leakage


@dataclass(frozen=True)
class Model:
    """The evaluated model, and how it was trained, if it was."""

    provider: Provider | None = None
    """The provider that answers, if nothing was trained."""
    tuned: str | None = None
    """The id of the trained model that answers, if one was."""
    stage: str = "base"
    params: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] | None = None
    """The identity of the model that was trained."""
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)


def prepare_model(
    plan: Plan,
    evaluated: pl.DataFrame,
    ledger: Ledger,
    on_status: OnStatus,
    spending: Spending,
    command: str = "",
) -> Model:
    """Return the model of a plan; train it first if it does not exist yet. Blocks until it is trained.

    ``command`` is what the points of a sweep share, see :func:`runner.pipeline.jobs.train_once`.
    """
    checkpoint = plan.config.checkpoint
    if plan.tuner is None or checkpoint == "base":
        return Model(find_existing_provider(plan, checkpoint))
    if isinstance(plan.tuner, Deployer):
        finetune.delete_leftovers(plan.tuner, ledger)
    order = make_order(plan, evaluated)
    with spending.open_bill(order, find_tuned_price(plan), count_training_tokens(plan, order)) as bill:
        tuned = jobs.train_once(order, plan.tuner, ledger, bill.watch(on_status), bill.pay, command)
    with note_calls():
        model = finetune.pick_model(checkpoint, tuned.checkpoints)
    replaced = {"finetune_replaced": "; ".join(tuned.replaced)} if tuned.replaced else {}
    return Model(
        tuned=model,
        stage="fine-tuned" if model == tuned.checkpoints[-1].model else "checkpoint",
        params={"finetune_job": tuned.job_id, "finetune_key": order.key, **replaced},
        base=order.base,
        curves=tuned.curve,
        checkpoints=[
            {"number": item.number, "step": item.step, "model": item.model, "evaluated": item.model == model}
            for item in tuned.checkpoints
        ],
    )


@contextmanager
def serve_model(
    plan: Plan, model: Model, evaluated: pl.DataFrame, ledger: Ledger, spending: Spending
) -> Iterator[Responder]:
    """Yield the plan's responder with a provider that answers as the model.

    ``evaluated`` holds the rendered chats. A model that is hosted by the hour is deployed only if the ledger
    lacks the answer to one of them.
    """
    if model.provider is not None:
        yield replace(plan.responder, provider=model.provider)
        return
    tuner = plan.tuner
    assert tuner is not None
    assert model.tuned is not None

    def is_needed(provider: Provider) -> bool:
        needed = needs_answers(evaluated, replace(plan.responder, provider=provider), ledger)
        if needed and isinstance(tuner, Deployer):
            spending.start_hosting(_find_hourly_price(plan, tuner))
        return needed

    try:
        with finetune.serve_model(model.tuned, tuner, ledger, is_needed) as provider:
            yield replace(plan.responder, provider=provider)
    finally:
        spending.end_hosting()


def _find_hourly_price(plan: Plan, deployer: Deployer) -> float | None:
    price = find_tuned_price(plan)
    return 0.0 if not deployer.bills_hosting() else price.hosting_per_hour if price else None


def find_existing_provider(plan: Plan, checkpoint: object) -> Provider:
    """Return the provider of the config, with the model that ``checkpoint`` names if it is a model id."""
    if checkpoint in (None, "base"):
        return plan.responder.provider
    if checkpoint == "last" or str(checkpoint).isdigit():
        raise ConfigError(f"checkpoint: {checkpoint} needs fine-tuning; set finetune=supervised")
    return make_provider({**plan.config.provider, "model": str(checkpoint)})


def find_tuned_price(plan: Plan) -> Price | None:
    """Return the price of the fine-tuned model and of its training, or None."""
    return plan.responder.book.find_tuned_price(plan.responder.provider)


def count_training_tokens(plan: Plan, order: TrainingOrder) -> float:
    """Estimate the tokens that a training bills, over all epochs."""
    epochs = order.hyperparameter.n_epochs
    if epochs is None:
        assert plan.tuner is not None
        epochs = plan.tuner.default_epochs(sum(file.rows for file in order.training))
    return estimate_training_tokens(order.training, epochs)


def make_order(plan: Plan, evaluated: pl.DataFrame) -> TrainingOrder:
    """Return the training that a plan asks for.

    Raises :class:`DataError` if there are no training rows, and a ``LeakageError`` if evaluated rows are
    among them.
    """
    config = plan.config
    main_dataset = config.finetune.dataset or config.dataset
    files = []
    for name, data in {"dataset": main_dataset, **config.finetune.extra}.items():
        file = _make_file(plan, data, data.split.train, evaluated, f"finetune.{name}")
        if file is None:
            raise DataError(
                f"finetune.{name}: no row belongs to the split {data.split.train!r}, which is trained on; "
                f"finetune.{name}.split.train names another (rows of a file without splits belong to "
                f"{data.split.evaluate!r})"
            )
        files.append(replace(file, weight=config.finetune.weights.get(name, 1.0)))
    validation = _make_file(plan, main_dataset, main_dataset.split.validation, evaluated, "finetune.dataset")
    base = read_identity(plan.responder.provider)
    return TrainingOrder(base, tuple(files), validation, config.hyperparameter, config.finetune)


def _make_file(
    plan: Plan, data: DatasetConfig, split: str | None, evaluated: pl.DataFrame, key: str
) -> TrainingFile | None:
    """Return the chats of one split as a training file, or None if it has no rows; refuse evaluated rows."""
    if not split:
        return None
    rows = dataset.load_rows(data, key, evaluated=False)
    frame = rows.filter(pl.col("split") == split)
    if frame.is_empty():
        return None
    prompt = plan.responder.prompt
    prompt.check(frame.columns)
    if not plan.config.finetune.memorize:
        same = data.name == plan.config.dataset.name
        refuse_leakage(evaluated, frame, prompt, what="training rows", by_id=same)
    chats = (prompt.render_training_chat(row) for row in frame.iter_rows(named=True))
    return make_training_file(f"{data.name}-{split}", chats)
