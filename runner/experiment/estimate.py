"""``runner estimate``: what a run or a sweep would cost, before it is paid and without a call or a key.

Everything is rendered as a run would; what the ledger holds, and what an earlier point of the sweep would
buy, is left out. Answers that are not there yet are bounded: one token, or as many as stored answers of the
same prompt have in the middle, up to ``max_tokens``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
from omegaconf import DictConfig

from runner.cli import estimate as estimate_table
from runner.config import hydra_job
from runner.core.digest import digest
from runner.engine import ask
from runner.engine.ledger import Ledger
from runner.experiment import model, run
from runner.experiment import plan as build
from runner.experiment.workload import Caller, Stock, Untrained, Work
from runner.money import forecast
from runner.money.prices import MILLION, Price
from runner.pipeline import finetune, judge, respond
from runner.providers.local import weights
from runner.records.record import Record


@dataclass(frozen=True)
class Point:
    """A run, or a point of a sweep."""

    name: str
    overrides: list[str]
    rows: int
    answers: Work
    judgments: Work | None = None
    trained: float = 0.0
    """Tokens that a training would bill, all epochs counted."""
    training_usd: float | None = 0.0
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    """By provider and model, None where it is not known."""
    batch: bool = False

    @property
    def minutes(self) -> float:
        """Minutes that the calls take at least, where a pace is set."""
        return sum(work.minutes for work in (self.answers, self.judgments) if work)

    @property
    def usd(self) -> tuple[float | None, float | None]:
        """Dollars in all, low and high."""
        works = [self.answers, self.judgments or Work()]
        low, high = ([work.usd[side] for work in works] for side in (0, 1))
        return _sum(*low, self.training_usd), _sum(*high, self.training_usd)


points: list[Point] = []
_seen: set[str] = set()


def estimate(config: DictConfig) -> None:
    """Survey one point; :func:`finish` shows all of them."""
    with weights.at_hand_only():
        plan = build.plan(config, asks=False)
        points.append(survey(plan, _seen, hydra_job.get_overrides()))


def finish() -> None:
    """Print what was surveyed, if anything."""
    if points:
        estimate_table.show(points)
    points.clear()
    _seen.clear()


def survey(plan: build.Plan, seen: set[str], overrides: Sequence[str] = ()) -> Point:
    """What a plan would buy. ``seen`` holds the keys of what earlier points buy, and is added to."""
    with closing(Ledger(plan.config.ledger.url)) as ledger:
        record = Record("", plan.config.name)  # of which nothing is kept
        frame = run.ask(plan, run.load(plan, record), record)
        run.rehearse(plan, frame, ledger)
        caller, trained, training_usd = _model(plan, frame, ledger, seen)
        stock = caller.stock(frame, ledger)
        answers = caller.work(stock, seen)
        judgments = _judgments(plan, frame, caller, stock, ledger, seen)
    callers = [caller, *([Caller.of(plan.judge)] if plan.judge else [])]
    return Point(
        name=plan.config.name,
        overrides=list(overrides),
        rows=frame.height,
        answers=answers,
        judgments=judgments,
        trained=trained,
        training_usd=training_usd,
        prices={f"{a.provider.name}/{a.provider.model}": a.price for a in callers},
        batch=any(a.batch for a in callers),
    )


def _model(
    plan: build.Plan, frame: pl.DataFrame, ledger: Ledger, seen: set[str]
) -> tuple[Caller, float, float | None]:
    """Who would answer, and the tokens and dollars of the training that makes it."""
    checkpoint = plan.config.checkpoint
    if plan.tuner is None or checkpoint == "base":
        return Caller.of(replace(plan.responder, provider=model.untrained(plan, checkpoint))), 0.0, 0.0
    order, price = model.order(plan, frame), model.price(plan)
    provider = Untrained(plan.responder.provider, order.key, checkpoint)
    caller = Caller(replace(plan.responder, provider=provider), price)
    if order.key in seen or "id" in (ledger.get(finetune.JOB, order.key) or {}):
        return caller, 0.0, 0.0
    seen.add(order.key)
    trained = forecast.estimate_training_tokens(order.training, order.hyperparameter.n_epochs)
    each = None if price is None or price.training is None else price.training / MILLION
    return caller, trained, None if each is None else each * trained


def _judgments(
    plan: build.Plan, frame: pl.DataFrame, caller: Caller, stock: Stock, ledger: Ledger, seen: set[str]
) -> Work | None:
    """The judge's calls: exact for stored answers, bounded for those that are still to come."""
    if plan.judge is None or plan.config.judge is None:
        return None
    asking, sides = Caller.of(plan.judge), plan.config.judge.both_orders
    keys = pl.Series("answer", caller.keys(frame))
    there = keys.is_in(list(stock.known))
    missing = forecast.mark_answers(frame.with_columns(keys).filter(~there))
    plan.judge.prompt.check([*missing.columns, "first", "second"], "judge.prompt")
    coming = judge.questions(missing, plan.judge, sides)
    chats = {
        digest([dict(asking.provider.identity()), ask.given(plan.judge.sampling), chat, answer]): chat
        for chat, answer in zip(coming["judge_messages"].to_list(), coming["answer"].to_list(), strict=True)
    }
    known: Mapping[str, Any] = {}
    if there.any():
        answered = run.answer(caller.responder, frame.filter(there), ledger, respond.unwatched)
        judged = asking.stock(judge.questions(answered, plan.judge, sides), ledger, judge.PREFIX)
        chats, known = {**judged.chats, **chats}, judged.known
    return asking.work(Stock(chats, known), seen, (stock.typical(), caller.responder.sampling.max_tokens))


def _sum(*parts: float | None) -> float | None:
    return None if None in parts else sum(part or 0.0 for part in parts)
