"""Which point is best by the objective, and which others cannot be told from it: paired tests on the rows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from runner.core.errors import ConfigError, DataError, count_of
from runner.metrics.base import Metric
from runner.metrics.statistics import Comparison, adjust_p_values, compare_runs
from runner.metrics.statistics.power import LEVEL
from runner.records.averages import Average
from runner.records.ranking import Ranking, find_metric, rank
from runner.records.sweep import PARSED
from runner.report.comparisons import Build
from runner.report.formats import format_number, format_p_value
from runner.report.points import Point

BEST, TIED = "best", "best, equal"
MOST_NAMED = 3


@dataclass(frozen=True)
class Best:
    """The ranking of points, by their places in the list of them.

    verdicts      of each ranked point, in words: ``best``, or how it compares with the best
    comparisons   of the others with the best; their ``names`` are numbers of points, such as ``[3]``
    untested      why points were not tested; empty if all were
    """

    ranking: Ranking
    verdicts: dict[int, str] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    untested: str = ""

    @property
    def order(self) -> list[int]:
        """The ranked points, the best of each set of rows first."""
        return [place for group in self.ranking.groups for place in group]

    def name_verdicts(self, points: Sequence[Point]) -> dict[str, str]:
        """What is said of each ranked point, by its number such as ``[3]``."""
        return {points[place].number: verdict for place, verdict in self.verdicts.items()}

    @property
    def chosen(self) -> list[int]:
        """The best points."""
        return [place for best in self.ranking.best for place in best]


def find_best(points: Sequence[Point], build: Build, limit_s: float | None = None) -> Best:
    """Rank points by their objective and test the others of each set of rows against the best of it.

    P-values are corrected by Holm's method within a set. After ``limit_s`` seconds no further test begins.
    """
    ranking = rank([point.record for point in points])
    deadline = None if limit_s is None else time.monotonic() + limit_s
    verdicts: dict[int, str] = {}
    comparisons: list[Comparison] = []
    untested = ""
    for group, best in zip(ranking.groups, ranking.best, strict=True):
        verdicts |= dict.fromkeys(group, "not tested") | dict.fromkeys(best, TIED if best[1:] else BEST)
        others = [place for place in group if place not in best]
        if not others:
            continue
        try:
            found = list(_test_others(ranking.objective, points, best[0], others, build, deadline))
        except (ConfigError, DataError) as error:
            untested = str(error)
            continue
        if len(found) < len(others):
            untested = "it takes long; runner report does it"
            continue
        tested = adjust_p_values([replace(one, metric=ranking.objective) for one in found])
        verdicts |= dict(zip(others, map(_describe_test, tested), strict=True))
        comparisons += tested
    return Best(ranking, verdicts, comparisons, untested)


def _test_others(
    objective: str,
    points: Sequence[Point],
    best: int,
    others: Sequence[int],
    build: Build,
    deadline: float | None,
) -> Iterator[Comparison]:
    first, config = points[best], points[best].record.config
    if isinstance(first.record, Average):
        for place in others:
            yield _compare_averages(objective, first, points[place])
        return
    key = find_metric(config, objective)
    if key is None or first.rows is None or any(points[place].rows is None for place in others):
        raise ConfigError("their rows are not at hand")
    metric: Any = build(config["metric"][key], f"metric.{key}")
    if not isinstance(metric, Metric):
        raise ConfigError(f"{objective} cannot be compared row by row; only a runner.metrics.Metric can")
    suffix = objective.removeprefix(key)
    is_parsed = suffix.removesuffix(PARSED) in metric.measures() and suffix not in metric.measures()
    for place in others:
        if deadline is not None and time.monotonic() > deadline:
            return
        runs = {first.number: first.rows, points[place].number: points[place].rows}
        yield from compare_runs(
            metric,
            {number: rows for number, rows in runs.items() if rows is not None},
            first.number,
            reading="parsed" if is_parsed else "strict",
            suffix=suffix.removesuffix(PARSED) if is_parsed else suffix,
        )


def _compare_averages(objective: str, one: Point, other: Point) -> Comparison:
    """Compare two averages by Student's t test of the differences at each value of the averaged keys."""
    from scipy.special import stdtr, stdtrit

    assert isinstance(one.record, Average)
    assert isinstance(other.record, Average)
    ours, theirs = one.record.by_place(), other.record.by_place()
    pairs = [(ours[key].scores[objective].value, theirs[key].scores[objective].value) for key in ours]
    gaps = [mine - its for mine, its in pairs if mine is not None and its is not None]
    n, mean = len(gaps), fmean(gaps)
    error = stdev(gaps) / math.sqrt(n) if n > 1 else 0.0
    margin = float(stdtrit(n - 1, 0.975)) * error if error else None
    return Comparison(
        metric=objective,
        n=n,
        one=one.record.scores[objective].value,
        other=other.record.scores[objective].value,
        difference=mean,
        low=None if margin is None else mean - margin,
        high=None if margin is None else mean + margin,
        p=2 * float(stdtr(n - 1, -abs(mean) / error)) if error else None,
        test="paired t",
        names=(one.number, other.number),
    )


def _describe_test(comparison: Comparison) -> str:
    if comparison.adjusted is None:
        return "not tested"
    word = "worse" if comparison.adjusted < LEVEL else "not distinguishable"
    return f"{word}, p {format_p_value(comparison.adjusted)}"


def describe_best(points: Sequence[Point], best: Best) -> list[str]:
    """Say which point is best, by what, how the others compare with it, and what was not ranked."""
    ranking = best.ranking
    if len(points) < 2 or not any(point.record.scores for point in points):
        return []
    if not ranking.groups:
        return [f"not ranked: {ranking.reason}"]
    many = len(ranking.groups) > 1
    lines = [f"by {ranking.describe_objective()}"]
    for group, chosen in zip(ranking.groups, ranking.best, strict=True):
        where = f" of {' '.join(points[place].number for place in sorted(group))}" if many else ""
        lines.append(
            f"best{where}: {_name_points(points, chosen)}, {_format_score(points[chosen[0]], ranking)}"
        )
    lines += _describe_tests(best)
    if ranking.apart:
        numbers = " ".join(points[place].number for place in ranking.apart)
        lines.append(f"not ranked: {numbers}, on rows that no other point has")
    if ranking.undefined:
        numbers = " ".join(points[place].number for place in ranking.undefined)
        lines.append(f"not ranked: {numbers}, without a value of {ranking.objective}")
    return lines


def _name_points(points: Sequence[Point], places: Sequence[int]) -> str:
    names = [f"{points[place].number} {points[place].name}" for place in places[:MOST_NAMED]]
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    between = " and " if len(places) == 2 else "; "  # a name may hold commas
    return f"{between.join(names)}{more}, which are equal" if len(places) > 1 else names[0]


def _format_score(point: Point, ranking: Ranking) -> str:
    score = point.record.scores[ranking.objective]
    bounded = score.low is not None and score.high is not None
    value = format_number(score.value, bounded or isinstance(point.record, Average))
    interval = f" ({format_number(score.low)} – {format_number(score.high)})" if bounded else ""
    return f"{ranking.objective} {value}{interval}"


def _describe_tests(best: Best) -> list[str]:
    """How many others are worse, and how many may be as good: a test that finds nothing shows no equality."""
    if best.untested:
        return [f"the others were not tested against the best: {best.untested}"]
    said = [one.adjusted for one in best.comparisons if one.adjusted is not None]
    if not said:
        return []
    worse = sum(p < LEVEL for p in said)
    alike = len(said) - worse
    is_mean = best.comparisons[0].test == "paired t"
    noun, how = ("average", "by point, Student's t") if is_mean else ("point", "by row")
    parts = [
        f"{count_of(worse, noun)} worse than the best" if worse else "",
        f"{count_of(alike, noun)} not distinguishable from the best" if alike else "",
    ]
    return [
        f"{', '.join(filter(None, parts))} (paired {how}, Holm); the interval of the best is not corrected"
        " for having been chosen"
    ]
