"""The price of a model's tokens, and the cost of a completion at this price."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from runner.core.provider import Provider
from runner.core.types import Completion

MILLION = 1_000_000
SNAPSHOT = re.compile(r"(-\d{4}(-?\d\d-?\d\d)?)?(:.*|\.ft-.*)?")
"""Endings that leave the price of a model as it is: a date, or the suffix of a fine-tuned model."""

TIERS: Mapping[str, tuple[str, ...]] = {
    "service_tier": ("auto", "default", "standard", "standard_only", "on_demand"),
    "speed": ("standard",),
    "inference_geo": ("global",),
}
"""Fields of a request that choose another price, with the values that do not."""


@dataclass(frozen=True, slots=True)
class LongPromptPrice:
    """The multiples of the price that a request costs if it has more than ``above`` input tokens."""

    above: int
    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. A cache price of None is the input's; any other None is unknown."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    long: LongPromptPrice | None = None
    training: float | None = None
    hosting_per_hour: float | None = None
    batch: float = 1.0
    """The share of the price that a batch costs."""
    date: str = ""
    source: str = ""

    def compute_cost(self, completion: Completion) -> float | None:
        """Return the US dollars for one answer; None if its tokens were not counted and are not free."""
        read, written = completion.input_tokens, completion.output_tokens
        if read is None or written is None:
            return None if self.input or self.output else 0.0
        cached = min(completion.cached_tokens or 0, read)
        cache_written = min(completion.cache_write_tokens or 0, read - cached)
        weighted = (
            (read - cached - cache_written) * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + cache_written * self._cache_write_price
        )
        return self._to_dollars(read, weighted, written) * (self.batch if completion.batch else 1.0)

    def compute_uncached_cost(self, read: float, written: float) -> float:
        """Return the US dollars for tokens read and written, without any cache."""
        return self._to_dollars(read, read * self.input, written)

    def bound_cost(self, read: float, written: float) -> float:
        """Return the most US dollars for tokens read and written: all input may be written to the cache."""
        return self._to_dollars(read, read * max(self.input, self._cache_write_price), written)

    def describe(self) -> str:
        """The price in words, with its date and source in brackets."""
        where = f" ({self.date}, {self.source})" if self.date else ""
        if not (self.input or self.output):
            hourly = self.hosting_per_hour
            return f"${hourly:g} per hour of its deployment{where}" if hourly else "free"
        batch = f", {self.batch:.0%} of it in a batch" if self.batch < 1 else ""
        return f"${self.input:g} in and ${self.output:g} out per million tokens{batch}{where}"

    def describe_training(self) -> str:
        """The price of a training in words, with its date and source in brackets."""
        where = f" ({self.date}, {self.source})" if self.date else ""
        return f"${self.training:g} per million tokens{where}"

    @property
    def _cache_write_price(self) -> float:
        return self.input if self.cache_write is None else self.cache_write

    def _to_dollars(self, read: float, weighted: float, written: float) -> float:
        long = self.long if self.long and read > self.long.above else LongPromptPrice(0, 1.0, 1.0)
        return (long.input * weighted + long.output * written * self.output) / MILLION


def find_tier(provider: Provider) -> str | None:
    """The option of a provider that makes another price than that of its model's tokens, or None."""
    options = getattr(provider, "options", None)
    if not isinstance(options, Mapping):
        return None
    cache = options.get("cache_control")
    if isinstance(cache, Mapping) and cache.get("ttl") not in (None, "5m"):
        return "cache_control"
    given = {name: options[name] for name in TIERS if options.get(name) is not None}
    return next((name for name, value in given.items() if value not in TIERS[name]), None)


def stands_for(name: str, model: str) -> bool:
    """Whether ``name`` is a model, a snapshot of it or its fine-tune, or the start of it (``name*``)."""
    if name.endswith("*"):
        return model.startswith(name[:-1])
    return model.startswith(name) and SNAPSHOT.fullmatch(model, len(name)) is not None
