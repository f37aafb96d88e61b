"""What a run or a sweep would cost, before it is paid and without a call or a key.

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

from runner.core.digest import digest
from runner.core.types import Message, Request
from runner.engine.ask import collect_calls
from runner.engine.ledger import Ledger
from runner.experiment import model, stages
from runner.experiment.plan import Plan
from runner.experiment.spending import guess_answer
from runner.experiment.workload import PricedModel, Stock, Untrained, Work
from runner.money.forecast import mark_answers
from runner.money.prices import MILLION, Price
from runner.pipeline import finetune
from runner.pipeline.answer import make_requests, open_no_bar
from runner.pipeline.judge import group_by_row, judge_row, pose_questions


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


def survey(plan: Plan, seen: set[str], overrides: Sequence[str] = ()) -> Point:
    """What a plan would buy. ``seen`` holds the keys of what earlier points buy, and is added to."""
    with closing(Ledger(plan.config.ledger.url)) as ledger:
        frame = stages.render(plan, stages.load_rows(plan.config.dataset))
        stages.rehearse(plan, frame)
        answering, trained, training_usd = _survey_model(plan, frame, ledger, seen)
        requests = make_requests(frame, answering.responder)
        stock = answering.take_stock(requests, ledger)
        answers = answering.count_work(stock, seen)
        judgments = _survey_judge(plan, frame, answering, requests, stock, ledger, seen)
    asked = [answering, *([PricedModel.of(plan.judge)] if plan.judge else [])]
    return Point(
        name=plan.config.name,
        overrides=list(overrides),
        rows=frame.height,
        answers=answers,
        judgments=judgments,
        trained=trained,
        training_usd=training_usd,
        prices={f"{one.provider.name}/{one.provider.model}": one.price for one in asked},
        batch=any(one.provider.batch for one in asked),
    )


def _survey_model(
    plan: Plan, frame: pl.DataFrame, ledger: Ledger, seen: set[str]
) -> tuple[PricedModel, float, float | None]:
    """Who would answer, and the tokens and dollars of the training that makes it."""
    checkpoint = plan.config.checkpoint
    if plan.tuner is None or checkpoint == "base":
        provider = model.find_untrained(plan, checkpoint)
        return PricedModel.of(replace(plan.responder, provider=provider)), 0.0, 0.0
    order, price = model.make_order(plan, frame), model.find_tuned_price(plan)
    untrained = Untrained(plan.responder.provider, order.key, checkpoint)
    answering = PricedModel(replace(plan.responder, provider=untrained), price)
    if order.key in seen or "id" in (ledger.get(finetune.JOB, order.key) or {}):
        return answering, 0.0, 0.0
    seen.add(order.key)
    trained = model.count_training_tokens(plan, order)
    each = None if price is None or price.training is None else price.training / MILLION
    return answering, trained, None if each is None else each * trained


def _survey_judge(
    plan: Plan,
    frame: pl.DataFrame,
    answering: PricedModel,
    requests: Sequence[Request],
    stock: Stock,
    ledger: Ledger,
    seen: set[str],
) -> Work | None:
    """The judge's calls: exact for stored answers, bounded for those that are still to come."""
    if plan.judge is None:
        return None
    judging, keys = PricedModel.of(plan.judge), pl.Series(answering.make_keys(requests))
    there = keys.is_in(list(stock.known))
    missing = mark_answers(frame.filter(~there))
    stages.check_judge(plan.judge, missing)
    # what is asked about an answer that does not exist yet is told apart by the key of that answer
    chats: dict[str, Sequence[Message]] = {
        digest([key, coming]): request.messages
        for coming, row in zip(keys.filter(~there), _judge_calls(plan, missing), strict=True)
        for key, request in zip(judging.make_keys(row), row, strict=True)
    }
    known: Mapping[str, Any] = {}
    if there.any():
        answered = stages.answer(answering.responder, frame.filter(there), ledger, open_no_bar)
        calls = [request for row in _judge_calls(plan, answered) for request in row]
        judged = judging.take_stock(calls, ledger)
        chats, known = {**judged.chats, **chats}, judged.known
    length = stock.find_typical_length(), answering.responder.sampling.max_tokens
    return judging.count_work(Stock(chats, known), seen, length)


def _judge_calls(plan: Plan, frame: pl.DataFrame) -> list[list[Request]]:
    """What the judge would be asked about each row."""
    assert plan.judge is not None
    sides = stages.find_judged_sides(plan)
    questions = pose_questions(frame, plan.judge, sides)
    return collect_calls(group_by_row(questions, plan.judge, sides), judge_row, guess_answer)


def _sum(*parts: float | None) -> float | None:
    return None if None in parts else sum(part or 0.0 for part in parts)
