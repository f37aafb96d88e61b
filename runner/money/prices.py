"""Prices of models as data (``prices.yaml``), and what a completion cost at them.

A price that is not known is None all the way to the report: it is never taken for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from runner.config.schema import PricesConfig
from runner.core.errors import ConfigError, suggest
from runner.core.once import once
from runner.core.provider import Provider
from runner.core.types import Completion

SHIPPED = Path(__file__).with_name("prices.yaml")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, but six times as fast, where libyaml is
MILLION = 1_000_000
SNAPSHOT = re.compile(r"(-\d{4}(-?\d\d-?\d\d)?)?(:.*|\.ft-.*)?")
"""What may follow a name and leave its price as it is: a date, and what tells a fine-tune from its base."""
TABLE = ("provider", "date", "source", "batch", "models")


@dataclass(frozen=True, slots=True)
class LongPromptPrice:
    """Above so many input tokens a whole request costs these multiples of its price."""

    above: int
    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. Cache prices that are None are the input's; other ones are not known."""

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

    def cost(self, completion: Completion) -> float | None:
        """US dollars for one answer; None if the server did not count its tokens and they are not free."""
        read, written = completion.input_tokens, completion.output_tokens
        if read is None or written is None:
            return None if self.input or self.output else 0.0
        cached = min(completion.cached_tokens or 0, read)
        saved = min(completion.cache_write_tokens or 0, read - cached)
        weighed = (
            (read - cached - saved) * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + saved * self._write
        )
        return self._dollars(read, weighed, written) * (self.batch if completion.batch else 1.0)

    def uncached(self, read: float, written: float) -> float:
        """US dollars for so many tokens if no cache plays a part."""
        return self._dollars(read, read * self.input, written)

    def bound(self, read: float, written: float) -> float:
        """The most that so many tokens can cost: all of them are written to the cache."""
        return self._dollars(read, read * max(self.input, self._write), written)

    @property
    def _write(self) -> float:
        return self.input if self.cache_write is None else self.cache_write

    def _dollars(self, read: float, weighed: float, written: float) -> float:
        long = self.long if self.long and read > self.long.above else LongPromptPrice(0, 1.0, 1.0)
        return (long.input * weighed + long.output * written * self.output) / MILLION


@dataclass(frozen=True)
class PriceTable:
    """The prices of one provider's models; ``provider`` None is any."""

    provider: str | None
    models: Mapping[str, Price]

    def price(self, model: str) -> Price | None:
        """The price under the longest name that stands for a model, or None."""
        names = [name for name in self.models if _stands_for(name, model)]
        return self.models[max(names, key=len)] if names else None


@dataclass(frozen=True)
class PriceBook:
    """All tables; the first one that knows a model counts."""

    tables: tuple[PriceTable, ...]

    def price(self, provider: str, *models: str | None) -> Price | None:
        """The price of the first of these names that is known, or None."""
        fitting = [table for table in self.tables if table.provider in (None, provider)]
        found = (table.price(model) for model in models if model for table in fitting)
        return next((price for price in found if price), None)

    def price_of(self, provider: Provider) -> Price | None:
        """The price of a provider's answers, by ``priced_as`` or the hosted model where there is one."""
        return self.price(provider.name, provider.priced_as, provider.stands_for, provider.model)

    def price_of_tuned(self, provider: Provider) -> Price | None:
        """The price of training a provider's model and of asking what comes of it."""
        model = provider.priced_as or provider.model
        return self.price(provider.name, f"ft:{model}", model)


def load_prices(config: PricesConfig | None = None) -> PriceBook:
    """The shipped prices, after those of the user: ``prices.models``, then ``prices.path``.

    Raises :class:`ConfigError` naming file, model and key of whatever cannot be read.
    """
    own: list[PriceTable] = []
    if config and config.models:
        own += _tables([{"models": config.models}], "prices.models")
    if config and config.path:
        own += _tables(_read(Path(config.path)), f"prices.path={config.path}")
    return PriceBook((*own, *_shipped()))


@once
def _shipped() -> tuple[PriceTable, ...]:
    return tuple(_tables(yaml.load(SHIPPED.read_bytes(), LOADER), SHIPPED.name))


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"prices.path={path}: {str(error).splitlines()[0]}") from error


def _tables(content: Any, where: str) -> list[PriceTable]:
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise ConfigError(f"{where}: expected a list of tables, each with provider and models")
    return [_table(table, where) for table in content]


def _table(table: Mapping[str, Any], where: str) -> PriceTable:
    _known(table, TABLE, where)
    terms = {"batch": table.get("batch", 1.0)} | {
        key: str(table.get(key) or "") for key in ("date", "source")
    }
    models = table.get("models") or {}
    return PriceTable(
        table.get("provider"),
        {str(name): _price(given, terms, f"{where}: {name}") for name, given in models.items()},
    )


def _price(given: Any, terms: Mapping[str, Any], where: str) -> Price:
    if not isinstance(given, Mapping) or not {"input", "output"} <= set(given):
        raise ConfigError(f"{where}: expected input and output, in dollars per million tokens")
    _known(given, {item.name for item in fields(Price)}, where)
    long = given.get("long")
    if long and set(long) != {"above", "input", "output"}:
        raise ConfigError(f"{where}: long: expected above, input and output")
    amounts = {
        key: value for key, value in {**terms, **given}.items() if key not in ("date", "source", "long")
    }
    for key, value in (*amounts.items(), *(long or {}).items()):
        if not _amount(value):
            raise ConfigError(f"{where}: {key}: {value!r} is not a price")
    return Price(**{**terms, **given, "long": LongPromptPrice(**long) if long else None})


def _known(given: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in sorted(map(str, set(given) - set(names))):
        raise ConfigError(f"{where}: no key {name!r}{suggest(name, names)}")


def _amount(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)


def _stands_for(name: str, model: str) -> bool:
    if name.endswith("*"):
        return model.startswith(name[:-1])
    return model.startswith(name) and SNAPSHOT.fullmatch(model, len(name)) is not None
