"""How runs are called in MLflow: a run by what sets it apart, a sweep by what it varies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from runner.core.errors import count_of
from runner.core.redact import hide_keys
from runner.records.record import Record
from runner.records.sweep import column_names
from runner.tracking import names

GAP = " · "
SWEEP = f"sweep{GAP}"
"""How the name of a sweep begins of which no point is known."""
PART_LENGTH = 40
UNTOLD = (
    *("experiment", "provider.model", "reference", "tracking", "hydra", "ledger", "budget_usd", "prices"),
    *("report", "objective", "max_failed", "require", "fresh"),
)
"""Keys that a name leaves out: the name itself, the model (it stands there) and what changes no answer."""
CONNECTION = ("base_url", "api_key_env", "max_concurrency", "requests_per_minute", "tokens_per_minute")


def name_run(record: Record) -> str:
    """Name a run by the settings that set it apart, its model and its experiment.

    The settings stand first, since MLflow's tables have room for some twenty letters. They are the swept keys
    of a sweep's point, and the overrides of any other run. Long values are cut, with a short digest, so that
    two of them stay two.

    >>> name_run(Record("1", "fib", tags={"model": "large"}, overrides=["hyperparameter.n_shot=3"]))
    'n_shot=3 · large · fib'
    """
    settings = record.swept if record.sweep else _read_overrides(record.overrides)
    model = record.tags.get("model", "")
    columns = column_names([Record("", "", swept=dict(settings))])
    told = {columns[key]: value for key, value in settings.items() if _sets_apart(key, value, record, model)}
    parts = [f"{key}={shorten(names.format_value(value))}" for key, value in told.items()]
    return shorten(GAP.join(filter(None, [*parts, shorten(model), record.name])), names.KEY_LENGTH)


def name_sweep(name: str, records: Sequence[Record] = (), wanted: int = 0) -> str:
    """Name a sweep by what it varies, as far as that is known, and its experiment.

    >>> name_sweep("fib", [Record("1", "fib", swept={"hyperparameter.n_shot": 3})], 4)
    'sweep over n_shot (4 points) · fib'
    """
    keys = ", ".join(column_names(records).values())
    points = f" ({count_of(wanted, 'point')})" if records else ""
    return shorten(f"sweep{keys and f' over {keys}'}{points}{GAP}{name}", names.KEY_LENGTH)


def shorten(text: str, length: int = PART_LENGTH) -> str:
    """A text in one line; if that changes it, or if it is longer, its beginning and a digest of the whole.

    >>> shorten("a long  value " * 9)
    'a long value a long value a long v… da91'
    """
    shown = hide_keys(text)
    line = " ".join(shown.split())
    if line == shown and len(line) <= length:
        return line
    digest = hashlib.sha256(shown.encode(errors="replace")).hexdigest()
    return f"{line[: length - 6]}… {digest[:4]}"


def _read_overrides(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs if not key.startswith("~")}


def _sets_apart(key: str, value: Any, record: Record, model: str) -> bool:
    """Whether a setting is told: the model, the name and what a connection needs are not told again."""
    group, _, leaf = key.partition(".")
    if record.sweep:
        return not (key == "provider.model" and value == model) and not (
            key in ("dataset", "experiment", "name") and value == record.name
        )
    if key in UNTOLD or group in UNTOLD or leaf in CONNECTION:
        return False
    return key not in ("provider", "name") and not (key == "dataset" and value == record.name)
