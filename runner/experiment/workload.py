"""Counts the calls that a model would answer, with their tokens and dollars, without making them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from runner.core.errors import ProviderError
from runner.core.identity import digest
from runner.core.provider import REPLAY, Provider
from runner.core.tokens import Calibration
from runner.core.types import Completion, Message, Request
from runner.engine.call import make_keys, read_answers
from runner.engine.ledger import Ledger
from runner.money.forecast import estimate_tokens
from runner.money.lengths import find_mean_length
from runner.money.price import Price
from runner.pipeline.answer import Responder


@dataclass(frozen=True)
class Work:
    """The calls to one model. Pairs are (lower, upper) bounds; a bound that does not exist is None."""

    asked: int = 0
    """Different chats, of which ``calls`` are new and ``stored`` in the ledger."""
    calls: int = 0
    stored: int = 0
    read: tuple[float, float | None] = (0.0, 0.0)
    written: tuple[float, float | None] = (0.0, 0.0)
    usd: tuple[float | None, float | None] = (0.0, 0.0)
    minutes: float = 0.0
    """The least time, by ``requests_per_minute`` and ``tokens_per_minute``; 0 if neither is set."""


@dataclass(frozen=True)
class StoredAnswers:
    """``chats`` by the keys of their answers, and the answers among them that the ledger has, ``known``.

    ``learned`` is the mean length of the answers to any chats that were bought with the same settings.
    """

    chats: Mapping[str, Sequence[Message]]
    known: Mapping[str, Completion]
    learned: float | None = None

    def find_typical_length(self) -> float:
        """Return the mean tokens of the stored answers, else the learned mean; 1 if there are none."""
        written = [answer.output_tokens for answer in self.known.values()]
        return fmean([count for count in written if count] or [self.learned or 1.0])

    def calibrate(self, estimate: Callable[[Sequence[Message]], float]) -> float:
        """Return the ratio of counted to estimated tokens, over the prompts with stored answers."""
        calibration = Calibration()
        for key, answer in self.known.items():
            if key in self.chats and answer.input_tokens:
                calibration.add(answer.input_tokens, estimate(self.chats[key]))
        return calibration.ratio


@dataclass(frozen=True)
class PricedModel:
    """A model and the price of its calls."""

    responder: Responder
    price: Price | None

    @classmethod
    def of(cls, responder: Responder) -> PricedModel:
        """Return the model of a responder with the price of its provider."""
        return cls(responder, responder.book.find_provider_price(responder.provider))

    @property
    def provider(self) -> Provider:
        """The provider that answers."""
        return self.responder.provider

    def look_up(self, requests: Sequence[Request], ledger: Ledger) -> StoredAnswers:
        """Look up the answers to requests in the ledger."""
        keys = self.make_keys(requests)
        chats = {key: request.messages for key, request in zip(keys, requests, strict=True)}
        learned = find_mean_length(ledger, self.provider, self.responder.sampling)
        return StoredAnswers(chats, read_answers(ledger, keys), learned)

    def make_keys(self, requests: Iterable[Request]) -> list[str]:
        """Return the ledger keys of the answers to requests."""
        asked = list(requests)
        try:
            return make_keys(self.provider, asked)
        except ProviderError:  # a local model without its weights on this machine has not answered anything
            return [digest([self.provider.model, request.messages, request.repeat]) for request in asked]

    def count_work(
        self, answers: StoredAnswers, seen: set[str], answer: tuple[float, float | None] = (0.0, 0.0)
    ) -> Work:
        """Count the calls for chats whose answers are neither stored nor seen, and add the chats to ``seen``.

        ``answer`` gives the least and the most tokens of an answer that
        :data:`runner.money.forecast.PLACEHOLDER` stands for in a chat.
        """
        new = [chat for key, chat in answers.chats.items() if key not in answers.known and key not in seen]
        if self.provider.name == REPLAY:
            new = []
        seen.update(answers.chats)
        times = answers.calibrate(self._estimate)
        low = [times * self._estimate(chat, answer[0]) for chat in new]
        longest = answer[1] if new else 0.0
        high = None if longest is None else [times * self._estimate(chat, longest) for chat in new]
        most, typical = self.responder.sampling.max_tokens, answers.find_typical_length()
        least = min(typical, most or typical)
        read = sum(low), None if high is None else sum(high)
        written = len(new) * least, None if most is None else float(len(new) * most)
        return Work(
            asked=len(answers.chats),
            calls=len(new),
            stored=len(answers.known),
            read=read,
            written=written,
            usd=(self._least(low, least), self._most(high, most)),
            minutes=self._minutes(len(new), (read[1] or read[0]) + (written[1] or written[0])),
        )

    def _least(self, reads: Sequence[float], written: float) -> float | None:
        if self.price is None:
            return None if reads else 0.0
        return self._share * sum(self.price.compute_uncached_cost(read, written) for read in reads)

    def _most(self, reads: Sequence[float] | None, written: float | None) -> float | None:
        if self.price is None:
            return 0.0 if reads == [] else None
        if not (self.price.input or self.price.output or not reads):
            return 0.0
        if reads is None or written is None:
            return None
        return self._share * sum(self.price.bound_cost(read, written) for read in reads)

    @property
    def _share(self) -> float:
        return self.price.batch if self.price and self.provider.batch else 1.0

    def _estimate(self, chat: Sequence[Message], answer: float = 0.0) -> float:
        """Estimate the tokens of a chat, by the provider's own tokenizer if it has one."""
        return estimate_tokens(chat, answer, self.provider.count_tokens)

    def _minutes(self, calls: int, tokens: float) -> float:
        paces = (calls, self.provider.requests_per_minute), (tokens, self.provider.tokens_per_minute)
        return max(count / pace if pace else 0.0 for count, pace in paces)


class UntrainedModel(Provider):
    """A model that does not exist yet, identified by its training and its checkpoint."""

    def __init__(self, base: Provider, key: str, checkpoint: str) -> None:
        self.name, self.model = base.name, f"{base.model}, fine-tuned"
        self.batch = base.batch
        self.requests_per_minute, self.tokens_per_minute = base.requests_per_minute, base.tokens_per_minute
        self._identity = {"training": key, "checkpoint": checkpoint}

    def identity(self) -> Mapping[str, Any]:
        """Identify the model by the key of its training and the checkpoint."""
        return self._identity

    async def complete(self, request: Request) -> Completion:
        """Raise :class:`ProviderError`: the model cannot answer."""
        raise ProviderError(f"{self.model} is not trained yet")
