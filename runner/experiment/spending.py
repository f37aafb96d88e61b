"""What a run pays, stage by stage, from one budget: its training, its answers, its judgments.

Without ``budget_usd`` nothing is set aside, and only the training is noted, since it is paid by one run and
used by many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import polars as pl

from runner.core.errors import BudgetError, RunnerError
from runner.core.provider import Provider
from runner.core.services import TuningStatus
from runner.engine.ledger import Ledger
from runner.money import forecast, usage
from runner.money.budget import Budget, Drawn, exhausted, most_of, payable
from runner.money.prices import MILLION, Price
from runner.pipeline import finetune, judge
from runner.pipeline.respond import Responder

TRAINING = "training"
FREE_TIER = "DeveloperTier"  # of Azure's deployments


class Training:
    """The bill of a training. A context: what a failed one was to cost is put back, since it is not billed.

    ``usd`` is what the training costs, as estimated from its rows and then as the provider tells; None if
    the price is not known. ``ours`` is true if this run pays it.
    """

    def __init__(self, ledger: Ledger, budget: Budget | None, order: finetune.Order, price: Price | None):
        self._ledger, self._budget, self._key = ledger, budget, order.key
        self._each = None if price is None or price.training is None else price.training / MILLION
        self._estimate = self._dollars(
            forecast.estimate_training_tokens(order.training, order.hyperparameter.n_epochs)
        )
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

    def watching(self, report: Callable[[TuningStatus], None]) -> Callable[[TuningStatus], None]:
        """``report`` that also notes how many tokens the provider bills."""

        def noting(status: TuningStatus) -> None:
            self._billed = status.trained_tokens or self._billed
            report(status)

        return noting

    def __enter__(self) -> Training:
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
        self._purses: list[Drawn] = []
        self._trainings: list[Training] = []
        self._hosting: float | None = 0.0
        self._hourly: float | None = None
        self._hosted_from: float | None = None

    def __enter__(self) -> Spending:
        return self

    def __exit__(self, *_: object) -> None:
        for purse in self._purses:
            purse.close()

    def answering(self, responder: Responder, frame: pl.DataFrame) -> Drawn | None:
        """The purse for the answers to a frame's chats; with each goes what judging it may cost."""
        if self._budget is None:
            return None
        ahead = self._judgments(frame, responder.sampling.max_tokens or 0)
        return self._purse(Drawn(self._budget, payable(responder), _share(responder), ahead))

    def judging(self) -> Drawn | None:
        """The purse for the judgments, with what was kept for them."""
        if self._budget is None or self._judge is None:
            return None
        kept = sum(purse.kept for purse in self._purses)
        return self._purse(Drawn(self._budget, payable(self._judge), _share(self._judge), cash=kept))

    def check(self, done: int, rows: int) -> None:
        """Raise :class:`BudgetError` if the money ran out before all rows were done."""
        if self._budget and done < rows:
            raise exhausted(self._budget, done, rows)

    def training(self, order: finetune.Order, price: Price | None) -> Training:
        """The bill of a training, which is paid if this run starts it."""
        self._trainings.append(Training(self._ledger, self._budget, order, price))
        return self._trainings[-1]

    def start_hosting(self, provider: Provider, price: Price | None) -> None:
        """From now on a deployment is billed by the hour, unless its tier is free."""
        free = str(getattr(provider, "deployment", {}).get("sku", FREE_TIER)) == FREE_TIER
        self._hourly = 0.0 if free else price.hosting_per_hour if price else None
        self._hosted_from = time.monotonic()

    def end_hosting(self) -> None:
        """It is deleted."""
        if self._hosted_from is not None:
            hours = (time.monotonic() - self._hosted_from) / 3600
            self._hosting = None if self._hourly is None else self._hourly * hours

    def figures(self, frame: pl.DataFrame) -> dict[str, float]:
        """What a run cost: :func:`runner.money.usage.sum_costs` of its rows, and its training and hosting.

        Nothing where a part of it is not known.
        """
        costs, bills = usage.sum_costs(frame), self._trainings
        if not costs or self._hosting is None or any(bill.usd is None for bill in bills):
            return {}
        training = sum(bill.usd or 0.0 for bill in bills)
        paid = sum(bill.usd or 0.0 for bill in bills if bill.ours)
        costs["cost_usd"] += paid + self._hosting
        costs["cost_usd_total"] += training + self._hosting
        parts = {"training_usd": training, "hosting_usd": self._hosting}
        return costs | {name: usd for name, usd in parts.items() if usd}

    def _judgments(self, frame: pl.DataFrame, answer: int) -> dict[str, float]:
        """The most that judging each row can cost, by its id, if its answer has so many tokens."""
        if self._judge is None:
            return {}
        price, limit = payable(self._judge, "judge."), self._judge.sampling.max_tokens or 0
        asked = judge.questions(forecast.mark_answers(frame), self._judge, self._sides)
        ids = asked["row" if self._sides else "id"].to_list()
        bounds: dict[str, float] = {}
        for row, messages in zip(ids, asked[f"{judge.PREFIX}messages"].to_list(), strict=True):
            cost = _share(self._judge) * most_of(price, forecast.estimate_tokens(messages, answer), limit)
            bounds[row] = bounds.get(row, 0.0) + cost
        return bounds

    def _purse(self, purse: Drawn) -> Drawn:
        self._purses.append(purse)
        return purse


def _share(responder: Responder) -> float:
    """The share of the price that this responder's calls cost."""
    price = responder.book.of(responder.provider)
    return price.batch if price and getattr(responder.provider, "batch", False) else 1.0
