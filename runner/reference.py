"""Published figures against measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import ConfigError, nearest
from runner.schema import ReferenceConfig
from runner.types import Score


def compare(config: ReferenceConfig, scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """One row per published figure of this run's case: published, measured, interval, agrees.

    ``agrees`` is None where nothing was measured. A metric that the run does not have is an error, a case
    that the paper does not have gives no rows.
    """
    return [_row(config, metric, float(value), scores) for metric, value in published(config).items()]


def published(config: ReferenceConfig) -> dict[str, float]:
    """The published figures of this run's case, by metric."""
    figures = config.figures if config.case is None else config.figures.get(config.case, {})
    if not isinstance(figures, Mapping) or any(isinstance(value, Mapping) for value in figures.values()):
        raise ConfigError("reference.figures: cases are given, so reference.case must say which one this is")
    return dict(figures)


def _row(config: ReferenceConfig, metric: str, value: float, scores: Mapping[str, Score]) -> dict[str, Any]:
    if metric not in scores:
        raise ConfigError(f"reference.figures: {metric!r} is not measured{nearest(metric, scores)}")
    score = scores[metric]
    return {
        "metric": metric,
        "published": value,
        "measured": score.value,
        "low": score.low,
        "high": score.high,
        "agrees": _agrees(value, score, config.tolerance),
    }


def _agrees(value: float, score: Score, tolerance: float) -> bool | None:
    if score.value is None:
        return None
    inside = score.low is not None and score.high is not None and score.low <= value <= score.high
    return inside or abs(value - score.value) <= tolerance + 1e-12
