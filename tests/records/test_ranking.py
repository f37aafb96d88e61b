"""Which points of a sweep are best."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.types import Direction, Score
from runner.records.ranking import Ranking, rank
from runner.records.record import Record

METRIC = {"metric": {"m": {"_target_": "some.Metric"}}}


def point(value: float | None, direction: Direction = "higher", n: int = 8, **changes: Any) -> Record:
    """A finished run with the score ``m``."""
    given: dict[str, Any] = {"status": "finished", "config": METRIC, "inputs": [{"ids": "same"}]}
    scores = {"count": Score(3, direction="none"), "m": Score(value, n=n, direction=direction)}
    return Record("id", "name", **given | {"scores": scores} | changes)


@pytest.mark.parametrize(
    ("direction", "order"), [("higher", ((1, 2, 0),)), ("lower", ((0, 2, 1),))], ids=["higher", "lower"]
)
def test_the_direction_decides(direction, order):
    """Points are ranked by the first score that has a direction, the better end first."""
    found = rank([point(value, direction) for value in (0.1, 0.9, 0.5)])
    assert (found.objective, found.groups, found.is_set) == ("m", order, False)


@pytest.mark.parametrize("status", ["failed", "stopped", "killed", "running"])
def test_only_finished_points_rank(status):
    """Part of the rows may be the easy part."""
    found = rank([point(0.5), point(0.99, status=status), point(0.4), point(None)])
    assert (found.groups, found.best, found.undefined) == (((0, 2),), ((0,),), (3,))


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": [{"ids": "other"}]},
        {"n": 7},
        {"config": {"metric": {"m": {"_target_": "some.Metric", "tolerance": 1}}}},
    ],
    ids=["rows", "n", "settings"],
)
def test_what_is_measured_otherwise_does_not_compete(other):
    """Other rows, another number of them, other settings of the metric."""
    found = rank([point(0.5), point(0.9, **other), point(0.4)])
    assert (found.groups, found.apart) == (((0, 2),), (1,))
    reason = "no two finished points have the same rows, metric settings and judge"
    assert rank([point(0.5), point(0.9, **other)]).reason == reason


@pytest.mark.parametrize(("values", "count"), [((None, None), "no"), ((0.5, None), "only one")])
def test_points_without_a_value_are_not_ranked(values, count):
    """The reason is the missing value, not the rows."""
    assert rank([point(value) for value in values]).reason == f"{count} finished point has a value of m"


def test_another_judge_is_another_measure():
    """Verdicts of two judges say as much about the judges; other metrics do not depend on them."""
    for column, groups in (("verdict", ()), ("prediction", ((1, 0),))):
        metric = {"metric": {"m": {"_target_": "some.Share", "column": column}}}
        judged = [{"config": metric, "identities": {"judge": {"model": name}}} for name in "ab"]
        assert rank([point(0.5, **judged[0]), point(0.9, **judged[1])]).groups == groups


def test_equal_points_are_all_best():
    """Neither is preferred."""
    assert rank([point(0.5), point(0.9), point(0.9)]).best == ((1, 2),)


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "no point has a score"),
        ([point(None), point(None)], "no finished point has a value of m"),
        ([point(1), point(2, status="failed")], "only one finished point has a value of m"),
        ([point(1, ""), point(2, "")], "neither a high nor a low m"),
        ([point(1, "none"), point(2, "none")], "neither a high nor a low m"),
    ],
    ids=["nothing", "undefined", "one", "old", "none"],
)
def test_why_nothing_is_ranked(records, reason):
    """A score without a direction, and records that do not know of directions."""
    for record in records:
        record.config = METRIC | {"objective": "m"}
    found: Ranking = rank(records)
    assert not found.groups
    assert reason in found.reason
