"""Which points differ by more than chance: paired tests on the same rows, corrected for their number."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from runner.core.errors import ConfigError, DataError
from runner.metrics.base import Metric, RowMetric
from runner.metrics.statistics import Comparison, adjusted, aligned, compare_runs, detectable_rate
from runner.report.points import Point

Build = Callable[[Any, str], Any]
"""Makes a metric from its node in a config; the second argument is its key."""

ALL_PAIRS, COSTLY_PAIRS = 45, 15
"""Up to so many pairs of one family each two points are compared, beyond it each with the first.

A permutation of a metric that is no mean over rows can take seconds.
"""

MOST, PATIENCE_S = 20, 3.0
"""Points up to which a sweep is compared with its first one when it ends, and how long that may take."""

LEVEL = 0.05


@dataclass(frozen=True)
class Family:
    """Points on the same rows, which alone can be compared."""

    points: list[Point]
    n: int

    @property
    def rate(self) -> float | None:
        """The difference of two proportions that its rows (or pairs) can show."""
        units = max((score.n for score in self.points[0].record.scores.values()), default=0)
        return detectable_rate(units)

    @property
    def pairs(self) -> int:
        return len(self.points) * (len(self.points) - 1) // 2


@dataclass(frozen=True)
class Table:
    """All comparisons by one metric, corrected together. ``names`` are numbers of points."""

    metric: str
    comparisons: list[Comparison]
    pairs: int
    """Pairs of points that have the metric; where there are many, only some are compared."""

    @property
    def shown(self) -> int:
        """How many differences are larger than chance explains."""
        return sum(one.adjusted is not None and one.adjusted < LEVEL for one in self.comparisons)

    @property
    def detectable(self) -> tuple[float, float] | None:
        """The least and the greatest of the differences that the pairs could show."""
        known = [one.detectable for one in self.comparisons if one.detectable is not None]
        return (min(known), max(known)) if known else None


@dataclass(frozen=True)
class Compared:
    """``refused`` says why families are apart, ``left_out`` why a metric is not compared."""

    families: list[Family]
    refused: list[str]
    tables: list[Table]
    left_out: dict[str, str]
    names: dict[str, str]


def compare(points: Sequence[Point], build: Build) -> Compared:
    """Compare the points of each family by each metric of theirs."""
    families, refused = related(points)
    several = [family for family in families if len(family.points) > 1]
    tables, left_out = [], {}
    for name in _metrics(several):
        try:
            tables.append(_table(name, several, build))
        except (ConfigError, DataError) as error:
            left_out[name] = str(error)
    names = {point.number: point.name for point in points}
    return Compared(families, refused, tables, left_out, names)


def frame(tables: Sequence[Table]) -> pl.DataFrame:
    """All comparisons as one table; ``one`` and ``other`` are numbers of points."""
    rows = [asdict(comparison) for table in tables for comparison in table.comparisons]
    for row in rows:
        numbers = row.pop("names")
        row |= {"score_one": row["one"], "score_other": row["other"], "one": numbers[0], "other": numbers[1]}
    return pl.DataFrame(rows, infer_schema_length=None)


def with_first(points: Sequence[Point], build: Build, patience_s: float = PATIENCE_S) -> Table | None:
    """Every other point compared with the first by the first metric that can.

    None if rows differ, or if it takes longer than a sweep should be kept from ending.
    """
    families, refused = related(points)
    if refused or not families or len(families[0].points) < 2:
        return None
    for name in _metrics(families):
        try:
            metric = metric_of(name, families[0], build)
            found = list(_one_by_one(metric, families[0].points, time.monotonic() + patience_s))
        except (ConfigError, DataError):
            continue
        if len(found) < len(families[0].points) - 1:
            return None
        return Table(name, [replace(one, metric=name) for one in adjusted(found)], families[0].pairs)
    return None


def _one_by_one(metric: Metric, points: Sequence[Point], deadline: float) -> Iterator[Comparison]:
    """Each point against the first, until the time is over."""
    first, *others = ({point.number: point.rows} for point in points if point.rows is not None)
    for other in others:
        if time.monotonic() > deadline:
            return
        yield from compare_runs(metric, first | other, next(iter(first)))


def related(points: Sequence[Point]) -> tuple[list[Family], list[str]]:
    """Points by the rows they share, and for each family after the first why it is not in the first."""
    groups: list[list[Point]] = []
    refused: list[str] = []
    for point in points:
        if point.rows is None or not point.record.scores:
            continue
        reasons = []
        for group in groups:
            if not (reason := _apart(group[0], point)):
                group.append(point)
                break
            reasons.append(f"{group[0].number} and {point.number}: {reason}")
        else:
            groups.append([point])
            refused += reasons[:1]
    return [Family(group, 0 if (rows := group[0].rows) is None else rows.height) for group in groups], refused


def _apart(one: Point, other: Point) -> str:
    """Why two points cannot be compared; empty if they can."""
    try:
        aligned(_identity(one), _identity(other))
    except DataError as error:
        return str(error)
    return ""


def _identity(point: Point) -> pl.DataFrame:
    assert point.rows is not None
    return point.rows.select(name for name in ("id", "target") if name in point.rows.columns)


def _metrics(families: Sequence[Family]) -> list[str]:
    """The names of the metrics of these families, in the order of their first appearance."""
    nodes = [_nodes(point) for family in families for point in family.points]
    return list(dict.fromkeys(name for metrics in nodes for name, node in metrics.items() if node))


def _nodes(point: Point) -> Mapping[str, Any]:
    return point.record.config.get("metric") or {}


def _table(name: str, families: Sequence[Family], build: Build) -> Table:
    measured = [family for family in families if any(_nodes(point).get(name) for point in family.points)]
    found = [comparison for family in measured for comparison in _within(name, family, build)]
    if all(comparison.difference == 0 and comparison.detectable is None for comparison in found):
        raise ConfigError("the same in all points, row by row")
    return Table(name, adjusted(found), sum(family.pairs for family in measured))


def _within(name: str, family: Family, build: Build) -> list[Comparison]:
    metric = metric_of(name, family, build)
    most = ALL_PAIRS if isinstance(metric, RowMetric) else COSTLY_PAIRS
    baseline = family.points[0].number if family.pairs > most else None
    runs = {point.number: point.rows for point in family.points if point.rows is not None}
    return [replace(one, metric=name) for one in compare_runs(metric, runs, baseline)]


def metric_of(name: str, family: Family, build: Build) -> Metric:
    """The metric that all points of a family have under this name."""
    nodes = [_nodes(point).get(name) for point in family.points]
    if any(node != nodes[0] for node in nodes):
        raise ConfigError("its settings differ between the points")
    metric = build(nodes[0], f"metric.{name}")
    if not isinstance(metric, Metric):
        raise ConfigError("it gives no score that two runs could be compared by")
    return metric
