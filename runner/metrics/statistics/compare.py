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
from runner.metrics.base import Measure, Metric, is_parsed
from runner.metrics.bootstrap import Statistic, Tally, draw_statistics, find_intervals, tally
from runner.metrics.rows import RowMetric
from runner.metrics.statistics.significance import (
    benjamini_hochberg,
    detectable_difference,
    holm,
    mcnemar,
    permutation_test,
)

Reading = Literal["strict", "parsed"]


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
    """Both frames sorted by ``key``. Raises :class:`DataError` if they do not hold the same rows."""
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
    """Rows counted by what both runs have in them; ``one`` and ``other`` are the cells of each run."""

    one: pl.DataFrame
    other: pl.DataFrame
    sample: Tally


def _pair_runs(
    metric: Metric, one: pl.DataFrame, other: pl.DataFrame, reading: Reading, key: str
) -> _PairedRuns:
    if not isinstance(metric, Metric):
        raise ConfigError(f"{type(metric).__name__} cannot compare runs; only a runner.metrics.Metric can")
    if metric.per:
        raise ConfigError(f"metric {metric.name}: runs cannot be compared per {metric.per}; use group")
    pairs = [metric.pairs(frame) for frame in align_rows(one, other, key)]
    cells = [metric.cells(some) for some in pairs]
    if cells[0].height != cells[1].height:
        raise DataError(f"metric {metric.name}: the runs have {cells[0].height} and {cells[1].height} units")
    rows = pl.DataFrame({"one": cells[0].to_struct(), "other": cells[1].to_struct()})
    keep = pl.repeat(True, rows.height, eager=True)
    if reading == "parsed":
        keep = cells[0]["parsed"] & cells[1]["parsed"]
    groups = pairs[0]["group"].filter(keep) if metric.group else None
    sample = tally(rows.filter(keep), groups)
    return _PairedRuns(sample.cells["one"].struct.unnest(), sample.cells["other"].struct.unnest(), sample)


def _compare_measure(name: str, metric: Metric, measure: Measure, both: _PairedRuns) -> Comparison:
    sample = both.sample
    n = int(sample.counts.sum())
    if not n:
        return Comparison(name, 0, None, None)
    one, other = (
        measure.value(side, sample.counts) if is_parsed(side).any() else None
        for side in (both.one, both.other)
    )
    if one is None or other is None:
        return Comparison(name, n, one, other)
    differ: Statistic = lambda counts: measure.values(both.one, counts) - measure.values(both.other, counts)  # noqa: E731
    (drawn,) = draw_statistics(sample, [differ], metric.resamples, metric.seed)
    low, high = find_intervals(sample, [differ], [drawn], metric.confidence, metric.seed)[0]
    test, p = _test_difference(metric, measure, both, one - other)
    smallest = detectable_difference(float(np.nanstd(drawn)))
    return Comparison(name, n, one, other, one - other, low, high, p, test, detectable=smallest)


def _test_difference(
    metric: Metric, measure: Measure, both: _PairedRuns, difference: float
) -> tuple[str, float]:
    if isinstance(metric, RowMetric) and metric.proportion and not metric.group:
        right, too = (side["score"].to_numpy() == 1 for side in (both.one, both.other))
        counts = both.sample.counts
        return "mcnemar", mcnemar(int(counts[right & ~too].sum()), int(counts[too & ~right].sum())).p
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
