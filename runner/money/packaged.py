"""Prices that a package brings along: genai-prices (github.com/pydantic/genai-prices), offline.

They stand behind our own tables, for tokens only. The package finds a model where its name only begins like
a known one; that is another model here. What one of our prices cannot say is unknown: a price by the hour of
the day, by the request, or of thinking apart, and unlike multiples for a long prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from runner.money.price import LongPromptPrice, Price, stands_for

SERVICES = {
    name: name
    for name in (
        *("anthropic", "cerebras", "cohere", "deepseek", "fireworks", "groq", "minimax", "mistral", "novita"),
        *("openai", "openrouter", "perplexity", "together", "zai"),
    )
} | {"gemini": "google", "moonshot": "moonshotai", "xai": "x-ai"}
"""The package's names of services by ours. Azure is none of them: its models are deployments of any name."""
OWN = "ft:"
"""What the name of a fine-tuned model begins with at OpenAI; the package would take it for its base."""
COUNTED = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"}
ELSEWHERE = ("requests_kcount", "input_mchars", "output_reasoning_mtok", "output_citation_mtok")
"""What a chat also costs, and no price of ours has."""


@cache
def find_packaged_price(service: str, model: str) -> Price | None:
    """Return the price of today of a service's model by the package's own matching of names, or None."""
    found = _find_model(service, model)
    if found is None:
        return None
    provider, info = found
    price = info.get_prices(datetime.now(UTC))
    if _changes_by_hour(info) or any(getattr(price, name) is not None for name in ELSEWHERE):
        return None
    given = {name: getattr(price, name) for name in COUNTED}
    amounts = {name: _read_amount(value) for name, value in given.items()}
    read, written = amounts["input_mtok"], amounts["output_mtok"]
    long, where = _find_long(given), (provider.pricing_urls or [provider.name])[0]
    if read is None or written is None or long is _UNLIKE:
        return None
    ending = "; the model is deprecated" if info.deprecated else ""
    return Price(
        input=read,
        output=written,
        cached_input=amounts["cache_read_mtok"],
        cache_write=amounts["cache_write_mtok"],
        long=long,
        date=_find_date().isoformat(),
        source=f"genai-prices {version('genai-prices')}, {where}{ending}",
    )


def _find_model(service: str, model: str) -> tuple[Any, Any] | None:
    if service not in SERVICES or model.startswith(OWN):
        return None
    from genai_prices.data_snapshot import get_snapshot  # takes 0.4 s

    snapshot = get_snapshot()
    provider = next((each for each in snapshot.providers if each.id == SERVICES[service]), None)
    info = provider.find_model(model.lower(), all_providers=[provider]) if provider else None
    named = info and (stands_for(info.id, model.lower()) or _names(info.match, model.lower()))
    return (provider, info) if named else None


def _names(match: Any, model: str) -> bool:
    """Whether a rule of the package names a model, and not only how its name begins or what is in it."""
    parts = getattr(match, "or_", None)
    if parts is not None:
        return any(_names(part, model) for part in parts)
    return (hasattr(match, "equals") and match.equals == model) or (
        hasattr(match, "regex") and match.is_match(model)
    )


def _changes_by_hour(info: Any) -> bool:
    prices = info.prices if isinstance(info.prices, list) else []
    return any(hasattr(each.constraint, "start_time") for each in prices)


def _read_amount(value: Any) -> float | None:
    """A price as a number; of tiers the first one."""
    value = getattr(value, "base", value)
    return None if value is None else float(value)


_UNLIKE = LongPromptPrice(0, math.nan, math.nan)


def _find_long(given: dict[str, Any]) -> LongPromptPrice | None:
    """The second tier of a price; ``_UNLIKE`` if there are more, or if it does not raise all input alike."""
    tiers = {name: _list_tiers(value) for name, value in given.items() if value is not None}
    starts = {start for each in tiers.values() for start, _ in each}
    if not starts:
        return None
    outputs = tiers.pop("output_mtok", []) or [(0, 1.0)]
    inputs = {factor for each in tiers.values() for _, factor in each or [(0, 1.0)]}
    if len(starts) > 1 or len(inputs) > 1 or len(outputs) > 1 or math.inf in (*inputs, outputs[0][1]):
        return _UNLIKE
    return LongPromptPrice(starts.pop(), inputs.pop(), outputs[0][1])


def _list_tiers(value: Any) -> list[tuple[int, float]]:
    """The starts of a price's tiers, with their multiples of its base."""
    found = [(int(tier.start), tier.price) for tier in getattr(value, "tiers", ())]
    return [
        (start, round(float(price / value.base), 6) if value.base else math.inf) for start, price in found
    ]


@cache
def _find_date() -> date:
    """The day of the newest price in the data: the package itself has no date."""
    from genai_prices.data import providers

    return max(day for day in _list_days(providers) if day <= datetime.now(UTC).date())


def _list_days(providers: Iterable[Any]) -> Iterator[date]:
    for provider in providers:
        for info in provider.models:
            for price in info.prices if isinstance(info.prices, list) else ():
                if (day := getattr(price.constraint, "start_date", None)) is not None:
                    yield day
