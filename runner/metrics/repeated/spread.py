"""Where the uncertainty of a score comes from: the rows, the repeats of a row, or the judge."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from runner.core.types import REPEAT, Score
from runner.metrics.base import UNDEFINED, Metric
from runner.metrics.bootstrap import Floats, Measure, tally
from runner.metrics.repeated.each import reads_repeats, split_repeats
from runner.metrics.rows import RowMetric

VERDICTS = "judge_verdicts"
MEMBER = re.compile(r"judge_\w+_verdict")
"""The verdict of a member of a panel."""
MOST_CELLS = 500
"""A score of rows that are almost all different is left out: each of them would be left out in turn."""


class UnknownSpread(Exception):
    """Why the variance of a score is not known."""


@dataclass(frozen=True)
class Values:
    """What each unit adds to a score: ``each`` has the shape (units, repeats), and its mean is the score.

    A unit is a row, a pair of rows, or a group that a metric is averaged ``per``. Units of one number in
    ``groups``, of shape (units,), vary together; None: each varies on its own.
    """

    each: Floats
    groups: Any = None


def find_spreads(
    metrics: Mapping[str, Callable[[pl.DataFrame], Any]],
    frame: pl.DataFrame,
    scores: Mapping[str, Score] = MappingProxyType({}),
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """By score, its variance between ``rows``, ``repeats`` of a row, and verdicts of a ``judge``.

    The judge's is that of the verdicts of one judge on the same answer, if there are several
    (``judge_verdicts``; of a member of a panel ``judge_<member>_verdicts``); the variance of a single
    ``verdict`` then stands beside it. Members of a panel who differ are no variance of a judge. Only scores
    that are a :class:`Metric` have them, in the strict reading; {} where nothing is repeated. Second, why the
    other scores do not have them: also those of ``scores``, as they were measured, that have no value.
    """
    found: dict[str, dict[str, float]] = {}
    reasons: dict[str, str] = {}
    if frame.is_empty() or not {REPEAT, VERDICTS} & {*frame.columns}:
        return found, reasons
    for key, metric in metrics.items():
        if not isinstance(metric, Metric):
            if REPEAT in frame.columns and not reads_repeats(metric):
                reasons[key] = "the metric does not say what single rows add to it"
            continue
        for suffix, measure in metric.measures().items():
            score = scores.get(f"{key}{suffix}")
            try:
                if score and score.value is None:
                    raise UnknownSpread(score.reason or UNDEFINED)
                if spread := _find_spread(metric, measure, frame):
                    found[f"{key}{suffix}"] = spread
            except UnknownSpread as reason:
                reasons[f"{key}{suffix}"] = str(reason)
            except Exception:  # its failure is told where its score is
                continue
    return found, reasons


def _find_spread(metric: Metric, measure: Measure, frame: pl.DataFrame) -> dict[str, float]:
    """The variances of one score; {} where nothing is repeated that this metric reads."""
    verdicts = _find_verdicts(metric, frame)
    if verdicts is None and REPEAT not in frame.columns:
        return {}
    values = list_values(metric, measure, frame)
    spread = split_variance(values.each, values.groups)
    if verdicts:
        parts = _split_verdicts(frame, verdicts, metric.prediction)
        several = [list_values(metric, measure, each).each for each in parts]
        if len(several) > 1:
            spread |= split_verdicts(np.stack(several, axis=2))
    return spread


def _find_verdicts(metric: Metric, frame: pl.DataFrame) -> str | None:
    """The column of all that one judge said of each answer, if a metric reads what was made of it."""
    name, has_members = f"{metric.prediction}s", any(map(MEMBER.fullmatch, frame.columns))
    if metric.prediction == "verdict":
        name = "" if has_members else VERDICTS
    elif not MEMBER.fullmatch(metric.prediction):
        return None
    return name if name in frame.columns else None


def _split_verdicts(frame: pl.DataFrame, verdicts: str, verdict: str) -> list[pl.DataFrame]:
    """The frame with the first verdict of the judge on each answer, with the second, and so on."""
    several = pl.col(verdicts).list
    most = int(frame[verdicts].list.len().max() or 0)  # type: ignore[arg-type]
    return [frame.with_columns(several.get(place, null_on_oob=True).alias(verdict)) for place in range(most)]


def list_values(metric: Metric, measure: Measure, frame: pl.DataFrame) -> Values:
    """What each row (or pair, or group of ``per``) adds to a score in each repeat.

    For a mean it is what the mean is over, else the jackknife's pseudo-values (Efron and Tibshirani 1993,
    section 11.5). Raises :class:`UnknownSpread` where it is not known.
    """
    pairs = [metric.pairs(part) for part in split_repeats(frame)]
    cells = [metric.cells(some) for some in pairs]
    if len({each.height for each in cells}) != 1:
        raise UnknownSpread("some repeats have fewer rows that can be scored")
    if metric.per:
        columns = [_list_group_values(measure, *each) for each in zip(cells, pairs, strict=True)]
    elif isinstance(metric, RowMetric) and list(metric.measures()) == [""]:
        columns = [each["score"].to_numpy().astype(np.float64) for each in cells]
    else:
        columns = [_list_pseudo_values(measure, each) for each in cells]
    values = np.stack(columns, axis=1)
    if not np.isfinite(values).all():
        raise UnknownSpread(f"it is not defined in each {metric.per or 'row and repeat'}")
    groups = None
    if metric.group:
        groups = pairs[0]["group"].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    return Values(values, groups)


def _list_group_values(measure: Measure, cells: pl.DataFrame, pairs: pl.DataFrame) -> Floats:
    """The value in each group, in an order that does not depend on the answers; NaN where undefined."""
    parts = cells.with_columns(pairs["group"].alias(" group")).partition_by(" group", maintain_order=True)
    each = [measure.value(part.drop(" group"), np.ones(part.height)) for part in parts]
    return np.array([np.nan if value is None else value for value in each])


def _list_pseudo_values(measure: Measure, cells: pl.DataFrame) -> Floats:
    sample, n = tally(cells), cells.height
    if n < 2:
        raise UnknownSpread("there is only one row")
    if len(sample.counts) > MOST_CELLS:
        raise UnknownSpread(f"it is no mean over rows, and more than {MOST_CELLS} rows are different")
    whole = measure.values(sample.cells, sample.counts[None, :])[0]
    left_out = measure.values(sample.cells, sample.counts[None, :] - np.eye(len(sample.counts)))
    numbered = sample.cells.with_columns(pl.Series(" value", n * whole - (n - 1) * left_out))
    joined = cells.join(numbered, on=cells.columns, nulls_equal=True, how="left", maintain_order="left")
    return joined[" value"].to_numpy()


def split_variance(values: Floats, groups: Any = None) -> dict[str, float]:
    """The variance between rows and between the repeats of a row, of values of shape (rows, repeats).

    The usual estimates of a one-way random-effects model (Searle, Casella and McCulloch 1992, "Variance
    Components", section 3.6): within rows, and that of the rows' means less what repeats add to it, at least
    0. The squared standard error of the mean is ``(rows + repeats / k) / n``. With one repeat there is only
    ``rows``, in which the two are not told apart.

    Rows of one number in ``groups`` vary together. ``rows`` is then larger by as much as this makes the
    squared standard error larger, which is the cluster-robust one (Miller 2024, "Adding Error Bars to
    Evals", section on clustered questions), with the factor g / (g - 1) for g groups.
    """
    k = values.shape[1]
    of_means = measure_variance(values.mean(axis=1), groups)
    if k == 1:
        return {"rows": of_means}
    between_repeats = float(values.var(axis=1, ddof=1).mean())
    return {"rows": max(0.0, of_means - between_repeats / k), "repeats": between_repeats}


def measure_variance(values: Floats, groups: Any = None) -> float:
    """n times the squared standard error of the mean of n values, of which those of a group vary together."""
    n = len(values)
    sums = values - values.mean()
    if groups is not None:
        sums = np.bincount(groups, weights=sums)
        sums = sums[np.bincount(groups) > 0]
    units = len(sums)
    return float((sums**2).sum() / n * units / (units - 1)) if units > 1 else 0.0


def split_verdicts(values: Floats) -> dict[str, float]:
    """The variance of a single ``verdict``, and the part of it that is the ``judge``'s.

    ``values`` have the shape (rows, repeats, verdicts). The judge's part is the variance between verdicts on
    the same answer. The rest is between the means of answers, less what the judge adds to it.
    """
    _, k, verdicts = values.shape
    judge = float(values.var(axis=2, ddof=1).mean())
    answers = values.mean(axis=2)
    repeats = max(0.0, float(answers.var(axis=1, ddof=1).mean()) - judge / verdicts) if k > 1 else 0.0
    of_means = measure_variance(answers.mean(axis=1))
    rows = max(0.0, of_means - (repeats + judge / verdicts) / k)
    return {"judge": judge, "verdict": rows + repeats + judge}
