"""What a run pays, stage by stage, from one budget: its training, its answers, its judgments.

Without ``budget_usd`` nothing is set aside. Only the training is noted: one run pays it and many use it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import polars as pl

from runner.core.errors import BudgetError, RunnerError
from runner.core.services import TuningStatus
from runner.core.types import Completion, Request
from runner.engine.ask import collect_calls
from runner.engine.call import Answer
from runner.engine.ledger import Ledger
from runner.money.budget import (
    Budget,
    StageAllowance,
    bound_prompt_usd,
    find_bounding_price,
    make_budget_error,
)
from runner.money.forecast import MARK, estimate_tokens, mark_answers
from runner.money.prices import MILLION, Price
from runner.money.usage import sum_costs
from runner.pipeline.answer import Responder
from runner.pipeline.finetune import OnStatus, TrainingOrder
from runner.pipeline.judge import group_by_row, judge_row, pose_questions

TRAINING = "training"


class TrainingBill:
    """What a training costs.

    A context: what was set aside for one that failed is put back, since it is not billed.

    ``estimate`` is what its rows will probably cost. ``usd`` is that until the provider tells what it bills;
    None if the price is not known. ``ours`` is true if this run pays it.
    """

    def __init__(
        self, ledger: Ledger, budget: Budget | None, order: TrainingOrder, price: Price | None, tokens: float
    ) -> None:
        self._ledger, self._budget, self._key = ledger, budget, order.key
        self._each = None if price is None or price.training is None else price.training / MILLION
        self._estimate = self._dollars(tokens)
        self._billed: float | None = None
        self.usd = self._ledger.get(TRAINING, self._key) or self._estimate
        self.ours = False

    def pay(self) -> None:
        """Set aside what it will cost; raises :class:`BudgetError` if that is not there."""
        if self._budget and self._estimate and not self._budget.draw(self._estimate, self._estimate):
            spent, limit = self._budget.spent, self._budget.limit
            raise BudgetError(
                f"budget_usd={limit:g}: ${spent:.4f} spent, and the training would cost about"
                f" ${self._estimate:.4f}; it was not started"
            )
        self.ours = True

    def watch(self, on_status: OnStatus) -> OnStatus:
        """An ``on_status`` that also notes how many tokens the provider bills."""

        def note(status: TuningStatus) -> None:
            self._billed = status.trained_tokens or self._billed
            on_status(status)

        return note

    def __enter__(self) -> TrainingBill:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.ours or (kind and not issubclass(kind, RunnerError)):
            return
        self.usd = 0.0 if kind else self.usd if self._billed is None else self._dollars(self._billed)
        if self._budget:
            self._budget.put_back((self._estimate or 0.0) - (self.usd or 0.0))
        if not kind:
            self._ledger.put(TRAINING, self._key, self.usd)

    def _dollars(self, tokens: float) -> float | None:
        return None if self._each is None else self._each * tokens


class Spending:
    """One run's payments. A context: what was drawn and not spent is put back at its end."""

    def __init__(
        self, ledger: Ledger, budget: Budget | None, judge: Responder | None, sides: Sequence[str] | None
    ) -> None:
        self._ledger, self._budget = ledger, budget
        self._judge, self._sides = judge, sides
        self._allowances: list[StageAllowance] = []
        self._bills: list[TrainingBill] = []
        self._hosting: float | None = 0.0
        self._hourly: float | None = None
        self._hosted_from: float | None = None

    def __enter__(self) -> Spending:
        return self

    def __exit__(self, *_: object) -> None:
        for allowance in self._allowances:
            allowance.close()

    def allow_answers(self, responder: Responder, frame: pl.DataFrame) -> StageAllowance | None:
        """What the answers to a frame's chats may cost; with each goes what judging it may cost."""
        if self._budget is None:
            return None
        ahead = self._bound_judgments(frame, responder.sampling.max_tokens or 0)
        price = find_bounding_price(responder.provider, responder.sampling, responder.book)
        return self._keep(StageAllowance(self._budget, price, _share(responder), ahead))

    def allow_judgments(self) -> StageAllowance | None:
        """What the judgments may cost, with what was kept for them."""
        if self._budget is None or self._judge is None:
            return None
        kept = sum(allowance.kept for allowance in self._allowances)
        price = find_bounding_price(self._judge.provider, self._judge.sampling, self._judge.book)
        return self._keep(StageAllowance(self._budget, price, _share(self._judge), cash=kept))

    def check(self, done: int, rows: int) -> None:
        """Raise :class:`BudgetError` if the money ran out before all rows were done."""
        if self._budget and done < rows:
            raise make_budget_error(self._budget, done, rows)

    def open_bill(self, order: TrainingOrder, price: Price | None, tokens: float) -> TrainingBill:
        """The bill of a training of about so many tokens, which is paid if this run starts it."""
        self._bills.append(TrainingBill(self._ledger, self._budget, order, price, tokens))
        return self._bills[-1]

    def start_hosting(self, price_per_hour: float | None) -> None:
        """From now on a deployment stands and costs so much an hour; None: not known."""
        self._hourly = price_per_hour
        self._hosted_from = time.monotonic()

    def end_hosting(self) -> None:
        """It is deleted."""
        if self._hosted_from is not None:
            hours = (time.monotonic() - self._hosted_from) / 3600
            self._hosting = None if self._hourly is None else self._hourly * hours

    def sum_up(self, frame: pl.DataFrame) -> dict[str, float]:
        """What a run cost: :func:`runner.money.usage.sum_costs` of its rows, and its training and hosting.

        Nothing where a part of it is not known.
        """
        costs, bills = sum_costs(frame), self._bills
        if not costs or self._hosting is None or any(bill.usd is None for bill in bills):
            return {}
        training = sum(bill.usd or 0.0 for bill in bills)
        paid = sum(bill.usd or 0.0 for bill in bills if bill.ours)
        costs["cost_usd"] += paid + self._hosting
        costs["cost_usd_total"] += training + self._hosting
        parts = {"training_usd": training, "hosting_usd": self._hosting}
        return costs | {name: usd for name, usd in parts.items() if usd}

    def _bound_judgments(self, frame: pl.DataFrame, answer: int) -> dict[str, float]:
        """The most that judging each row can cost, by its id, if its answer has so many tokens."""
        if self._judge is None:
            return {}
        judge, limit = self._judge, self._judge.sampling.max_tokens or 0
        price = find_bounding_price(judge.provider, judge.sampling, judge.book, "judge.")
        questions = pose_questions(mark_answers(frame), judge, self._sides)
        calls = collect_calls(group_by_row(questions, judge, self._sides), judge_row, guess_answer)

        def bound(requests: Sequence[Request]) -> float:
            sizes = (estimate_tokens(request.messages, answer) for request in requests)
            return _share(judge) * sum(bound_prompt_usd(price, size, limit) for size in sizes)

        return dict(zip(frame["id"].to_list(), map(bound, calls), strict=True))

    def _keep(self, allowance: StageAllowance) -> StageAllowance:
        self._allowances.append(allowance)
        return allowance


def guess_answer(request: Request) -> Answer:
    """The answer to a call that is not made: it holds :data:`runner.money.forecast.MARK`."""
    return Answer(Completion(text=MARK))


def _share(responder: Responder) -> float:
    """The share of the price that this responder's calls cost."""
    price = responder.book.price_of(responder.provider)
    return price.batch if price and responder.provider.batch else 1.0
