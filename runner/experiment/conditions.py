"""Conditions on scores, for use in CI: ``require: {accuracy: ">= 0.8", accuracy_low: ">= 0.75"}``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.core.errors import ConfigError, suggest
from runner.core.types import Score

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
SIDES = ("_low", "_high")
MET, UNMET = "figures_met", "figures_unmet"
"""The share of published figures that an exact replay meets, and how many it does not meet."""
MAYBE = ("cost_usd", "cost_usd_total", "training_usd", "hosting_usd")
"""Figures that a run has only where they are known."""
_FORM = re.compile(r"\s*(\S*?)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Condition:
    """A score or figure, an operator and a number."""

    name: str
    sign: str
    bound: float

    def explain_unmet(self, values: Mapping[str, float | None]) -> str:
        """Say that the condition is not met; empty if it is. A value that is not known does not meet it."""
        value = values.get(self.name)
        if value is not None and OPERATORS[self.sign](value, self.bound):
            return ""
        shown = "is not known, so it" if value is None else _format(value)
        return f"{self.name} {shown} is not {self.sign} {_format(self.bound)}"


def read_conditions(require: Mapping[str, Any]) -> list[Condition]:
    """The conditions of a config, of which one score may have several; null is none.

    Raises :class:`ConfigError` naming the key of a condition that is not an operator and a number.
    """
    return [
        _read_condition(str(name), text)
        for name, given in require.items()
        for text in (given if isinstance(given, list | tuple) else [given])
        if text is not None
    ]


def _read_condition(name: str, text: Any) -> Condition:
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1] not in OPERATORS:
        fault = "has no operator" if _is_number(text) or (found and not found[1]) else "is no condition"
        bound = found[2] if found else text if _is_number(text) else 0.8
        raise ConfigError(
            f"require.{name}: {text!r} {fault}; write an operator ({', '.join(OPERATORS)}) and a number, "
            f"such as '>= {bound}'"
        )
    return Condition(name, found[1], float(found[2]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def count_met(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The share of published figures that an exact replay meets, and how many it does not; else nothing.

    >>> count_met([{"standing": "met"}, {"standing": "missed"}, {"standing": None}, {"standing": "met"}])
    {'figures_met': 0.5, 'figures_unmet': 2.0}
    """
    standings = [row.get("standing") for row in rows]
    if not {"met", "missed"} & set(standings):
        return {}
    met = standings.count("met")
    return {MET: met / len(standings), UNMET: float(len(standings) - met)}


def check_conditions(require: Mapping[str, Any], scores: Iterable[str], figures: Iterable[str]) -> None:
    """Raise :class:`ConfigError` for a condition on what a run will not have."""
    known = [*scores, *(f"{score}{side}" for score in scores for side in SIDES), *figures, *MAYBE]
    for condition in read_conditions(require):
        if condition.name in (MET, UNMET) and condition.name not in known:
            raise ConfigError(
                f"require.{condition.name}: this run meets no published figures; it needs some in"
                " reference.figures, recorded answers (provider=replay) and reference.exact=true"
            )
        if condition.name not in known:
            hint = suggest(condition.name, known)
            raise ConfigError(
                f"require.{condition.name}: a run gives no score and no figure of this name{hint}"
            )


def list_unmet(
    require: Mapping[str, Any], scores: Mapping[str, Score], figures: Mapping[str, float]
) -> list[str]:
    """One line for each condition that is not met."""
    values = dict(figures) | dict(_list_values(scores))
    return list(filter(None, (condition.explain_unmet(values) for condition in read_conditions(require))))


def _list_values(scores: Mapping[str, Score]) -> Iterator[tuple[str, float | None]]:
    for name, score in scores.items():
        yield from ((name, score.value), (f"{name}_low", score.low), (f"{name}_high", score.high))


def _format(value: float) -> str:
    """A number with all its digits where three decimals would hide what it misses.

    >>> _format(0.71), _format(0.79996), _format(12000.0)
    ('0.71', '0.79996', '12000')
    """
    short = f"{value:.3f}".rstrip("0").rstrip(".")
    return short if float(short) == value else f"{value:.10g}"
