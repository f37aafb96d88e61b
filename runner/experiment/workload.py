"""How many calls a model has to answer, with how many tokens and for how many dollars; asks nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import polars as pl

from runner.core import tokens
from runner.core.digest import digest
from runner.core.errors import ProviderError
from runner.core.provider import Provider
from runner.core.types import Completion, Message, Request
from runner.engine import ask
from runner.engine.ledger import Ledger
from runner.money import forecast
from runner.money.prices import Price
from runner.pipeline.respond import Responder, requests

ENOUGH = 5  # stored answers whose token counts correct the estimate


@dataclass(frozen=True)
class Work:
    """Calls to one model. Bounds are (low, high); a bound that does not exist is None."""

    calls: int = 0
    stored: int = 0
    read: tuple[float, float | None] = (0.0, 0.0)
    written: tuple[float, float | None] = (0.0, 0.0)
    usd: tuple[float | None, float | None] = (0.0, 0.0)
    minutes: float = 0.0
    """At least, by ``requests_per_minute`` and ``tokens_per_minute``; 0 where neither is set."""


@dataclass(frozen=True)
class Stock:
    """Chats by the keys of their answers, and those answers that the ledger has."""

    chats: Mapping[str, list[Message]]
    known: Mapping[str, Any]

    def typical(self) -> float:
        """Tokens of a stored answer, in the middle; 1 where there is none."""
        written = [answer.get("output_tokens") for answer in self.known.values()]
        return float(median([count for count in written if count] or [1]))

    def correction(self, size: Callable[[list[Message]], float]) -> float:
        """How many times the estimate the tokens of those prompts are whose answers are stored."""
        counted = {key: answer.get("input_tokens") for key, answer in self.known.items()}
        pairs = [(read, size(self.chats[key])) for key, read in counted.items() if read and key in self.chats]
        return (
            sum(read for read, _ in pairs) / sum(guess for _, guess in pairs) if len(pairs) >= ENOUGH else 1.0
        )


@dataclass(frozen=True)
class Caller:
    """A model and what its calls cost."""

    responder: Responder
    price: Price | None

    @classmethod
    def of(cls, responder: Responder) -> Caller:
        """With the price that its provider has."""
        return cls(responder, responder.book.of(responder.provider))

    @property
    def provider(self) -> Provider:
        """Who answers."""
        return self.responder.provider

    @property
    def batch(self) -> bool:
        """Whether the calls go through a batch."""
        return bool(getattr(self.provider, "batch", False))

    def stock(self, frame: pl.DataFrame, ledger: Ledger, prefix: str = "") -> Stock:
        """The rendered chats of a frame, looked up in the ledger."""
        keys, chats = self.keys(frame, prefix), frame[f"{prefix}messages"].to_list()
        return Stock(dict(zip(keys, chats, strict=True)), ledger.get_many(ask.KIND, keys))

    def keys(self, frame: pl.DataFrame, prefix: str = "") -> list[str]:
        """The keys of the answers to a frame's chats."""
        asked = requests(frame, self.responder, prefix)
        try:
            return ask.request_keys(self.provider, asked)
        except ProviderError:  # the weights of a local model are not here yet, so it has answered nothing
            return [digest([self.provider.model, request.messages]) for request in asked]

    def work(self, stock: Stock, seen: set[str], answer: tuple[float, float | None] = (0.0, 0.0)) -> Work:
        """The calls for chats neither stored nor seen; :data:`outlook.MARK` stands for an ``answer``."""
        new = [chat for key, chat in stock.chats.items() if key not in stock.known and key not in seen]
        seen.update(stock.chats)
        times = stock.correction(self._size)
        low = [times * self._size(chat, answer[0]) for chat in new]
        high = None if answer[1] is None else [times * self._size(chat, answer[1]) for chat in new]
        most = self.responder.sampling.max_tokens
        least = min(stock.typical(), most or stock.typical())
        read = sum(low), None if high is None else sum(high)
        written = len(new) * least, None if most is None else float(len(new) * most)
        return Work(
            calls=len(new),
            stored=len(stock.known),
            read=read,
            written=written,
            usd=(self._least(low, least), self._most(high, most)),
            minutes=self._minutes(len(new), (read[1] or read[0]) + (written[1] or written[0])),
        )

    def _least(self, reads: Sequence[float], written: float) -> float | None:
        if self.price is None:
            return None
        return self._share * sum(self.price.uncached(read, written) for read in reads)

    def _most(self, reads: Sequence[float] | None, written: float | None) -> float | None:
        if self.price is None:
            return None
        if not (self.price.input or self.price.output or not reads):
            return 0.0
        if reads is None or written is None:
            return None
        return self._share * sum(self.price.bound(read, written) for read in reads)

    @property
    def _share(self) -> float:
        return self.price.batch if self.price and self.batch else 1.0

    def _size(self, chat: Sequence[Message], answer: float = 0.0) -> float:
        """Tokens of a chat, by the provider's own tokenizer where it has one."""
        return forecast.estimate_tokens(chat, answer, getattr(self.provider, "count_tokens", tokens.count))

    def _minutes(self, calls: int, amount: float) -> float:
        limits = {"requests_per_minute": calls, "tokens_per_minute": amount}
        paces = [(count, getattr(self.provider, name, None)) for name, count in limits.items()]
        return max(count / pace if pace else 0.0 for count, pace in paces)


class Untrained(Provider):
    """A model that does not exist yet: known by the training that makes it, and the checkpoint."""

    max_concurrency = 1

    def __init__(self, base: Provider, key: str, checkpoint: Any) -> None:
        self.name, self.model = base.name, f"{base.model}, fine-tuned"
        self.batch = getattr(base, "batch", False)
        self.requests_per_minute = getattr(base, "requests_per_minute", None)
        self.tokens_per_minute = getattr(base, "tokens_per_minute", None)
        self._identity = {"training": key, "checkpoint": str(checkpoint or "last")}

    def identity(self) -> Mapping[str, Any]:
        """The training's key and the checkpoint."""
        return self._identity

    async def complete(self, request: Request) -> Completion:
        """It cannot."""
        raise ProviderError(f"{self.model} is not trained yet")

    async def aclose(self) -> None:
        """Nothing is open."""
