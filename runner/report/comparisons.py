"""Which points differ by more than chance? Paired tests on the same rows, corrected for their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from runner.core.errors import ConfigError, DataError
from runner.core.types import REPEAT
from runner.metrics.base import Metric
from runner.metrics.rows import RowMetric
from runner.metrics.statistics import Comparison, adjust_p_values, align_rows, compare_runs, detectable_rate
from runner.metrics.statistics.compare import COSTLY_PAIRS, count_pairs
from runner.metrics.statistics.power import LEVEL
from runner.records.ranking import rank
from runner.report.points import Point

Build = Callable[[Any, str], Any]
"""Makes a metric from its node in a config; the second argument is its key."""

MAX_POINTS, TIME_LIMIT_S = 20, 3.0
"""A sweep that ends is compared with its best point if it has few points and this takes little time."""


@dataclass(frozen=True)
class Family:
    """Points that have the same rows and so can be compared."""

    points: list[Point]
    n: int

    @property
    def detectable_rate(self) -> float | None:
        """The smallest difference of two proportions that these rows (or pairs) can show."""
        units = max((score.n for score in self.points[0].record.scores.values()), default=0)
        return detectable_rate(units)

    @property
    def pairs(self) -> int:
        """How many pairs of points there are."""
        return len(self.points) * (len(self.points) - 1) // 2


@dataclass(frozen=True)
class Table:
    """All comparisons by one metric, corrected together. Their ``names`` are numbers of points."""

    metric: str
    comparisons: list[Comparison]
    pairs: int
    """How many pairs of points have the metric; if there are many, only some are compared."""

    @property
    def significant(self) -> int:
        """How many differences are significant."""
        return sum(one.adjusted is not None and one.adjusted < LEVEL for one in self.comparisons)

    @property
    def detectable(self) -> tuple[float, float] | None:
        """The smallest and the largest of the differences that the pairs could show."""
        known = [one.detectable for one in self.comparisons if one.detectable is not None]
        return (min(known), max(known)) if known else None


@dataclass(frozen=True)
class Comparisons:
    """``refused`` says why families are separate, ``left_out`` why a metric is not compared."""

    families: list[Family]
    refused: list[str]
    tables: list[Table]
    left_out: dict[str, str]
    names: dict[str, str]


def compare_points(points: Sequence[Point], build: Build) -> Comparisons:
    """Compare the points of each family by each of their metrics."""
    families, refused = group_by_rows(points)
    several = [_put_best_first(family) for family in families if len(family.points) > 1]
    tables, left_out = [], {}
    for name in _list_metrics(several):
        try:
            tables.append(_compare_families(name, several, build))
        except (ConfigError, DataError) as error:
            left_out[name] = str(error)
    names = {point.number: point.name for point in points}
    return Comparisons(families, refused, tables, left_out, names)


def _put_best_first(family: Family) -> Family:
    """The family with its best point first, with which the others are compared where there are many."""
    best = rank([point.record for point in family.points]).best
    if not best or family.pairs <= COSTLY_PAIRS:
        return family
    first = family.points[best[0][0]]
    return replace(family, points=[first, *(point for point in family.points if point is not first)])


def tabulate_comparisons(tables: Sequence[Table]) -> pl.DataFrame:
    """All comparisons as one table; ``one`` and ``other`` are numbers of points."""
    rows = [asdict(comparison) for table in tables for comparison in table.comparisons]
    for row in rows:
        numbers = row.pop("names")
        row |= {"score_one": row["one"], "score_other": row["other"], "one": numbers[0], "other": numbers[1]}
    return pl.DataFrame(rows, infer_schema_length=None)


def group_by_rows(points: Sequence[Point]) -> tuple[list[Family], list[str]]:
    """Group points with the same rows, and say of each family after the first why it is separate."""
    groups: list[list[Point]] = []
    refused: list[str] = []
    for point in points:
        if point.rows is None or not point.record.scores:
            continue
        reasons = []
        for group in groups:
            if not (reason := _explain_mismatch(group[0], point)):
                group.append(point)
                break
            reasons.append(f"{group[0].number} and {point.number}: {reason}")
        else:
            groups.append([point])
            refused += reasons[:1]
    return [
        Family(group, 0 if (rows := group[0].rows) is None else rows["id"].n_unique()) for group in groups
    ], refused


def _explain_mismatch(one: Point, other: Point) -> str:
    """Say why two points cannot be compared; empty if they can."""
    try:
        align_rows(_select_identity(one), _select_identity(other))
    except DataError as error:
        return str(error)
    return ""


def _select_identity(point: Point) -> pl.DataFrame:
    assert point.rows is not None
    return point.rows.select(name for name in ("id", "target", REPEAT) if name in point.rows.columns)


def _list_metrics(families: Sequence[Family]) -> list[str]:
    """The names of the metrics of these families, in the order of their first appearance."""
    nodes = [_get_nodes(point) for family in families for point in family.points]
    return list(dict.fromkeys(name for metrics in nodes for name, node in metrics.items() if node))


def _get_nodes(point: Point) -> Mapping[str, Any]:
    return point.record.config.get("metric") or {}


def _compare_families(name: str, families: Sequence[Family], build: Build) -> Table:
    measured = [family for family in families if any(_get_nodes(point).get(name) for point in family.points)]
    found = [comparison for family in measured for comparison in _compare_family(name, family, build)]
    if all(comparison.difference == 0 and comparison.detectable is None for comparison in found):
        raise ConfigError("it is the same in all points, row by row")
    return Table(name, adjust_p_values(found), sum(family.pairs for family in measured))


def _compare_family(name: str, family: Family, build: Build) -> list[Comparison]:
    metric = build_metric(name, family, build)
    made = count_pairs(len(family.points), isinstance(metric, RowMetric))
    baseline = family.points[0].number if made < family.pairs else None
    runs = {point.number: point.rows for point in family.points if point.rows is not None}
    return [replace(one, metric=name) for one in compare_runs(metric, runs, baseline)]


def build_metric(name: str, family: Family, build: Build) -> Metric:
    """The metric that all points of a family have under this name."""
    nodes = [_get_nodes(point).get(name) for point in family.points]
    if any(node != nodes[0] for node in nodes):
        raise ConfigError("its settings differ between the points")
    metric = build(nodes[0], f"metric.{name}")
    if not isinstance(metric, Metric):
        raise ConfigError("it cannot compare runs; only a runner.metrics.Metric can")
    return metric
