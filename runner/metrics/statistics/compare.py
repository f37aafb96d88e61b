"""Two runs, or all runs of a sweep, compared by a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError, suggest
from runner.core.types import REPEAT
from runner.metrics.base import Metric, is_parsed
from runner.metrics.bootstrap import Floats, Measure, Statistic, Tally, draw_statistics, find_intervals, tally
from runner.metrics.repeated import split_repeats
from runner.metrics.rows import RowMetric
from runner.metrics.statistics.significance import (
    benjamini_hochberg,
    detectable_difference,
    holm,
    mcnemar,
    permutation_test,
)

Reading = Literal["strict", "parsed"]

ALL_PAIRS, COSTLY_PAIRS = 45, 15
"""If there are more pairs of runs than this, each is compared with the best one only, or else the first one.

The second number is for a metric that is no mean over rows, whose permutation test can take seconds.
"""


def count_pairs(runs: int, are_means: bool) -> int:
    """How many comparisons of so many runs are made and corrected for."""
    pairs = runs * (runs - 1) // 2
    return pairs if pairs <= (ALL_PAIRS if are_means else COSTLY_PAIRS) else runs - 1


@dataclass(frozen=True)
class Comparison:
    """One metric of two runs on the same rows.

    difference   ``one`` minus ``other``; ``low`` and ``high`` are its bootstrap interval
    p            two-sided p-value of ``test``: ``mcnemar`` (exact) if rows are right or wrong, else
                 ``permutation``
    adjusted     p corrected for the number of comparisons, if there are several
    detectable   the smallest true difference that as many rows would show with 80 % power at level 5 %
    """

    metric: str
    n: int
    one: float | None
    other: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    test: str = "permutation"
    adjusted: float | None = None
    detectable: float | None = None
    names: tuple[str, str] = ("one", "other")


def compare(
    metric: Metric, one: pl.DataFrame, other: pl.DataFrame, reading: Reading = "strict", key: str = "id"
) -> dict[str, Comparison]:
    """Compare two runs by a metric: one comparison for each number that the metric gives.

    ``strict`` counts unparsed rows as wrong; ``parsed`` keeps the rows that both runs have parsed. Group,
    confidence, resamples and seed are taken from the metric. Raises :class:`DataError` for different rows.
    """
    both = _pair_runs(metric, one, other, reading, key)
    return {
        f"{metric.name}{suffix}": _compare_measure(f"{metric.name}{suffix}", metric, measure, both)
        for suffix, measure in metric.measures().items()
    }


def align_rows(one: pl.DataFrame, other: pl.DataFrame, key: str = "id") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both frames sorted by ``key``, of rows that were asked several times the first answers.

    Raises :class:`DataError` if they do not hold the same rows.
    """
    one, other = (_take_first(frame, key) for frame in (one, other))
    for frame in (one, other):
        if key not in frame.columns:
            raise DataError(
                f"runs are compared by the column {key!r}, which is missing{suggest(key, frame.columns)}"
            )
        if frame[key].is_duplicated().any():
            raise DataError(
                f"column {key!r} has the same value in several rows, such as {frame[key].mode().first()!r}"
            )
    unshared = [_find_unshared(one, other, key), _find_unshared(other, one, key)]
    if any(unshared):
        raise DataError(
            "the runs have different rows and cannot be compared: "
            f"{_format_ids(unshared[0])} only in the first, {_format_ids(unshared[1])} only in the second"
        )
    one, other = one.sort(key), other.sort(key)
    if "target" in one.columns and "target" in other.columns:
        _check_targets(one, other, key)
    return one, other


def _take_first(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    return frame.unique(key, keep="first", maintain_order=True) if REPEAT in frame.columns else frame


def _find_unshared(one: pl.DataFrame, other: pl.DataFrame, key: str) -> list[Any]:
    return sorted(set(one[key].to_list()) - set(other[key].to_list()), key=str)


def _format_ids(names: list[Any]) -> str:
    first = ", ".join(map(str, names[:3]))
    return f"{len(names)} rows ({first}{', …' if len(names) > 3 else ''})" if names else "none"


def _check_targets(one: pl.DataFrame, other: pl.DataFrame, key: str) -> None:
    differ = [
        name
        for name, a, b in zip(one[key], one["target"].to_list(), other["target"].to_list(), strict=True)
        if a != b
    ]
    if differ:
        raise DataError(f"the runs have different targets in {_format_ids(differ)} and cannot be compared")


@dataclass(frozen=True)
class _PairedRuns:
    """Rows counted by what both runs have in them; ``one`` and ``other`` are the cells of each run.

    A run has one frame of cells for each repeat.
    """

    one: list[pl.DataFrame]
    other: list[pl.DataFrame]
    sample: Tally


def _pair_runs(
    metric: Metric, one: pl.DataFrame, other: pl.DataFrame, reading: Reading, key: str
) -> _PairedRuns:
    if not isinstance(metric, Metric):
        raise ConfigError(f"{type(metric).__name__} cannot compare runs; only a runner.metrics.Metric can")
    if metric.per:
        raise ConfigError(f"metric {metric.name}: runs cannot be compared per {metric.per}; use group")
    align_rows(one, other, key)
    sides = [[part.sort(key) for part in split_repeats(frame)] for frame in (one, other)]
    pairs = [[metric.pairs(part) for part in parts] for parts in sides]
    cells = [[metric.cells(some) for some in parts] for parts in pairs]
    heights = [part.height for parts in cells for part in parts]
    if len(set(heights)) > 1:
        raise DataError(f"metric {metric.name}: the runs have {heights[0]} and {heights[-1]} units")
    every = [part for parts in cells for part in parts]
    rows = pl.DataFrame({str(number): part.to_struct() for number, part in enumerate(every)})
    keep = pl.repeat(True, rows.height, eager=True)
    if reading == "parsed":
        for part in every:
            keep &= part["parsed"]
    groups = pairs[0][0]["group"].filter(keep) if metric.group else None
    sample = tally(rows.filter(keep), groups)
    counted = [sample.cells[name].struct.unnest() for name in sample.cells.columns]
    return _PairedRuns(counted[: len(cells[0])], counted[len(cells[0]) :], sample)


def _compare_measure(name: str, metric: Metric, measure: Measure, both: _PairedRuns) -> Comparison:
    sample = both.sample
    n = int(sample.counts.sum())
    if not n:
        return Comparison(name, 0, None, None)
    one, other = (_average_value(measure, side, sample) for side in (both.one, both.other))
    if one is None or other is None:
        return Comparison(name, n, one, other)
    differ: Statistic = lambda counts: (  # noqa: E731
        _average_values(measure, both.one, counts) - _average_values(measure, both.other, counts)
    )
    (drawn,) = draw_statistics(sample, [differ], metric.resamples, metric.seed)
    low, high = find_intervals(sample, [differ], [drawn], metric.confidence, metric.seed)[0]
    test, p = _test_difference(metric, measure, both, one - other)
    smallest = detectable_difference(float(np.nanstd(drawn)))
    return Comparison(name, n, one, other, one - other, low, high, p, test, detectable=smallest)


def _average_value(measure: Measure, repeats: Sequence[pl.DataFrame], sample: Tally) -> float | None:
    """The mean over repeats; None where the value is undefined in one, or no row of it was read."""
    values = [measure.value(cells, sample.counts) if is_parsed(cells).any() else None for cells in repeats]
    return None if None in values else float(np.mean([value for value in values if value is not None]))


def _average_values(measure: Measure, repeats: Sequence[pl.DataFrame], counts: Floats) -> Floats:
    return np.asarray(np.mean([measure.values(cells, counts) for cells in repeats], axis=0))


def _test_difference(
    metric: Metric, measure: Measure, both: _PairedRuns, difference: float
) -> tuple[str, float]:
    is_single = len(both.one) == len(both.other) == 1
    if isinstance(metric, RowMetric) and metric.proportion and not metric.group and is_single:
        right, too = (side[0]["score"].to_numpy() == 1 for side in (both.one, both.other))
        counts = both.sample.counts
        return "mcnemar", mcnemar(int(counts[right & ~too].sum()), int(counts[too & ~right].sum()))
    return "permutation", permutation_test(
        measure, both.one, both.other, both.sample, difference, metric.seed
    )


CORRECTIONS = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}


def adjust_p_values(comparisons: Sequence[Comparison], correction: str = "holm") -> list[Comparison]:
    """The comparisons with ``adjusted`` set; a comparison without a p-value does not count as a test."""
    if correction not in CORRECTIONS:
        raise ConfigError(f"correction {correction!r}{suggest(correction, CORRECTIONS)}")
    tested = [comparison.p for comparison in comparisons if comparison.p is not None]
    corrected = iter(CORRECTIONS[correction](tested))
    return [c if c.p is None else replace(c, adjusted=next(corrected)) for c in comparisons]


def compare_runs(
    metric: Metric,
    runs: Mapping[str, pl.DataFrame],
    baseline: str | None = None,
    correction: str = "holm",
    reading: Reading = "strict",
    key: str = "id",
    suffix: str | None = None,
) -> list[Comparison]:
    """Compare the runs of a sweep with ``baseline``, or each two of them.

    It is done by the metric's number with this ``suffix``, by default its first one. P-values are corrected
    for the number of comparisons.
    """
    if baseline is not None and baseline not in runs:
        raise ConfigError(f"baseline {baseline!r} is not a run{suggest(baseline, runs)}")
    duos = combinations(runs, 2) if baseline is None else ((run, baseline) for run in runs if run != baseline)
    one_of = partial(_compare_one_measure, metric, reading=reading, key=key, suffix=suffix)
    return adjust_p_values([replace(one_of(runs[a], runs[b]), names=(a, b)) for a, b in duos], correction)


def _compare_one_measure(
    metric: Metric, one: pl.DataFrame, other: pl.DataFrame, reading: Reading, key: str, suffix: str | None
) -> Comparison:
    both, measures = _pair_runs(metric, one, other, reading, key), metric.measures()
    suffix = next(iter(measures)) if suffix is None else suffix
    if suffix not in measures:
        raise ConfigError(f"metric {metric.name}: it gives no number {metric.name}{suffix}")
    measure = measures[suffix]
    return _compare_measure(f"{metric.name}{suffix}", metric, measure, both)
