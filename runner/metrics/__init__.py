"""Metrics: from a frame of predictions and targets to named scores with intervals.

Any callable ``metric(frame) -> dict[str, Score]`` can be named in the ``metric`` group; subclass
:class:`Metric` or :class:`RowMetric` to get strict and parsed values and intervals for free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.metrics.agreement import CohenKappa, KrippendorffAlpha
from runner.metrics.base import Metric, RowMetric
from runner.metrics.classification import F1, Accuracy, BalancedAccuracy, Precision, Recall, Share
from runner.metrics.confusion import Confusion, confusion
from runner.metrics.correlation import KendallTau, Pearson, Spearman
from runner.metrics.pairwise import Pairwise, PairwiseRating
from runner.metrics.people import Baseline, HumanCeiling, UpperBound
from runner.metrics.probability import Brier, CalibrationError, RocAuc, reliability
from runner.metrics.rating import Bias, ExactAgreement, MeanAbsoluteError
from runner.metrics.rows import Count, Fingerprint
from runner.metrics.text import ExactMatch, RougeL, TokenF1

__all__ = [
    "F1",
    "Accuracy",
    "BalancedAccuracy",
    "Baseline",
    "Bias",
    "Brier",
    "CalibrationError",
    "CohenKappa",
    "Confusion",
    "Count",
    "ExactAgreement",
    "ExactMatch",
    "Fingerprint",
    "HumanCeiling",
    "KendallTau",
    "KrippendorffAlpha",
    "MeanAbsoluteError",
    "Metric",
    "Pairwise",
    "PairwiseRating",
    "Pearson",
    "Precision",
    "Recall",
    "RocAuc",
    "RougeL",
    "RowMetric",
    "Share",
    "Spearman",
    "TokenF1",
    "UpperBound",
    "confusion",
    "evaluate",
    "reliability",
]


def evaluate(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> dict[str, Score]:
    """All scores of a frame. The key in the config replaces the metric's own name at the front of its scores.

    A user's metric may also give a plain number.
    """
    scores: dict[str, Score] = {}
    for key, metric in metrics.items():
        for name, score in _named(key, metric, frame).items():
            if name in scores:
                raise ConfigError(f"two metrics give a score {name!r}; rename metric.{key}")
            scores[name] = score
    return scores


def rehearse(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> set[str] | None:
    """The names of all scores, from rows that nobody has answered; what these lack is an error now.

    None where some names are not known: a user's metric is called only with answers.
    """
    own = {key: copy(metric) for key, metric in metrics.items() if hasattr(metric, "resamples")}
    for metric in own.values():
        metric.resamples = 2
    names = set(evaluate(own, frame))
    return names if len(own) == len(metrics) else None


def _named(key: str, metric: Callable[[pl.DataFrame], Any], frame: pl.DataFrame) -> dict[str, Score]:
    result = metric(frame)
    if result is None or isinstance(result, int | float):
        return {key: Score(None if result is None else float(result), n=frame.height)}
    own = getattr(metric, "name", key)
    return {key + name.removeprefix(own) if name.startswith(own) else name: s for name, s in result.items()}


def score_rows(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def row_score_kinds(metrics: Mapping[str, Callable[[pl.DataFrame], Any]]) -> dict[str, str]:
    return {}
