"""What a run pays from its budget, stage by stage: for its training, its answers and its judgments.

Without ``budget_usd`` nothing is set aside. The cost of a training is written into the ledger, since one run
pays it and others use the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from runner.core.errors import BudgetError, RunnerError
from runner.core.services import TuningStatus
from runner.core.types import Completion, Request, format_dollars
from runner.engine.ask import collect_calls
from runner.engine.call import Answer
from runner.engine.ledger import Ledger
from runner.money.budget import (
    Budget,
    Purse,
    StageAllowance,
    bound_prompt_usd,
    find_bounding_price,
    make_budget_error,
)
from runner.money.forecast import PLACEHOLDER, add_placeholders, estimate_tokens
from runner.money.price import MILLION, Price
from runner.money.usage import sum_costs
from runner.pipeline.answer import Responder
from runner.pipeline.finetune import TrainingOrder
from runner.pipeline.jobs import OnStatus
from runner.pipeline.judge import Judge, Panel, group_by_row, judge_row, pose_questions

TRAINING = "training"


class TrainingBill:
    """What a training costs.

    A context manager: the money that was set aside for a training that failed is put back, since it is not
    billed. ``usd`` is an estimate from the rows until the provider says how many tokens it bills; None if
    the price is unknown. ``hosting`` dollars are what its model will need next, at the least. ``ours`` is
    true if this run pays.
    """

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget | None,
        order: TrainingOrder,
        price: Price | None,
        tokens: float,
        hosting: float,
    ) -> None:
        self._ledger, self._budget, self._key, self._hosting = ledger, budget, order.key, hosting
        self._usd_per_token = None if price is None or price.training is None else price.training / MILLION
        self._estimate = self._price(tokens)
        self._billed: float | None = None
        self._quoted: float | None = None
        self._set_aside = 0.0
        paid = self._ledger.get(TRAINING, self._key)
        self.usd = self._estimate if paid is None else paid
        self.ours = False

    def pay(self, quoted: float | None = None) -> None:
        """Set aside what the service asks for the job, and the estimate where it has not said that.

        Raises :class:`BudgetError` if the budget does not cover it and the hosting of its model.
        """
        self._quoted, usd = quoted, (self._estimate if quoted is None else quoted) or 0.0
        if self._budget and (missing := usd - self._set_aside) > 0:
            if not self._budget.draw(missing + self._hosting, missing + self._hosting):
                then = f", and hosting its model ${format_dollars(self._hosting)}" if self._hosting else ""
                raise BudgetError(
                    f"{self._budget.describe(self._set_aside)}, and the training would cost about"
                    f" ${format_dollars(usd)}{then}; it was not started",
                    least=usd + self._hosting,
                )
            self._budget.put_back(self._hosting)
            self._set_aside = usd
        self.ours = True

    def watch(self, on_status: OnStatus) -> OnStatus:
        """Return an ``on_status`` that also notes how many tokens the provider bills."""

        def note_status(status: TuningStatus) -> None:
            self._billed = status.trained_tokens or self._billed
            on_status(status)

        return note_status

    def __enter__(self) -> TrainingBill:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.ours or (kind and not issubclass(kind, RunnerError)):
            return
        self.usd = 0.0 if kind else self._find_final()
        if self._budget:
            self._budget.put_back(self._set_aside - (self.usd or 0.0))
        if not kind:
            self._ledger.put(TRAINING, self._key, self.usd)

    def _find_final(self) -> float | None:
        """The service's own dollars, else its tokens at the known price, else the estimate."""
        if self._quoted is not None:
            return self._quoted
        return self.usd if self._billed is None else self._price(self._billed)

    def _price(self, tokens: float) -> float | None:
        return None if self._usd_per_token is None else self._usd_per_token * tokens


class Spending:
    """The payments of one run. A context manager: money that was drawn and not spent is put back on exit."""

    def __init__(self, ledger: Ledger, budget: Budget | None, panel: Panel | None = None) -> None:
        self._ledger, self._budget, self._panel = ledger, budget, panel
        self._allowances: list[StageAllowance] = []
        self._bills: list[TrainingBill] = []
        self._hosting: float | None = 0.0
        self._reserved = 0.0

    def __enter__(self) -> Spending:
        return self

    def __exit__(self, *_: object) -> None:
        for allowance in self._allowances:
            allowance.close()

    def allow_answers(self, responder: Responder, frame: pl.DataFrame) -> StageAllowance | None:
        """Return the allowance for the answers to a frame and their judgments; None without a budget."""
        if self._budget is None:
            return None
        ahead = self._bound_judgments(frame, responder.sampling.max_tokens or 0)
        price, share = _bound_price(responder), _find_price_share(responder)
        return self._register(StageAllowance(self._budget, price, share, ahead))

    def allow_judgments(self) -> list[StageAllowance]:
        """Return the allowance of each judge; they share the money kept for them. [] without a budget."""
        if self._budget is None or self._panel is None:
            return []
        purse = Purse(sum(allowance.kept for allowance in self._allowances))
        return [
            self._register(
                StageAllowance(self._budget, _bound_price(each), _find_price_share(each), purse=purse)
            )
            for each in (judge.responder for judge in self._panel.judges)
        ]

    def check(self, done: int, rows: int) -> None:
        """Raise :class:`BudgetError` if the budget was used up before all rows were done."""
        if self._budget and done < rows:
            raise make_budget_error(self._budget, done, rows)

    def open_bill(
        self, order: TrainingOrder, price: Price | None, tokens: float, hosting: float = 0.0
    ) -> TrainingBill:
        """Return the bill of a training of about ``tokens`` tokens; it is paid if this run starts the job.

        ``hosting`` is the dollars that a deployment of its model is taken to cost.
        """
        self._bills.append(TrainingBill(self._ledger, self._budget, order, price, tokens, hosting))
        return self._bills[-1]

    def reserve_hosting(self, minutes: float, usd: float) -> None:
        """Set aside what a deployment is taken to cost; raise :class:`BudgetError` if too little is left."""
        if not self._budget or not usd:
            return
        if not self._budget.draw(usd, usd):
            raise BudgetError(
                f"{self._budget.describe()}, and hosting the model for {minutes:g} minutes"
                f" (provider.deployment.minutes) costs ${format_dollars(usd)}; it was not deployed",
                least=usd,
            )
        self._reserved = usd

    def pay_hosting(self, hours: float, price_per_hour: float | None) -> None:
        """Note what a deployment has cost; the price in dollars is None if it is unknown."""
        if hours:
            self._hosting = None if price_per_hour is None else price_per_hour * hours
        if self._budget:
            self._budget.put_back(self._reserved - (self._hosting or 0.0))
            self._reserved = 0.0

    def sum_up(self, frame: pl.DataFrame) -> dict[str, float]:
        """Return the costs of the run: :func:`runner.money.usage.sum_costs` plus its training and hosting.

        Returns an empty dict if any part is unknown.
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
        """Return the most dollars for judging each row, by row id, if its answer has ``answer`` tokens."""
        if self._panel is None:
            return {}
        answered = add_placeholders(frame)
        each = [_bound_rows(judge, answered, answer) for judge in self._panel.judges]
        return dict(zip(frame["id"].to_list(), map(sum, zip(*each, strict=True)), strict=True))

    def _register(self, allowance: StageAllowance) -> StageAllowance:
        self._allowances.append(allowance)
        return allowance


def _bound_rows(judge: Judge, answered: pl.DataFrame, answer: int) -> list[float]:
    """Return the most dollars for what one judge says of each row."""
    responder, price = judge.responder, _bound_price(judge.responder)
    share, limit = _find_price_share(responder), responder.sampling.max_tokens or 0
    calls = collect_calls(group_by_row(pose_questions(answered, judge), judge), judge_row, guess_answer)

    def bound(requests: Sequence[Request]) -> float:
        sizes = (estimate_tokens(request.messages, answer) for request in requests)
        return share * sum(bound_prompt_usd(price, size, limit) for size in sizes)

    return list(map(bound, calls))


def _bound_price(responder: Responder) -> Price:
    return find_bounding_price(responder.provider, responder.sampling, responder.book, responder.key)


def guess_answer(request: Request) -> Answer:
    """Return a :data:`~runner.money.forecast.PLACEHOLDER` as the answer to a call that is not made."""
    return Answer(Completion(text=PLACEHOLDER))


def _find_price_share(responder: Responder) -> float:
    """Return the share of the list price that this responder's calls cost."""
    price = responder.book.find_provider_price(responder.provider)
    return price.batch if price and responder.provider.batch else 1.0
