"""Estimates what a run or a sweep would cost, without a call and without an API key.

All chats are rendered as in a run. Answers that the ledger holds, or that an earlier point of the sweep would
buy, cost nothing. The length of a missing answer has two bounds. The lower one is the mean of the stored
answers to the same prompt, else of all answers bought with the same model and settings, else one token; the
upper one is ``max_tokens``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from runner.core.errors import AccessError
from runner.core.identity import digest
from runner.core.types import Completion, Message, Request
from runner.engine.ask import collect_calls
from runner.engine.ledger import Ledger
from runner.experiment import model, stages
from runner.experiment.estimate.power import Power, find_power
from runner.experiment.plan import Plan
from runner.experiment.rehearsal import leave_empty, rehearse
from runner.experiment.scoring import rehearse_steps
from runner.experiment.spending import guess_answer
from runner.experiment.workload import PricedModel, StoredAnswers, UntrainedModel, Work
from runner.money.forecast import add_placeholders
from runner.money.lengths import find_mean_length
from runner.money.price import MILLION, Price
from runner.pipeline import finetune, jobs
from runner.pipeline.answer import make_requests, open_no_bar
from runner.pipeline.checkpoint import name_place
from runner.pipeline.judge import Judge, group_by_row, judge_row, pose_questions
from runner.pipeline.repeats import take_first


@dataclass(frozen=True)
class Point:
    """The estimate of a run or of one point of a sweep."""

    name: str
    overrides: list[str]
    rows: int
    answers: Work
    asked: int
    """How often a row is asked, over all rows: more than there are calls where chats are equal."""
    judgments: Mapping[str, Work] = field(default_factory=dict)
    """By judge, under its name for the screen."""
    questions: int = 0
    """How many questions the judges are asked about one answer: each judge, order and repeat is one."""
    trained: float = 0.0
    """Tokens that a training would bill, over all epochs."""
    training_usd: float | None = 0.0
    training_price: Price | None = None
    """None where nothing is trained, and where it is not known."""
    hosted_minutes: float = 0.0
    """That a deployment of its own is taken to stand; 0 where there is none, or another point has it, too."""
    hosting_usd: float | None = 0.0
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    """By ``provider/model``; None where the price is unknown."""
    batch: bool = False
    missing: Sequence[str] = ()
    """Keys and addresses that a run needs, and that are not set."""
    power: Power | None = None
    """Which difference it could show; None if no metric compares runs."""

    @property
    def minutes(self) -> float:
        """The least minutes that the calls take at the configured pace; 0 without one."""
        return sum(work.minutes for work in self.works)

    @property
    def works(self) -> list[Work]:
        """The calls to the model, and to each judge."""
        return [self.answers, *self.judgments.values()]

    @property
    def known_usd(self) -> float | None:
        """The lower bound of the costs whose price is known; None where no price is."""
        bills = [usd for usd in (self.training_usd, self.hosting_usd) if usd != 0]
        parts = [*(work.usd[0] for work in self.works), *bills]
        known = [part for part in parts if part is not None]
        return sum(known) if known else None

    @property
    def usd(self) -> tuple[float | None, float | None]:
        """The lower and the upper bound of all costs in US dollars; None where a bound is unknown."""
        low, high = ([work.usd[side] for work in self.works] for side in (0, 1))
        bills = self.training_usd, self.hosting_usd
        return _sum(*low, *bills), _sum(*high, *bills)

    def extend_usd(self, times: int) -> float | None:
        """The upper bound of all costs with ``times`` as many rows; no answer to a further one is stored."""
        works = self.works
        if self.usd[1] is None or any(work.asked and not work.calls for work in works):
            return None
        each = [(work.usd[1] or 0.0) * work.asked / max(work.calls, 1) for work in works]
        return self.usd[1] + (times - 1) * sum(each)


def estimate_plan(
    plan: Plan, seen: set[str], overrides: Sequence[str] = (), outputs: Path | None = None
) -> Point:
    """Estimate the calls, the cost and the power of a plan; past runs are looked for in ``outputs``.

    ``seen`` holds the keys of everything that earlier points buy; the keys of this point are added to it.
    """
    with closing(Ledger(plan.config.ledger.url)) as ledger:
        loaded = stages.load_rows(plan.config.dataset)
        frame = stages.render(plan, loaded)
        missing = _check_settings(plan, loaded.evaluated.columns)
        rehearse(plan, frame)
        answering, trained, training_usd = _estimate_model(plan, frame, ledger, seen)
        requests = make_requests(frame, answering.responder)
        stored_answers = answering.look_up(requests, ledger)
        answers = answering.count_work(stored_answers, seen)
        judgments = _estimate_judges(plan, frame, answering, requests, stored_answers, ledger, seen)
        hosted_minutes, hosting_usd = _estimate_hosting(plan, answering, answers, seen)
    rows = take_first(frame).height
    scored, repeats = rehearse_steps(plan, leave_empty(plan, frame), frame.height // rows)
    judges = plan.panel.judges if plan.panel else ()
    asked = [answering, *(PricedModel.of(judge.responder) for judge in judges)]
    return Point(
        name=plan.config.name,
        overrides=list(overrides),
        rows=rows,
        answers=answers,
        asked=frame.height,
        questions=sum((2 if judge.sides else 1) * judge.responder.repeats for judge in judges),
        judgments=judgments,
        trained=trained,
        training_usd=training_usd,
        training_price=model.find_tuned_price(plan) if training_usd else None,
        hosted_minutes=hosted_minutes,
        hosting_usd=hosting_usd,
        prices={f"{item.provider.name}/{item.provider.model}": item.price for item in asked},
        batch=any(item.provider.batch for item in asked),
        missing=missing,
        power=find_power(plan, scored, repeats, outputs or Path()),
    )


def _check_settings(plan: Plan, columns: Sequence[str]) -> list[str]:
    """Refuse the settings that a run would refuse; return which keys and addresses it would miss."""
    judges = plan.panel.judges if plan.panel else ()
    found = [plan.responder.find_missing_access(columns)]
    found += [judge.responder.find_missing_access() for judge in judges]
    return list(dict.fromkeys(filter(None, found)))


def _estimate_model(
    plan: Plan, frame: pl.DataFrame, ledger: Ledger, seen: set[str]
) -> tuple[PricedModel, float, float | None]:
    """Return the model that would answer, and the tokens and dollars of its training."""
    checkpoint = plan.config.checkpoint
    if plan.tuner is None or checkpoint == "base":
        provider = model.find_existing_provider(plan, checkpoint)
        return PricedModel.of(replace(plan.responder, provider=provider)), 0.0, 0.0
    order, price = model.make_order(plan, frame), model.find_tuned_price(plan)
    is_ordered = jobs.has_job(order, ledger)
    if not is_ordered:
        model.check_checkpoint(plan)
        if order.key not in seen:
            with suppress(AccessError):
                finetune.check_order(order, plan.tuner)
    untrained = UntrainedModel(
        plan.responder.provider, order.key, name_place(checkpoint, model.count_epochs(plan))
    )
    served = plan.responder.book.find_served_price(plan.responder.provider, plan.tuner)
    answering = PricedModel(replace(plan.responder, provider=untrained), served)
    if is_ordered or order.key in seen:
        return answering, 0.0, 0.0
    seen.add(order.key)
    trained = model.count_training_tokens(plan, order)
    usd_per_token = None if price is None or price.training is None else price.training / MILLION
    return answering, trained, None if usd_per_token is None else usd_per_token * trained


def _estimate_hosting(
    plan: Plan, answering: PricedModel, answers: Work, seen: set[str]
) -> tuple[float, float | None]:
    """Return the minutes and dollars of the deployment that the answers need, if no earlier point has it."""
    key = digest(["deployment", dict(answering.provider.identity())])
    usd = model.price_hosting(plan)
    if not isinstance(answering.provider, UntrainedModel) or not answers.calls or usd == 0 or key in seen:
        return 0.0, 0.0
    seen.add(key)
    return model.find_minutes(plan), usd


def _estimate_judges(
    plan: Plan,
    frame: pl.DataFrame,
    answering: PricedModel,
    requests: Sequence[Request],
    stored_answers: StoredAnswers,
    ledger: Ledger,
    seen: set[str],
) -> dict[str, Work]:
    """Estimate the calls of each judge: exactly for stored answers, by bounds for missing ones."""
    if plan.panel is None:
        return {}
    keys = pl.Series(answering.make_keys(requests))
    has_answer = keys.is_in(list(stored_answers.known))
    unanswered, judged = add_placeholders(frame.filter(~has_answer)), None
    stages.check_judges(plan.panel, unanswered)
    if has_answer.any():
        answered = stages.answer(answering.responder, frame.filter(has_answer), ledger, open_no_bar)
        judged = answered.filter(pl.col("completion").is_not_null())
    length = stored_answers.find_typical_length(), answering.responder.sampling.max_tokens
    return {
        judge.label: _estimate_judge(
            judge, unanswered, keys.filter(~has_answer), judged, ledger, seen, length
        )
        for judge in plan.panel.judges
    }


def _estimate_judge(
    judge: Judge,
    unanswered: pl.DataFrame,
    answer_keys: pl.Series,
    judged: pl.DataFrame | None,
    ledger: Ledger,
    seen: set[str],
    length: tuple[float, float | None],
) -> Work:
    judging = PricedModel.of(judge.responder)
    # chats about missing answers look alike, so the key of the answer is made part of their key
    chats: dict[str, Sequence[Message]] = {
        digest([key, answer_key]): request.messages
        for answer_key, row in zip(answer_keys, _judge_calls(judge, unanswered), strict=True)
        for key, request in zip(judging.make_keys(row), row, strict=True)
    }
    stored: Mapping[str, Completion] = {}
    if judged is not None:
        calls = [request for row in _judge_calls(judge, judged) for request in row]
        lookup = judging.look_up(calls, ledger)
        chats, stored = {**lookup.chats, **chats}, lookup.known
    learned = find_mean_length(ledger, judging.provider, judging.responder.sampling)
    return judging.count_work(StoredAnswers(chats, stored, learned), seen, length)


def _judge_calls(judge: Judge, frame: pl.DataFrame) -> list[list[Request]]:
    """Return the requests that the judge would get about each row."""
    return collect_calls(group_by_row(pose_questions(frame, judge), judge), judge_row, guess_answer)


def _sum(*parts: float | None) -> float | None:
    return None if None in parts else sum(part or 0.0 for part in parts)
