"""Where the uncertainty of a score comes from: rows that differ, or answers that differ from each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from runner.core.types import REPEAT
from runner.metrics.base import Measure, Metric
from runner.metrics.bootstrap import Floats, tally
from runner.metrics.repeated.each import split_repeats
from runner.metrics.rows import RowMetric

VERDICTS = "judge_verdicts"
MOST_CELLS = 500
"""A score of rows that are almost all different is left out: each of them would be left out in turn."""


def find_spreads(
    metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame
) -> dict[str, dict[str, float]]:
    """By score, its variance between ``rows``, ``repeats`` of a row, and verdicts of a ``judge``.

    The judge's is that of the verdicts on the same answer, if there are several (``judge_verdicts``). Only
    scores that are a :class:`Metric` of rows have them, in the strict reading; {} where nothing is repeated.
    """
    if frame.is_empty() or not {REPEAT, VERDICTS} & {*frame.columns}:
        return {}
    found: dict[str, dict[str, float]] = {}
    for key, metric in metrics.items():
        if isinstance(metric, Metric) and not (metric.per or metric.group):
            try:
                found |= {f"{key}{suffix}": spread for suffix, spread in _find_spread(metric, frame)}
            except Exception:  # its failure is told where its score is
                continue
    return found


def _find_spread(metric: Metric, frame: pl.DataFrame) -> Iterator[tuple[str, dict[str, float]]]:
    for suffix, measure in metric.measures().items():
        values = _list_values(metric, measure, frame)
        if values is None:
            continue
        spread = split_variance(values)
        if VERDICTS in frame.columns and metric.prediction == "verdict":
            several = [_list_values(metric, measure, each) for each in _split_verdicts(frame)]
            known = [each for each in several if each is not None]
            if len(known) == len(several) > 1:
                spread["judge"] = float(np.var(known, axis=0, ddof=1).mean())
        elif REPEAT not in frame.columns:
            continue
        yield suffix, spread


def _split_verdicts(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The frame with the first verdict of the judge on each answer, with the second, and so on."""
    several = pl.col(VERDICTS).list
    most = int(frame[VERDICTS].list.len().max() or 0)  # type: ignore[arg-type]
    return [frame.with_columns(verdict=several.get(place, null_on_oob=True)) for place in range(most)]


def _list_values(metric: Metric, measure: Measure, frame: pl.DataFrame) -> Floats | None:
    """What each row adds to the score in each repeat, of shape (rows, repeats); None if that is not known.

    For a mean of rows it is their scores, else the jackknife's pseudo-values (Efron and Tibshirani 1993,
    section 11.5).
    """
    cells = [metric.cells(metric.pairs(part)) for part in split_repeats(frame)]
    if len({each.height for each in cells}) != 1:
        return None
    if isinstance(metric, RowMetric) and list(metric.measures()) == [""]:
        columns: list[Floats | None] = [each["score"].to_numpy().astype(np.float64) for each in cells]
    else:
        columns = [_list_pseudo_values(measure, each) for each in cells]
    known = [each for each in columns if each is not None and np.isfinite(each).all()]
    return np.stack(known, axis=1) if len(known) == len(columns) else None


def _list_pseudo_values(measure: Measure, cells: pl.DataFrame) -> Floats | None:
    sample, n = tally(cells), cells.height
    if len(sample.counts) > MOST_CELLS or n < 2:
        return None
    whole = measure.values(sample.cells, sample.counts[None, :])[0]
    left_out = measure.values(sample.cells, sample.counts[None, :] - np.eye(len(sample.counts)))
    numbered = sample.cells.with_columns(pl.Series(" value", n * whole - (n - 1) * left_out))
    joined = cells.join(numbered, on=cells.columns, nulls_equal=True, how="left", maintain_order="left")
    return joined[" value"].to_numpy()


def split_variance(values: Floats) -> dict[str, float]:
    """The variance between rows and between the repeats of a row, of values of shape (rows, repeats).

    The usual estimates of a one-way random-effects model (Searle, Casella and McCulloch 1992, "Variance
    Components", section 3.6): within rows, and that of the rows' means less what repeats add to it, at least
    0. The squared standard error of the mean is ``(rows + repeats / k) / n``. With one repeat there is only
    ``rows``, in which the two are not told apart.
    """
    n, k = values.shape
    of_means = float(values.mean(axis=1).var(ddof=1)) if n > 1 else 0.0
    if k == 1:
        return {"rows": of_means}
    between_repeats = float(values.var(axis=1, ddof=1).mean())
    return {"rows": max(0.0, of_means - between_repeats / k), "repeats": between_repeats}
