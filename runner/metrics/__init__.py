"""Metrics: from a frame of predictions and targets to named scores with intervals.

Any callable ``metric(frame) -> dict[str, Score]`` can be named in the ``metric`` group; subclass
:class:`Metric` or :class:`RowMetric` to get strict and parsed values and intervals for free.
"""

from __future__ import annotations

import logging
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
    "row_score_kinds",
    "score_rows",
]

log = logging.getLogger(__name__)


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
    _check_names(metrics, frame)
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


def row_score_kinds(metrics: Mapping[str, Callable[[pl.DataFrame], Any]]) -> dict[str, str]:
    """The metrics that score single rows, by key: ``right`` (1 is right, 0 wrong) or ``value``.

    A metric does so by a method ``score_rows(frame)``, which gives a number or null for each row, and an
    attribute ``row_kind`` (without it: ``value``; None: no scores).
    """
    kinds = {
        key: getattr(metric, "row_kind", "value")
        for key, metric in metrics.items()
        if callable(getattr(metric, "score_rows", None))
    }
    return {key: kind for key, kind in kinds.items() if kind is not None}


def score_rows(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a column for each metric that scores single rows, named by the metric's key.

    A column is Float64, and null where a row has no score: no answer, no prediction, or no gold value. A
    metric that fails here is left out with a warning; what is paid for is not lost.

    Raises:
        ConfigError: the rows already have a column of that name.
    """
    _check_names(metrics, frame)
    scored = (_score_rows(key, metrics[key], frame) for key in row_score_kinds(metrics))
    return frame.with_columns(column for column in scored if column is not None)


def _check_names(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> None:
    for key in row_score_kinds(metrics):
        if key in frame.columns:
            raise ConfigError(f"metric.{key}: the rows already have a column {key!r}; rename one of them")


def _score_rows(key: str, metric: Any, frame: pl.DataFrame) -> pl.Series | None:
    try:
        scores = pl.Series(key, metric.score_rows(frame), strict=False).cast(pl.Float64).fill_nan(None)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        log.warning("metric.%s: single rows have no score (%s)", key, reason)
        return None
    if len(scores) != frame.height:
        log.warning("metric.%s: %d row scores for %d rows are left out", key, len(scores), frame.height)
        return None
    return scores
