"""The model that a config names: the provider's own, another one by its id, or a fine-tuned one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from runner.config.dataset_schema import DatasetConfig
from runner.core.errors import ConfigError, DataError, note_calls, suggest
from runner.core.identity import digest, read_identity
from runner.core.provider import Deployer, Provider
from runner.core.services import TrainingFile
from runner.data import dataset
from runner.engine.ledger import Ledger
from runner.experiment.plan import Plan, make_provider
from runner.experiment.spending import Spending
from runner.money.forecast import estimate_training_tokens
from runner.money.price import Price
from runner.pipeline import finetune, hosting, jobs
from runner.pipeline.answer import Responder, needs_answers
from runner.pipeline.checkpoint import check_place, pick_model, read_place
from runner.pipeline.finetune import TrainingOrder, make_training_file
from runner.pipeline.gold import check_turns
from runner.pipeline.jobs import OnStatus
from runner.pipeline.keeping import FindModel, Need, PointKeeper
from runner.pipeline.repeats import take_first
from runner.pipeline.shots import refuse_leakage

log = logging.getLogger(__name__)


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
    find: FindModel | None = None
    """From another checkpoint of the same training to its model."""
    warnings: list[str] = field(default_factory=list)
    """What somebody must do something about, such as deployments that could not be deleted."""


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
    warnings: list[str] = []
    if isinstance(plan.tuner, Deployer):
        warnings = _delete_leftovers(plan, plan.tuner, ledger)
    order = make_order(plan, evaluated)
    if not jobs.has_job(order, ledger):
        check_checkpoint(plan)
    tokens, hosted = count_training_tokens(plan, order), price_hosting(plan) or 0.0
    with spending.open_bill(order, find_tuned_price(plan), tokens, hosted) as bill:
        tuned = jobs.train_once(order, plan.tuner, ledger, bill.watch(on_status), bill.pay, command)
    with note_calls():
        model = pick_model(checkpoint, tuned.checkpoints)
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
        find=lambda name: pick_model(name, tuned.checkpoints),
        warnings=warnings,
    )


def _delete_leftovers(plan: Plan, tuner: Deployer, ledger: Ledger) -> list[str]:
    """Delete what killed runs left; return what to say of deployments that could not be deleted."""
    found = hosting.delete_leftovers(tuner, ledger, hurried=True)
    for name in [name for name, reason in found.items() if reason is None]:
        log.warning("deleted deployment %s, left over from a run that was killed", name)
    reasons = {name: reason for name, reason in found.items() if reason}
    return hosting.say_leftovers(hosting.Bill(find_hourly_price(plan), leftovers=reasons))


@contextmanager
def serve_model(
    plan: Plan,
    model: Model,
    evaluated: pl.DataFrame,
    ledger: Ledger,
    spending: Spending,
    keeper: PointKeeper | None = None,
) -> Iterator[Responder]:
    """Yield the plan's responder with a provider that answers as the model.

    ``evaluated`` holds the rendered chats. A model that is hosted by the hour is deployed only if the ledger
    lacks the answer to one of them. ``model.warnings`` then has the deployments that could not be deleted.
    """
    if model.provider is not None:
        yield replace(plan.responder, provider=model.provider)
        return
    tuner = plan.tuner
    assert tuner is not None
    assert model.tuned is not None
    bill = hosting.Bill(find_hourly_price(plan))

    def is_needed(provider: Provider) -> bool:
        return needs_answers(evaluated, replace(plan.responder, provider=provider), ledger)

    try:
        with hosting.serve_model(
            model.tuned,
            tuner,
            ledger,
            is_needed,
            bill,
            keeper,
            lambda: spending.reserve_hosting(find_minutes(plan), price_hosting(plan) or 0.0),
        ) as provider:
            yield replace(plan.responder, provider=provider)
    finally:
        spending.pay_hosting(bill.hours, bill.usd_per_hour)
        model.warnings.extend(hosting.say_leftovers(bill))


def find_hourly_price(plan: Plan) -> float | None:
    """Return the dollars for an hour of hosting the trained model; 0: it costs nothing, None: unknown."""
    return plan.responder.book.find_hourly_price(plan.responder.provider, plan.tuner)


def find_minutes(plan: Plan) -> float:
    """Return how long a deployment is taken to stand (``provider.deployment.minutes``)."""
    return float(getattr(plan.tuner, "minutes", 0.0))


def price_hosting(plan: Plan) -> float | None:
    """Return the dollars that a deployment of the trained model is taken to cost; None: unknown."""
    per_hour = find_hourly_price(plan)
    return None if per_hour is None else per_hour * find_minutes(plan) / 60


def find_need(config: Mapping[str, Any]) -> Need | None:
    """Return which model a point of a sweep may need a deployment of; None if it trains nothing.

    ``config`` is the composed config as plain data. Equal needs are of the same model.
    """
    finetuning, checkpoint = config["finetune"], config["checkpoint"]
    if finetuning["name"] == "none" or checkpoint == "base":
        return None
    rows = None if finetuning["dataset"] else config["dataset"]
    settings = {name: config["hyperparameter"][name] for name in finetune.TRAINING_SETTINGS}
    parts = [finetuning, rows, config["provider"], config["prompt"], settings]
    return Need(digest(parts), checkpoint)


def find_existing_provider(plan: Plan, checkpoint: object) -> Provider:
    """Return the provider of the config, with the model that ``checkpoint`` names if it is a model id."""
    if checkpoint in (None, "base"):
        return plan.responder.provider
    if read_place(checkpoint) is not None:
        raise ConfigError(f"checkpoint: {checkpoint} needs fine-tuning; set finetune=supervised")
    return make_provider({**plan.config.provider, "model": str(checkpoint)})


def check_checkpoint(plan: Plan) -> None:
    """Raise :class:`ConfigError` for a checkpoint that the training of a plan is known not to have."""
    assert plan.tuner is not None
    check_place(plan.config.checkpoint, count_epochs(plan), plan.tuner.kept, plan.responder.provider.name)


def check_training(plan: Plan, evaluated: pl.DataFrame, ledger: Ledger, seen: set[str]) -> None:
    """Refuse a training that could not be made: its rows, its settings, a library that it needs.

    One that the ledger knows needs none of these. ``seen`` holds the keys of those that passed.
    """
    assert plan.tuner is not None
    order = make_order(plan, evaluated)
    if jobs.has_job(order, ledger):
        return
    check_checkpoint(plan)
    if order.key not in seen:
        finetune.check_order(order, plan.tuner)
        seen.add(order.key)


def count_epochs(plan: Plan) -> int | None:
    """Return the epochs of a plan's training as far as the config says: None where the service chooses."""
    given = plan.config.hyperparameter
    return None if given.training_steps else given.n_epochs


def find_tuned_price(plan: Plan) -> Price | None:
    """Return the price of the fine-tuned model and of its training, or None."""
    return plan.responder.book.find_tuned_price(plan.responder.provider)


def count_training_tokens(plan: Plan, order: TrainingOrder) -> float:
    """Estimate the tokens that a training bills, over all epochs."""
    epochs = order.hyperparameter.n_epochs
    if epochs is None:
        assert plan.tuner is not None
        epochs = plan.tuner.default_epochs(sum(file.rows for file in order.training))
    tokens = estimate_training_tokens(order.training, epochs)
    count_evals = getattr(plan.tuner, "count_evals", None)  # only some services bill the validation file
    if order.validation and count_evals:
        tokens += estimate_training_tokens((order.validation,), count_evals(order.config.options, epochs))
    return tokens


def make_order(plan: Plan, evaluated: pl.DataFrame) -> TrainingOrder:
    """Return the training that a plan asks for.

    Raises :class:`DataError` if there are no training rows, and a ``LeakageError`` if evaluated rows are
    among them.
    """
    config, evaluated = plan.config, take_first(evaluated)
    main_dataset = config.finetune.dataset or config.dataset
    trained, files = {"dataset": main_dataset, **config.finetune.extra}, []
    for name in config.finetune.weights.keys() - trained.keys():
        raise ConfigError(f"finetune.weights.{name}: no such training file{suggest(name, trained)}")
    for name, data in trained.items():
        key = "finetune.dataset" if data is main_dataset else f"finetune.extra.{name}"
        file = _make_file(plan, data, data.split.train, evaluated, key)
        if file is None:
            raise DataError(
                f"{key}: no row belongs to the split {data.split.train!r}, which is trained on; "
                f"{key}.split.train names another (rows of a file without splits belong to "
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
    limited = data is not plan.config.dataset and split == data.split.train
    frame = dataset.load_training_rows(data, split, key, limited)
    if frame.is_empty():
        return None
    prompt = plan.responder.prompt
    prompt.check(frame.columns)
    if not plan.config.finetune.memorize:
        same = data.name == plan.config.dataset.name
        refuse_leakage(evaluated, frame, prompt, what="training rows", by_id=same)
    responder = plan.responder
    tags, is_judged = responder.provider.thinking_tags, plan.panel is not None
    check_turns(frame, prompt, responder.parser, "training row", tags, is_judged)
    chats = (prompt.render_training_chat(row) for row in frame.iter_rows(named=True))
    return make_training_file(f"{data.name}-{split}", chats)
