"""Metrics: from a frame of predictions and targets to named scores with intervals.

Any callable ``metric(frame) -> dict[str, Score]`` can be named in the ``metric`` group; subclass
:class:`Metric` or :class:`RowMetric` to get strict and parsed values and intervals for free.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from math import isfinite
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, cast

import polars as pl

from runner.core.errors import ConfigError, RunnerError, describe_error, show_value, suggest
from runner.core.types import Direction, Score, write_column
from runner.metrics.agreement import CohenKappa, KrippendorffAlpha
from runner.metrics.base import Metric
from runner.metrics.bootstrap import Ends
from runner.metrics.classification import F1, Accuracy, BalancedAccuracy, Precision, Recall, Share
from runner.metrics.confusion import Confusion, confusion
from runner.metrics.correlation import KendallTau, Pearson, Spearman
from runner.metrics.pairwise import Pairwise, PairwiseRating
from runner.metrics.people import Baseline, HumanCeiling, UpperBound
from runner.metrics.probability import Brier, CalibrationError, RocAuc, reliability
from runner.metrics.rating import Bias, ExactAgreement, MeanAbsoluteError
from runner.metrics.rows import Count, Fingerprint, RowMetric, check_names, row_score_kinds, score_rows
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
    "try_all",
]

log = logging.getLogger(__name__)

DIRECTIONS: tuple[Direction, ...] = ("higher", "lower", "none")
MISTAKES = (AttributeError, ImportError, KeyError, NameError, pl.exceptions.ColumnNotFoundError)
"""Exceptions of a metric that do not depend on the answers."""


def evaluate(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> dict[str, Score]:
    """All scores of a frame. The key in the config replaces the metric's own name at the front of its scores.

    A user's metric may also give a plain number, or None where it is undefined. NaN and infinity become None.

    Raises:
        ConfigError: a metric raised an exception, or gave neither a number nor scores; the message names it.
    """
    scores, failures = try_all(metrics, frame)
    for failure in failures:
        raise failure
    return scores


def try_all(
    metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame
) -> tuple[dict[str, Score], list[RunnerError]]:
    """The scores of the metrics that do not fail, and why the others fail; as :func:`evaluate`."""
    scores: dict[str, Score] = {}
    failures: list[RunnerError] = []
    for key, metric in metrics.items():
        try:
            found = _measure(key, metric, frame)
            _add(key, {name: _name_verdicts(score, metric) for name, score in found.items()}, scores)
        except RunnerError as failure:
            failures.append(failure)
    return scores, failures


def _name_verdicts(score: Score, metric: Any) -> Score:
    """The score of a metric of verdicts, whose reason speaks of these and not of answers."""
    if not score.reason or getattr(metric, "prediction", None) != "verdict":
        return score
    reason = score.reason.replace("an answer", "a verdict").replace("answer", "verdict")
    return replace(score, reason=reason)


def rehearse(
    metrics: Mapping[str, Callable[[pl.DataFrame], Any]],
    frame: pl.DataFrame,
    labels: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> tuple[dict[str, Direction], bool]:
    """The scores and their directions, from rows that nobody has answered; what these lack is an error now.

    ``labels`` are all values that a column can have, where this is known: a label that an option of a metric
    names must be one of them. Where they are not known it must be a gold value.

    Second, whether these are all: the scores of a user's metric may depend on the answers. Such a metric is
    called with a few rows in which the gold values stand for the answers. A wrong result and one of
    :data:`MISTAKES` are errors now. Any other exception may be due to values that are still missing; it is
    a warning.
    """
    check_names(metrics, frame)
    for key, metric in metrics.items():
        _check_labels(key, metric, frame, labels)
    own: dict[str, Any] = {key: copy(metric) for key, metric in metrics.items() if _is_rehearsable(metric)}
    for each in own.values():
        each.resamples = 2
    answered, scores = _answer_with_gold(frame.head(20)), dict[str, Score]()
    for key, metric in metrics.items():
        known = key in own
        found = _measure(key, own[key], frame) if known else _rehearse_callable(key, metric, answered)
        _add(key, found, scores)
    return {name: score.direction for name, score in scores.items()}, len(own) == len(metrics)


def _is_rehearsable(metric: Any) -> bool:
    """Whether a metric copes with rows without answers: one of this package."""
    return hasattr(metric, "resamples") or getattr(metric, "rehearsable", False) is True


def _add(key: str, found: Mapping[str, Score], scores: dict[str, Score]) -> None:
    """Add the scores of a metric to those of the others; refuse a name that is there already."""
    if twice := found.keys() & scores.keys():
        raise ConfigError(f"two metrics give a score {min(twice)!r}; rename metric.{key}")
    scores |= found


def _check_labels(key: str, metric: Any, frame: pl.DataFrame, labels: Mapping[str, Sequence[str]]) -> None:
    if _is_rehearsable(metric) and hasattr(metric, "check_names"):
        metric.check_names(frame, labels.get(metric.prediction, ()))
    for option, label, columns, among in getattr(metric, "named_labels", list)():
        known = next((labels[name] for name in columns if labels.get(name)), None)
        if known is None and among in frame.columns:
            known = [*map(str, frame[among].drop_nulls().unique().sort())]
        right = str(label) in known if known else True
        if not right or not all(_fits(label, frame.schema.get(name or "")) for name in (*columns, among)):
            other = (
                "labels are numbers" if isinstance(label, str) else "labels are text: put quotes around it"
            )
            hint = f"; {other}" if right else suggest(str(label), known or ())
            raise ConfigError(f"metric.{key}.{option}: {label!r} is not a label of these rows{hint}")
    if getattr(metric, "weights", None) and frame.schema.get(metric.prediction, pl.Null()).is_float():
        raise ConfigError(
            f"metric.{key}.weights: predictions may be fractions, and weights need whole numbers; "
            "set integer of the parser in prompt.parser"
        )


def _fits(label: object, dtype: pl.DataType | None) -> bool:
    """Whether a label is of the type of a column, as far as it is known."""
    if dtype is None or not (dtype == pl.String or dtype.is_numeric()):
        return True
    return isinstance(label, str) if dtype == pl.String else _is_number(label)


def _rehearse_callable(
    key: str, metric: Callable[[pl.DataFrame], Any], frame: pl.DataFrame
) -> dict[str, Score]:
    try:
        inspect.signature(metric).bind(frame)
    except TypeError as error:
        raise ConfigError(f"metric.{key}: it cannot be called with the rows: {error}") from error
    except ValueError:
        pass  # a built-in function may have no signature
    try:
        return _measure(key, metric, frame)
    except ConfigError as error:
        if error.__cause__ is None or isinstance(error.__cause__, MISTAKES):
            raise
        log.warning("%s; this was a rehearsal without answers, so it may be different with them", error)
    return {}


def _answer_with_gold(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as if the model had given the gold value."""
    if "target" not in frame.columns:
        return frame
    gold = frame["target"].list.first() if isinstance(frame["target"].dtype, pl.List) else frame["target"]
    return frame.with_columns(prediction=gold, completion=write_column(gold))


def _measure(key: str, metric: Callable[[pl.DataFrame], Any], frame: pl.DataFrame) -> dict[str, Score]:
    try:
        result = metric(frame)
    except RunnerError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"metric.{key}: {describe_error(error)}") from error
    if result is None or _is_number(result):
        result = {key: Score(result, n=frame.height)}
    if not isinstance(result, Mapping) or not all(map(_is_score, result.items())):
        raise ConfigError(
            f"metric.{key}: it gave {show_value(result)}; it must give a number (no truth value), None, or "
            "a dict from names to runner.types.Score"
        )
    own = getattr(metric, "name", key)
    own = own if isinstance(own, str) else key
    return {
        key + name.removeprefix(own) if name.startswith(own) else name: _clean(
            score,
            _find_direction(key, metric, name.removeprefix(own), score),
            _find_ends(metric, name.removeprefix(own)),
        )
        for name, score in result.items()
    }


def _find_direction(key: str, metric: Any, suffix: str, score: Score) -> Direction:
    """Which of two values is better: as the score says, or its metric or function; by default the higher."""
    made_by = getattr(metric, "func", metric)  # of a partial
    said = score.direction or getattr(metric, "direction", getattr(made_by, "direction", "higher"))
    if said not in DIRECTIONS:
        raise ConfigError(f"metric.{key}: direction {said!r}{suggest(str(said), DIRECTIONS)}")
    return "none" if suffix.removesuffix("_parsed") in getattr(metric, "undirected", ()) else said


def _find_ends(metric: Any, suffix: str) -> Ends:
    """The least and the most that a score can be, as its metric says."""
    if hasattr(metric, "find_ends"):
        return cast(Ends, metric.find_ends(suffix.removesuffix("_parsed")))
    return cast(Ends, getattr(metric, "ends", (None, None)))


def _is_number(value: object) -> bool:
    """Whether it is a plain or a NumPy number. A truth value is none: it is a comparison without its mean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_score(item: tuple[object, object]) -> bool:
    name, score = item
    if not isinstance(name, str) or not isinstance(score, Score):
        return False
    numbers = (score.value, score.low, score.high)
    return isinstance(score.n, Integral) and all(each is None or _is_number(each) for each in numbers)


def _clean(score: Score, direction: Direction, ends: Ends) -> Score:
    """The score in plain numbers, which JSON can hold; None in place of NaN and infinity."""
    value, low, high = (
        float(each) if each is not None and isfinite(each) else None
        for each in (score.value, score.low, score.high)
    )
    is_odd = score.value is not None and value is None
    reason = f"it gave {score.value}" if is_odd else score.reason
    return Score(value, low, high, int(score.n), reason, direction, *ends)
