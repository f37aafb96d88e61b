"""Prices of models as data: the user's, then ours (``prices.yaml``), then those of a package.

An unknown price is None all the way to the report; it never counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from runner.config.command_schema import PricesConfig
from runner.core.errors import ConfigError, describe_yaml_error, suggest
from runner.core.once import once
from runner.core.provider import Deployer, Provider, Tuner
from runner.money.packaged import find_packaged_price
from runner.money.price import LongPromptPrice, Price, find_tier, stands_for

SHIPPED = Path(__file__).with_name("prices.yaml")
# the C loader is six times as fast, where libyaml exists
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TABLE_KEYS = ("provider", "date", "source", "batch", "models")


@dataclass(frozen=True)
class PriceTable:
    """The prices of one provider's models; ``provider`` None stands for any provider."""

    provider: str | None
    models: Mapping[str, Price]

    def find_price(self, model: str) -> Price | None:
        """Return the price under the longest name that matches a model, or None."""
        names = [name for name in self.models if stands_for(name, model)]
        return self.models[max(names, key=len)] if names else None


@dataclass(frozen=True)
class PriceBook:
    """All tables; the first one with a price for a model counts. The package's follow if ``packaged``."""

    tables: tuple[PriceTable, ...]
    packaged: bool = True

    def select_for(self, provider: Provider) -> PriceBook:
        """Return the tables that hold: the user's alone if an option of a provider has a price of its own."""
        if find_tier(provider) is None:
            return self
        shipped = _load_shipped()
        return PriceBook(tuple(table for table in self.tables if table not in shipped), packaged=False)

    def find_price(self, provider: str, *models: str | None) -> Price | None:
        """Return the price of the first of these models that has one, or None.

        For tokens a package knows more models than our tables (:mod:`runner.money.packaged`); the share that
        a batch costs stays that of our table of the service.
        """
        for model in filter(None, models):
            if price := self._find_own(provider, model):
                return price
            if self.packaged and (price := find_packaged_price(provider, model)):
                return replace(price, batch=self._find_batch_share(provider))
        return None

    def find_provider_price(self, provider: Provider) -> Price | None:
        """Return the price of a provider's answers, by ``priced_as``, the hosted model or the model."""
        book = self.select_for(provider)
        return book.find_price(provider.name, provider.priced_as, provider.stands_for, provider.model)

    def find_tuned_price(self, provider: Provider) -> Price | None:
        """Return the price of training a provider's model and of calling the trained one, or None."""
        model = provider.priced_as or provider.model
        return self._find_own(provider.name, f"ft:{model}", model)

    def find_served_price(self, provider: Provider, tuner: Tuner | None) -> Price | None:
        """Return the price of asking a provider's trained model, and of an hour of its hosting, or None.

        It is that of the hardware where the service bills the hardware and no tokens.
        """
        hardware = getattr(tuner, "hardware", None)
        return self._find_own(provider.name, hardware) if hardware else self.find_tuned_price(provider)

    def find_hourly_price(self, provider: Provider, tuner: Tuner | None) -> float | None:
        """Return the dollars for an hour of a deployment: 0 where there is none, None if it is unknown."""
        if not isinstance(tuner, Deployer) or not tuner.bills_hosting():
            return 0.0
        price = self.find_served_price(provider, tuner)
        return price.hosting_per_hour if price else None

    def _find_own(self, provider: str, *models: str | None) -> Price | None:
        tables = [table for table in self.tables if table.provider in (None, provider)]
        found = (table.find_price(model) for model in models if model for table in tables)
        return next((price for price in found if price), None)

    def _find_batch_share(self, provider: str) -> float:
        """What a batch costs at a service, as its first table says for all of its models."""
        tables = [table for table in self.tables if table.provider == provider]
        return next((price.batch for table in tables for price in table.models.values()), 1.0)


def load_prices(config: PricesConfig | None = None) -> PriceBook:
    """Load the user's prices (``prices.models``, then ``prices.path``) and after them the shipped ones.

    Raises :class:`ConfigError` that names the file, the model and the key of a mistake.
    """
    own: list[PriceTable] = []
    if config and config.models:
        own += _read_tables([{"models": config.models}], "prices.models")
    if config and config.path:
        own += _read_tables(_read_file(Path(config.path)), f"prices.path={config.path}")
    return PriceBook((*own, *_load_shipped()))


@once
def _load_shipped() -> tuple[PriceTable, ...]:
    return tuple(_read_tables(yaml.load(SHIPPED.read_bytes(), LOADER), SHIPPED.name))


def _read_file(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:
        raise ConfigError(f"prices.path={path}: {describe_yaml_error(error)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"prices.path={path}: {error}") from error


def _read_tables(content: Any, where: str) -> list[PriceTable]:
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise ConfigError(f"{where}: expected a list of tables, each with provider and models")
    return [_read_table(table, where) for table in content]


def _read_table(table: Mapping[str, Any], where: str) -> PriceTable:
    _refuse_unknown_keys(table, TABLE_KEYS, where)
    defaults = {"batch": table.get("batch", 1.0)} | {
        key: str(table.get(key) or "") for key in ("date", "source")
    }
    models = table.get("models") or {}
    if not isinstance(models, Mapping):
        raise ConfigError(f"{where}: models: expected a mapping from names to prices, got {models!r:.60}")
    return PriceTable(
        table.get("provider"),
        {str(name): _read_price(given, defaults, f"{where}: {name}") for name, given in models.items()},
    )


def _read_price(given: Any, defaults: Mapping[str, Any], where: str) -> Price:
    if isinstance(given, Mapping) and set(given) == {"hosting_per_hour"}:  # its tokens cost nothing more
        given = {"input": 0, "output": 0, **given}
    if not isinstance(given, Mapping) or not {"input", "output"} <= set(given):
        raise ConfigError(f"{where}: expected input and output, in dollars per million tokens")
    _refuse_unknown_keys(given, {item.name for item in fields(Price)}, where)
    long = given.get("long")
    if long and set(long) != {"above", "input", "output"}:
        raise ConfigError(f"{where}: long: expected above, input and output")
    amounts = {
        key: value for key, value in {**defaults, **given}.items() if key not in ("date", "source", "long")
    }
    for key, value in (*amounts.items(), *(long or {}).items()):
        if not _is_amount(value):
            raise ConfigError(f"{where}: {key}: {value!r} is not a price")
    return Price(**{**defaults, **given, "long": LongPromptPrice(**long) if long else None})


def _refuse_unknown_keys(given: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in sorted(map(str, set(given) - set(names))):
        raise ConfigError(f"{where}: no key {name!r}{suggest(name, names)}")


def _is_amount(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)
