"""Averages over the points of a sweep that differ only in some keys: seeds, subsets, languages.

A point is the unit. Of the points of a group that finished and have a value, each score has its mean, the
standard deviation (n - 1), and the 95 % interval of the mean by Student's t (Student, "The Probable Error of
a Mean", Biometrika 6, 1908): ``mean ± t(0.975, n - 1) · sd / √n``. It is about points like these, such as
other training seeds. If all points have the same rows, it says nothing about other rows, whose choice does
not vary between the points (Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks",
MLSys 2021). The interval is cut where a score ends, such as at 0 and 1. Points that
are all equal have none: that a few are equal says too little about others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from runner.core.errors import ConfigError, count_of, suggest
from runner.core.types import Score
from runner.records.folder import SWEEP, read_notes
from runner.records.published import compare_figure
from runner.records.record import Record

INCOMPLETE = "incomplete"
"""The status of an average of which a point did not finish."""
EQUAL = "all points are equal"
MOST_NAMED = 3
DEPTH = 4
"""How many folders above the one of a point its sweep may be (``hydra.sweep.subdir``)."""


@dataclass(frozen=True)
class AveragePlan:
    """Over which swept keys a sweep is averaged, and the swept values of all points that it should have."""

    over: list[str]
    points: list[dict[str, Any]]


@dataclass
class Average(Record):
    """Points that differ only in the keys ``over``, as one record.

    A score is the mean over the points that have it, and its ``n`` their number. ``spread`` holds its
    variance between the ``points``, if there are two. ``swept`` are the other keys. ``wanted`` is how many
    points there should be.
    """

    over: list[str] = field(default_factory=list)
    members: list[Record] = field(default_factory=list)
    wanted: int = 0
    label: str = "mean"

    @property
    def size(self) -> str:
        """How many points there are of all, such as ``5`` or ``4 of 5``."""
        done = sum(member.status == "finished" for member in self.members)
        return str(done) if done == self.wanted else f"{done} of {self.wanted}"

    def is_whole(self, metric: str) -> bool:
        """Whether every point has this score."""
        score = self.scores.get(metric)
        return score is not None and score.n == self.wanted

    def find_sd(self, metric: str) -> float | None:
        """The standard deviation of a score between the points; None with fewer than two."""
        variance = self.spread.get(metric, {}).get("points")
        return None if variance is None else math.sqrt(variance)

    def by_place(self) -> dict[str, Record]:
        """Each point by its values of the averaged keys."""
        return {_write({key: member.swept.get(key) for key in self.over}): member for member in self.members}


def read_plan(folder: Path) -> AveragePlan | None:
    """Read how the sweep is averaged that is in a folder, or of which this is a point; None if it is not."""
    for place in [folder, *list(folder.parents)[:DEPTH]]:
        if (place / SWEEP).exists():
            notes = read_notes(place)
            over = [key for key in notes.get("average_over", []) if isinstance(key, str)]
            points = [point for point in notes.get("planned", []) if isinstance(point, dict)]
            return AveragePlan(over, points) if over else None
    return None


def check_plan(plan: AveragePlan) -> None:
    """Raise :class:`ConfigError` for a key that the sweep does not vary."""
    keys = list(dict.fromkeys(key for point in plan.points for key in point))
    for key in plan.over:
        if key not in keys:
            raise ConfigError(
                f"average_over: {key!r} is not swept{suggest(key, keys) if keys else '; nothing is'}"
            )


def group_points(plan: AveragePlan) -> list[list[int]]:
    """The places of the points of each average, in the order of the sweep."""
    groups: dict[str, list[int]] = {}
    for place, point in enumerate(plan.points):
        groups.setdefault(_write(_drop(point, plan.over)), []).append(place)
    return list(groups.values())


def average_points(records: Sequence[Record], plan: AveragePlan | None) -> list[Average]:
    """Average the points of a sweep: one record for each group, in the order of the sweep.

    A point that failed, was stopped or never began does not count, and the average says so. Points of several
    sweeps are not averaged.
    """
    sweeps = {record.sweep for record in records}
    if plan is None or len(sweeps) != 1 or None in sweeps:
        return []
    wanted: dict[str, int] = {}
    swept: dict[str, dict[str, Any]] = {}
    members: dict[str, list[Record]] = {}
    for point in [*plan.points, *(record.swept for record in records)]:
        swept.setdefault(_write(_drop(point, plan.over)), _drop(point, plan.over))
    for point in plan.points:
        key = _write(_drop(point, plan.over))
        wanted[key] = wanted.get(key, 0) + 1
    for record in sorted(records, key=lambda record: record.job or 0):
        members.setdefault(_write(_drop(record.swept, plan.over)), []).append(record)
    return [
        _average(
            members.get(key, []),
            max(wanted.get(key, 0), len(members.get(key, []))),
            values,
            plan.over,
            f"mean {number}" if len(swept) > 1 else "mean",
        )
        for number, (key, values) in enumerate(swept.items(), start=1)
    ]


def _average(
    members: list[Record], wanted: int, swept: dict[str, Any], over: list[str], label: str
) -> Average:
    finished = [member for member in members if member.status == "finished"]
    scores: dict[str, Score] = {}
    spread: dict[str, dict[str, float]] = {}
    for metric in dict.fromkeys(name for member in finished for name in member.scores):
        known = [member.scores[metric] for member in finished if metric in member.scores]
        scores[metric], variance = average_scores(known, wanted)
        spread |= {metric: {"points": variance}} if variance is not None else {}
    first = (finished or members or [Record("", "")])[0]
    average = Average(
        id=f"{first.sweep} {label}",
        name=first.name,
        status="finished" if len(finished) == wanted else INCOMPLETE,
        sweep=first.sweep,
        swept=swept,
        config=first.config,
        scores=scores,
        spread=spread,
        over=over,
        members=members,
        wanted=wanted,
        label=label,
    )
    average.reference = [_compare(average, figure) for figure in first.averages]
    return average


def _compare(average: Average, figure: Mapping[str, Any]) -> dict[str, Any]:
    """A published average beside the measured one; of fewer points it is another one, and not compared."""
    row = compare_figure(figure, average.scores.get(figure["metric"], Score(None)))
    return row if average.is_whole(figure["metric"]) else row | {"standing": None, "agrees": None}


def average_scores(scores: Sequence[Score], wanted: int) -> tuple[Score, float | None]:
    """The mean of scores with its interval, and the variance between them; None with fewer than two.

    >>> score, variance = average_scores([Score(0.5), Score(0.6), Score(0.7)], wanted=4)
    >>> [round(number, 4) for number in (score.value, score.low, score.high, variance)], score.reason
    ([0.6, 0.3516, 0.8484, 0.01], 'over 3 of 4 points')
    """
    values = [score.value for score in scores if score.value is not None]
    reason = "" if len(values) == wanted else f"over {len(values)} of {count_of(wanted, 'point')}"
    first = next((score for score in scores if score.direction), (*scores, Score(None))[0])
    blank = replace(first, value=None, low=None, high=None, n=0, reason=reason)
    if not values:
        return blank, None
    mean = fmean(values)
    if len(values) == 1:
        return replace(blank, value=mean, n=1, reason=reason or "one point has no spread"), None
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    sd = stdev(values)
    if max(values) == min(values):
        return replace(blank, value=mean, n=len(values), reason=reason or EQUAL), 0.0
    margin = float(stdtrit(len(values) - 1, 0.975)) * sd / math.sqrt(len(values))
    low = mean - margin if first.least is None else max(mean - margin, first.least)
    high = mean + margin if first.most is None else min(mean + margin, first.most)
    return replace(blank, value=mean, low=low, high=high, n=len(values)), sd**2


def name_values(average: Average) -> dict[str, float]:
    """The numbers of an average under names for a table of numbers, such as ``mean/accuracy``.

    The other swept keys and values stand before the score (``mean/n_shot=3/accuracy``). An average that lacks
    points has another name, which says how many it is over: ``mean_of_4_of_5/accuracy``.
    """
    settings = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in average.swept.items())
    named: dict[str, float] = {}
    for metric, score in average.scores.items():
        over = "" if average.is_whole(metric) else f"_of_{score.n}_of_{average.wanted}"
        place = "/".join(filter(None, (settings, metric)))
        values = {
            "mean": score.value,
            "sd": average.find_sd(metric),
            "mean_low": score.low,
            "mean_high": score.high,
        }
        named |= {f"{name}{over}/{place}": value for name, value in values.items() if value is not None}
    return named


def describe_averages(averages: Sequence[Average]) -> list[str]:
    """Say over what the averages are, what their intervals mean, and which of them lack points."""
    if not averages:
        return []
    over, inputs = ", ".join(averages[0].over), [member.inputs for one in averages for member in one.members]
    rows = {str(data[0].get("ids") or data[0].get("digest")) if data else "" for data in inputs}
    same = len(rows) == 1 and rows != {""}
    rows_too = ", on the same rows" if same else ""
    lines = [
        f"mean over {over} (sd: between the points); its 95% interval (Student's t) is about other values of"
        f" {over}{rows_too}"
    ]
    if equal := _list_equal(averages):
        lines.append(
            f"without an interval: all points have the same {equal}, which says too little about other values"
            f" of {over}"
        )
    short = [f"[{one.label}] is over {one.size} points" for one in averages if one.status == INCOMPLETE]
    return lines + short


def _list_equal(averages: Sequence[Average]) -> str:
    """The scores that are the same in all points of an average, each after its label if there are several."""
    found = [
        (f"[{one.label}] " if len(averages) > 1 else "") + name
        for one in averages
        for name in one.scores
        if one.find_sd(name) == 0
        and not (name.endswith("_parsed") and name.removesuffix("_parsed") in one.scores)
    ]
    return ", ".join([*found[:MOST_NAMED], *(["…"] if found[MOST_NAMED:] else [])])


def _drop(swept: Mapping[str, Any], over: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in swept.items() if key not in over}


def _write(value: Any) -> str:
    """A value as JSON: values that were read back from a file are equal to those that were not."""
    return json.dumps(value, sort_keys=True, default=str)
