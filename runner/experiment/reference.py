"""Compares published figures with measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from runner.config.schema import ReferenceConfig
from runner.core.errors import ConfigError
from runner.core.types import Score

ROUNDING = 1e-12
"""The floating-point error that is allowed for a figure printed in full."""


@dataclass(frozen=True)
class Figure:
    """A published number. ``half_digit`` is half a unit of its last printed digit, 0 for a fraction."""

    value: float
    half_digit: float
    printed: str


def compare_figures(config: ReferenceConfig, scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """Return one row per published figure of this run's case.

    A row holds ``metric``, ``published``, ``printed`` (as in the paper), ``measured``, its interval (``low``,
    ``high``) and ``agrees``, which is None if nothing was measured, for example because the run has other
    metrics. A case without published figures gives no rows.
    """
    return [
        _compare_figure(config, metric, figure, scores) for metric, figure in read_figures(config).items()
    ]


def read_figures(config: ReferenceConfig) -> dict[str, Figure]:
    """Return the published figures of this run's case, by metric.

    Raises :class:`ConfigError` that names the place of a figure that cannot be read.
    """
    figures = config.figures if config.case is None else config.figures.get(config.case, {})
    if config.case is None and any(isinstance(value, Mapping | list) for value in figures.values()):
        raise ConfigError(
            "reference.figures has several cases: reference.case must say which one this run is"
        )
    where = "reference.figures" if config.case is None else f"reference.figures.{config.case}"
    return {
        metric: read_figure(value, f"{where}.{metric}")
        for metric, value in _name_figures(config, figures, where).items()
        if value is not None
    }


def _name_figures(config: ReferenceConfig, figures: Any, where: str) -> dict[str, Any]:
    if isinstance(figures, Mapping):
        return dict(figures)
    if not isinstance(figures, list) or len(figures) != len(config.columns):
        expected = f"{len(config.columns)} values, one for each of reference.columns"
        raise ConfigError(f"{where}: {figures!r} is neither {{metric: value}} nor {expected}")
    return dict(zip(config.columns, figures, strict=True))


def read_figure(written: Any, where: str) -> Figure:
    """Read a figure as the paper prints it: a number, a percentage or a fraction.

    >>> read_figure("57.50%", "f1")
    Figure(value=0.575, half_digit=5e-05, printed='57.50%')
    >>> read_figure("92/100", "accuracy")
    Figure(value=0.92, half_digit=0.0, printed='92/100')
    """
    text = str(written).strip()
    try:
        if "/" in text:
            part, whole = (Decimal(number) for number in text.split("/"))
            return Figure(float(part / whole), 0.0, text)
        number = Decimal(text.removesuffix("%")).scaleb(-2 if text.endswith("%") else 0)
    except (ArithmeticError, ValueError):
        number = Decimal("nan")
    if isinstance(written, bool) or not number.is_finite():
        raise ConfigError(f"{where}: {written!r} is not a number, a percentage or a fraction")
    half_digit = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    return Figure(float(number), float(half_digit), text)


def _compare_figure(
    config: ReferenceConfig, metric: str, figure: Figure, scores: Mapping[str, Score]
) -> dict[str, Any]:
    score = scores.get(metric, Score(None))
    return {
        "metric": metric,
        "published": figure.value,
        "printed": figure.printed,
        "measured": score.value,
        "low": score.low,
        "high": score.high,
        "agrees": _agrees(figure, score, config),
    }


def _agrees(figure: Figure, score: Score, config: ReferenceConfig) -> bool | None:
    if score.value is None:
        return None
    inside = score.low is not None and score.high is not None and score.low <= figure.value <= score.high
    allowed = max(config.tolerance, figure.half_digit if config.exact else 0.0)
    return (inside and not config.exact) or abs(figure.value - score.value) <= allowed + ROUNDING
