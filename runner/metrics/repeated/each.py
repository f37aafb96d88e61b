"""Any metric over rows that are asked several times: its score in each repeat, averaged.

The unit is the row: for the interval rows are drawn, each with all its repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import REPEAT, Score
from runner.metrics.base import UNDEFINED, Metric, is_parsed
from runner.metrics.bootstrap import (
    Bounds,
    Floats,
    Measure,
    Statistic,
    Tally,
    bootstrap_intervals,
    clopper_pearson,
    tally,
)
from runner.metrics.repeated.reduce import EACH, check_reduction, reduce_rows

Call = Callable[[pl.DataFrame], Any]


def over_repeats(metrics: Mapping[str, Call], frame: pl.DataFrame, rule: str = EACH) -> Mapping[str, Call]:
    """The metrics as functions of a frame with repeats; the same ones for a frame without."""
    if REPEAT not in frame.columns:
        return metrics
    return {key: _OverRepeats(metric, rule) for key, metric in metrics.items()}


def check_repeats(metrics: Mapping[str, Call], frame: pl.DataFrame, rule: str, repeats: int) -> None:
    """Raise :class:`ConfigError` for a metric that needs more repeats, or a rule that does not fit.

    ``frame`` has rows without answers, one for each row.
    """
    for key, metric in metrics.items():
        needed = getattr(metric, "repeats", 2) if reads_repeats(metric) else 1
        if needed > repeats:
            raise ConfigError(
                f"metric.{key}: it needs {needed} answers to each row; set hyperparameter.repeats to {needed}"
                f" or more (it is {repeats})"
            )
        if repeats > 1 and not reads_repeats(metric):
            check_reduction(key, metric, frame, rule)


def reads_repeats(metric: Call) -> bool:
    """Whether a metric itself is about the repeats of a row."""
    return bool(getattr(metric, "reads_repeats", False))


class _OverRepeats:
    """A metric with all its attributes, which is called with a frame that has repeats."""

    def __init__(self, metric: Call, rule: str) -> None:
        self._metric, self._rule = metric, rule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._metric, name)

    def __call__(self, frame: pl.DataFrame) -> Any:
        if reads_repeats(self._metric):
            return self._metric(frame)
        if self._rule == EACH:
            return measure_each(self._metric, frame)
        return self._metric(reduce_rows(frame, self._rule, self._metric))


def split_repeats(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """A frame for each repeat, without the column, with the same rows in the same order."""
    if REPEAT not in frame.columns:
        return [frame]
    first = frame.select(pl.col("id").unique(maintain_order=True))
    return [
        first.join(part.drop(REPEAT), on="id", how="inner", maintain_order="left").select(
            name for name in frame.columns if name != REPEAT
        )
        for _, part in sorted(frame.partition_by(REPEAT, as_dict=True).items())
    ]


def measure_each(metric: Call, frame: pl.DataFrame) -> Any:
    """The scores of a metric averaged over repeats.

    A :class:`Metric` gets the interval of this average: rows are drawn, each with its repeats. For any other
    callable, and for one that is averaged ``per`` group, the ends of the repeats' own intervals are averaged.
    That interval is at least as wide, since the standard deviation of a mean is at most the mean of the
    standard deviations. A score is undefined if it is so in a repeat; over the parsed rows, a repeat of which
    nothing was read is left out.
    """
    parts = split_repeats(frame)
    if isinstance(metric, Metric) and type(metric).__call__ is Metric.__call__ and not metric.per:
        pairs = [metric.pairs(part) for part in parts]
        cells = [metric.cells(some) for some in pairs]
        if len({each.height for each in cells}) == 1:
            return _measure_together(metric, cells, pairs[0]["group"] if metric.group else None)
    return average_scores([metric(part) for part in parts])


def _measure_together(
    metric: Metric, cells: Sequence[pl.DataFrame], groups: pl.Series | None
) -> dict[str, Score]:
    rows = pl.DataFrame({str(number): each.to_struct() for number, each in enumerate(cells)})
    sample = tally(rows, groups)
    sides = [sample.cells[name].struct.unnest() for name in sample.cells.columns]
    if rows.height and not any(is_parsed(side).any() for side in sides):
        return metric._leave_undefined(rows.height)
    every = [np.ones(len(sample.counts), dtype=bool)] * len(sides)
    parsed = [is_parsed(side) for side in sides]
    strict = _score_all(metric, sample, sides, every)
    are_all_parsed = all(keep.all() for keep in parsed)
    some = strict if are_all_parsed and rows.height else _score_all(metric, sample, sides, parsed)
    return {f"{metric.name}{suffix}": score for suffix, score in strict.items()} | {
        f"{metric.name}{suffix}_parsed": score for suffix, score in some.items()
    }


def _score_all(
    metric: Metric, sample: Tally, sides: Sequence[pl.DataFrame], keep: Sequence[Any]
) -> dict[str, Score]:
    used = [(side.filter(mask), mask) for side, mask in zip(sides, keep, strict=True) if mask.any()]
    n = int(sample.counts[np.any(keep, axis=0)].sum()) if len(sample.counts) else 0
    measures = metric.measures()
    if not n:
        return dict.fromkeys(measures, Score(None, reason="there are no rows"))
    statistics: list[Statistic] = [partial(_average, measure, used) for measure in measures.values()]
    bounds = bootstrap_intervals(sample, statistics, metric.confidence, metric.resamples, metric.seed)
    return {
        suffix: _score(metric, measure, used, sample, n, bound)
        for (suffix, measure), bound in zip(measures.items(), bounds, strict=True)
    }


def _average(measure: Measure, used: Sequence[tuple[pl.DataFrame, Any]], counts: Floats) -> Floats:
    """The mean over repeats for each resample; NaN where it is undefined in one."""
    values = [measure.values(cells, counts if keep.all() else counts[:, keep]) for cells, keep in used]
    return np.asarray(np.mean(values, axis=0))


def _score(
    metric: Metric, measure: Measure, used: Sequence[Any], sample: Tally, n: int, bounds: Bounds
) -> Score:
    values = [measure.value(cells, sample.counts[keep]) for cells, keep in used]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        cells = used[values.index(None)][0]
        return Score(None, n=n, reason=metric.explain(cells) or UNDEFINED)
    value = float(np.mean(known))
    if measure.proportion and bounds[0] is None and value in (0.0, 1.0):
        bounds = clopper_pearson(value, min(n, sample.units), metric.confidence)
    return Score(value, bounds[0], bounds[1], n)


def average_scores(found: Sequence[Any]) -> Any:
    """The mean of what a metric gave for each repeat; what is not one score in each is left as it came."""
    if all(isinstance(each, Mapping) for each in found):
        names = dict.fromkeys(name for each in found for name in each)
        return {name: _average_score([each.get(name) for each in found]) for name in names}
    if any(each is None for each in found):
        return None
    return float(np.mean(found)) if all(_is_number(each) for each in found) else found[0]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _average_score(scores: Sequence[Any]) -> Any:
    odd = [score for score in scores if not isinstance(score, Score) or score.value is None]
    if odd:
        return odd[0] if odd[0] is not None else Score(None, reason="a repeat does not have it")
    lows, highs = [score.low for score in scores], [score.high for score in scores]
    has_ends = None not in lows and None not in highs
    return Score(
        value=float(np.mean([score.value for score in scores])),
        low=float(np.mean(lows)) if has_ends else None,
        high=float(np.mean(highs)) if has_ends else None,
        n=round(float(np.mean([score.n for score in scores]))),
        direction=scores[0].direction,
    )
