"""A budget in dollars, shared by all processes of a run or a sweep.

The amount that was drawn is one number in the ledger's database. Before a call the most that it can cost is
set aside, and after it the rest is put back; so any number of workers together stay below the limit. What a
killed process had set aside stays counted, since its calls may have been billed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.core.errors import BudgetError, ConfigError, count_of
from runner.core.provider import Provider
from runner.core.types import Completion, Request, Sampling, format_dollars
from runner.engine.ledger import Ledger
from runner.money.forecast import estimate_tokens
from runner.money.price import Price, find_tier
from runner.money.prices import PriceBook

KIND = "budget"
DRAW_CALLS = 8  # a process draws money for this many calls at once, since each drawing is a transaction
# a prompt is taken to have 1.5 times its estimate + 16 tokens; single texts have up to 1.4 times
MARGIN, EXTRA_TOKENS = 1.5, 16
SCARCE_DRAWS = 4  # with fewer draws left, a process draws for one call only and leaves the rest to others
ROUNDING_USD = 1e-9  # smaller differences are rounding errors


class Budget:
    """``limit`` dollars under a key; all processes that use the same key share one budget."""

    def __init__(self, ledger: Ledger, key: str, limit: float) -> None:
        self.limit = limit
        self._ledger, self._key = ledger, key

    @property
    def spent(self) -> float:
        """Dollars spent by all who share the budget, including those set aside for calls in flight."""
        return float(self._ledger.get(KIND, self._key) or 0.0)

    def describe(self, aside: float = 0.0) -> str:
        """The limit, and what was spent of it without what is only set ``aside``."""
        return f"budget_usd={self.limit:g}: ${format_dollars(self.spent - aside)} spent"

    def draw(self, least: float, wanted: float) -> float:
        """Take ``wanted`` dollars, or ``least`` if few are left, or nothing; return the amount taken."""
        drawn = 0.0

        def take(spent: float | None) -> float:
            nonlocal drawn
            left = self.limit - (spent or 0.0)
            drawn = wanted if left > SCARCE_DRAWS * wanted else least if left > least - ROUNDING_USD else 0.0
            return (spent or 0.0) + drawn

        self._ledger.change(KIND, self._key, take)
        return drawn

    def put_back(self, dollars: float) -> None:
        """Put back dollars that were drawn and not spent; a negative amount was spent on top of the draw."""
        if abs(dollars) > ROUNDING_USD:
            self._ledger.change(KIND, self._key, lambda spent: max(0.0, (spent or 0.0) - dollars))


@dataclass
class Purse:
    """Dollars that were drawn from a budget and not spent yet; several stages may share one."""

    cash: float = 0.0


class StageAllowance:
    """A :class:`runner.engine.call.Allowance` for the calls of one stage, which draws from a budget.

    ``share`` is the part of the price that these calls cost. ``ahead`` gives, by row id, the dollars to keep
    for the judgments of an answer. They add up in ``kept``; the judges start with them in their ``purse``.
    """

    def __init__(
        self,
        budget: Budget,
        price: Price,
        share: float = 1.0,
        ahead: Mapping[str, float] | None = None,
        purse: Purse | None = None,
    ) -> None:
        self.kept = 0.0
        self._budget, self._price, self._share = budget, price, share
        self._ahead = ahead or {}
        self._purse = purse or Purse()
        self._reserved: dict[int, tuple[float, float]] = {}

    def reserve(self, request: Request) -> bool:
        """Set aside the most that the request and the judgment of its answer can cost; False if too much."""
        bound = self._share * bound_usd(self._price, request)
        ahead = self._ahead.get(str(request.row.get("id")), 0.0)
        enough = self._draw_missing(bound + ahead)
        if enough:
            self._purse.cash -= bound + ahead
            self._reserved[id(request)] = bound, ahead
        return enough

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Take back what was not spent; an answer with uncounted tokens costs all that was set aside."""
        bound, ahead = self._reserved.pop(id(request))
        if completion is None:
            self._purse.cash += bound + ahead
            return
        cost = self._price.compute_cost(completion)
        self._purse.cash += bound - (bound if cost is None else cost)
        self.kept += ahead

    def close(self) -> None:
        """Put back what is left, except what is in ``kept``."""
        self._budget.put_back(self._purse.cash)
        self._purse.cash = 0.0

    def _draw_missing(self, dollars: float) -> bool:
        missing = dollars - self._purse.cash
        if missing <= ROUNDING_USD:
            return True
        drawn = self._budget.draw(missing, missing + (DRAW_CALLS - 1) * dollars)
        self._purse.cash += drawn
        return drawn > 0


def bound_usd(price: Price, request: Request) -> float:
    """Return the most dollars that a live request can cost."""
    return bound_prompt_usd(price, estimate_tokens(request.messages), request.sampling.max_tokens or 0)


def bound_prompt_usd(price: Price, tokens: float, answer: float) -> float:
    """Return the most dollars for a prompt of about ``tokens`` and an answer of at most ``answer`` tokens."""
    return price.bound_cost(MARGIN * tokens + EXTRA_TOKENS, answer)


def find_bounding_price(provider: Provider, sampling: Sampling, book: PriceBook, key: str = "") -> Price:
    """Return the price that bounds the cost of calls.

    Raises :class:`ConfigError` if the model has no known price or its answers no ``max_tokens``. ``key`` is
    ``judge.`` for a judge's provider.
    """
    price = book.find_provider_price(provider)
    if price is None:
        tier = find_tier(provider)
        why = f" with {key}provider.options.{tier}" if tier else ""
        raise ConfigError(
            f"budget_usd: no price is known for {key}provider.model={provider.model} ({provider.name}{why});"
            f" name one in prices.models or prices.path, or a model that has one in {key}provider.priced_as"
        )
    if price.output and sampling.max_tokens is None:
        raise ConfigError(
            f"budget_usd: set {key}hyperparameter.max_tokens, which bounds what an answer can cost"
        )
    return price


def make_budget_error(budget: Budget, done: int, rows: int) -> BudgetError:
    """Return the error that says how much was spent and how many rows are done."""
    return BudgetError(
        f"{budget.describe()}, {done} of {count_of(rows, 'row')} done;"
        " finished rows are kept and cost nothing again"
    )
