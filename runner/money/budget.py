"""A budget: dollars that the processes of a run or a sweep draw from, and never more than there are.

What was drawn is one number in the ledger's database. Before a call the most that it can cost is set aside,
after it the rest is put back; so any number of workers together stay below the limit. What a killed process
had set aside stays counted, since its calls may have been billed.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.errors import BudgetError, ConfigError
from runner.core.provider import Provider
from runner.core.types import Completion, Request, Sampling
from runner.engine.ledger import Ledger
from runner.money.forecast import estimate_tokens
from runner.money.prices import Price, PriceBook

KIND = "budget"
AHEAD = 8  # calls that a process draws for at once, since each drawing is a transaction
MARGIN, FLOOR = 1.5, 16  # on the estimated tokens of a prompt: single texts have up to 1.4 times as many
SCARCE = 4  # drawings ahead that must be left, so that the last dollars are not held where they are not used
CENT = 1e-9  # below this a difference is rounding


class Budget:
    """So many dollars under a key; equal keys share one budget, in whatever process."""

    def __init__(self, ledger: Ledger, key: str, limit: float) -> None:
        self.limit = limit
        self._ledger, self._key = ledger, key

    @property
    def spent(self) -> float:
        """Dollars spent by all who share it, what is set aside for calls under way included."""
        return float(self._ledger.get(KIND, self._key) or 0.0)

    def draw(self, least: float, wanted: float) -> float:
        """Take ``wanted`` dollars, or ``least`` where they are scarce, or nothing; return what was taken."""
        drawn = 0.0

        def take(spent: float | None) -> float:
            nonlocal drawn
            left = self.limit - (spent or 0.0)
            drawn = wanted if left > SCARCE * wanted else least if left > least - CENT else 0.0
            return (spent or 0.0) + drawn

        self._ledger.change(KIND, self._key, take)
        return drawn

    def put_back(self, dollars: float) -> None:
        """Return what was drawn and not spent; a negative amount was spent beyond what was drawn."""
        if abs(dollars) > CENT:
            self._ledger.change(KIND, self._key, lambda spent: max(0.0, (spent or 0.0) - dollars))


class StageAllowance:
    """A :class:`runner.engine.call.Allowance` that draws from a budget, for the calls of one stage.

    ``share`` is the part of the price that these calls cost. ``ahead`` gives, by row id, dollars to keep for
    what an answer makes necessary: its judgment. They gather in ``kept``, the ``cash`` that the next stage
    starts with.
    """

    def __init__(
        self,
        budget: Budget,
        price: Price,
        share: float = 1.0,
        ahead: Mapping[str, float] | None = None,
        cash: float = 0.0,
    ) -> None:
        self.kept = 0.0
        self._budget, self._price, self._share = budget, price, share
        self._ahead = ahead or {}
        self._cash = cash
        self._held: dict[int, tuple[float, float]] = {}

    def reserve(self, request: Request) -> bool:
        """Set the most aside that the request can cost, and what its answer makes necessary."""
        bound = self._share * bound_usd(self._price, request)
        ahead = self._ahead.get(str(request.row.get("id")), 0.0)
        enough = self._has(bound + ahead)
        if enough:
            self._cash -= bound + ahead
            self._held[id(request)] = bound, ahead
        return enough

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Take back the difference; an answer whose tokens were not counted cost all that was set aside."""
        bound, ahead = self._held.pop(id(request))
        if completion is None:
            self._cash += bound + ahead
            return
        cost = self._price.cost(completion)
        self._cash += bound - (bound if cost is None else cost)
        self.kept += ahead

    def close(self) -> None:
        """Put back what is left, but for what is kept."""
        self._budget.put_back(self._cash)
        self._cash = 0.0

    def _has(self, dollars: float) -> bool:
        missing = dollars - self._cash
        if missing <= CENT:
            return True
        drawn = self._budget.draw(missing, missing + (AHEAD - 1) * dollars)
        self._cash += drawn
        return drawn > 0


def bound_usd(price: Price, request: Request) -> float:
    """The most dollars that a live request can cost."""
    return bound_prompt_usd(price, estimate_tokens(request.messages), request.sampling.max_tokens or 0)


def bound_prompt_usd(price: Price, tokens: float, answer: float) -> float:
    """The most dollars that a prompt of about so many tokens and an answer of at most so many can cost."""
    return price.bound(MARGIN * tokens + FLOOR, answer)


def find_bounding_price(provider: Provider, sampling: Sampling, book: PriceBook, key: str = "") -> Price:
    """The price by which calls are bounded; refuse a budget where there is no bound.

    Raises :class:`ConfigError` for a model without a known price and for answers of any length. ``key`` is
    ``judge.`` for a judge's provider.
    """
    price = book.price_of(provider)
    if price is None:
        raise ConfigError(
            f"budget_usd: no price is known for {key}provider.model={provider.model} ({provider.name});"
            f" name one in prices.models or prices.path, or a model that has one in {key}provider.priced_as"
        )
    if price.output and sampling.max_tokens is None:
        raise ConfigError(f"budget_usd: {key}hyperparameter.max_tokens must bound what an answer can cost")
    return price


def make_budget_error(budget: Budget, done: int, rows: int) -> BudgetError:
    """The error that tells that the money has run out."""
    return BudgetError(
        f"budget_usd={budget.limit:g}: ${budget.spent:.4f} spent, {done} of {rows} rows done;"
        " what is done is kept and will cost nothing again"
    )
