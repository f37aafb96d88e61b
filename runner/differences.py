"""What differs between a run as it was recorded and the same run today."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from runner.record import Record, flatten
from runner.types import Score

State = Literal["same", "different", "missing"]
ANSWERS = ("completion", "prediction", "judge_completion", "verdict")
COMPARED = ("messages", *ANSWERS)
EQUAL = 1e-9
"""Relative difference up to which two numbers are the same: other machines add in another order."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared. ``decides`` is false for what explains a difference but is none."""

    what: str
    state: State
    detail: str = ""
    decides: bool = True

    @property
    def fails(self) -> bool:
        """Whether the run is not reproduced because of this."""
        return self.decides and self.state != "same"


@dataclass(frozen=True, slots=True)
class Change:
    """One cell of one row that differs."""

    id: str
    column: str
    then: Any
    now: Any


@dataclass(frozen=True)
class Report:
    """All that was compared for one run."""

    checks: list[Check] = field(default_factory=list)
    scores: dict[str, tuple[Score | None, Score | None]] = field(default_factory=dict)
    """Then and now; None where there is no such score."""
    changes: list[Change] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """What is not the same, by name."""
        return [check.what for check in self.checks if check.fails]


def settings(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The leaves that differ, as ``key: then → now``. Keys that are new and empty are no difference.

    >>> settings({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2, "new": None})
    ['a.b: 1 → 3']
    """
    old, new = flatten(dict(then)), flatten(dict(now))
    changed = [f"{key}: {old[key]} → {new.get(key, 'gone')}" for key in old if old[key] != new.get(key)]
    added = [key for key in new if key not in old and new[key] not in (None, False, {}, [])]
    return changed + [f"{key}: new, {new[key]}" for key in added]


def inputs(then: Record, now: Record) -> list[Check]:
    """Per split, whether its rows are the same."""
    found = {entry["split"]: entry for entry in now.inputs}
    checks = []
    for entry in then.inputs:
        today = found.pop(entry["split"], None)
        name = f"data {entry['split']}"
        if today and today["digest"] == entry["digest"]:
            checks.append(Check(name, "same", f"{entry['rows']} rows"))
        else:
            rows = "gone" if today is None else f"{entry['rows']} rows then, {today['rows']} now"
            checks.append(Check(name, "different", f"{rows}: {entry['source']}"))
    return checks + [Check(f"data {name}", "different", "a new split") for name in found]


def rows(then: pl.DataFrame, now: pl.DataFrame, given: Sequence[str]) -> list[Change]:
    """The cells that differ: of the columns ``given`` in the data, of the chats, and of all answers."""
    old = {row["id"]: row for row in then.iter_rows(named=True)}
    new = {row["id"]: row for row in now.iter_rows(named=True)}
    changes = [Change(key, "row", "there", "gone") for key in old if key not in new]
    changes += [Change(key, "row", "", "new") for key in new if key not in old]
    for key in old:
        if key in new:
            changes += _cells(key, old[key], new[key], given)
    return changes


def _cells(
    key: str, old: Mapping[str, Any], new: Mapping[str, Any], given: Sequence[str]
) -> Iterator[Change]:
    data = [name for name in given if name in old and name not in ANSWERS]
    for name in [*data, *COMPARED]:
        if not _equal(old, new, name):
            yield Change(key, name, old.get(name), new.get(name))


def _equal(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> bool:
    one, other = old.get(name), new.get(name)
    if isinstance(one, float) and isinstance(other, float):
        return _close(one, other)
    return bool(one == other)


def counted(changes: Sequence[Change], now: pl.DataFrame, columns: Sequence[str] = COMPARED) -> list[Check]:
    """For the chats and each kind of answer, how many rows differ."""
    checks = []
    for name in columns:
        ids = {change.id for change in changes if change.column == name}
        if name in now.columns or ids:
            detail = f"{len(ids)} of {now.height} rows" if ids else f"{now.height} rows"
            what = "chats" if name == "messages" else f"{name}s".replace("_", " ")
            checks.append(Check(what, "different" if ids else "same", detail))
    return checks


def measured(scores: Mapping[str, tuple[Score | None, Score | None]]) -> Check:
    """Whether all scores are the same."""
    changed = [name for name, pair in scores.items() if not same_score(*pair)]
    return Check("scores", "different" if changed else "same", ", ".join(changed) or f"{len(scores)} scores")


def scores(
    then: Mapping[str, Score], now: Mapping[str, Score]
) -> dict[str, tuple[Score | None, Score | None]]:
    """Each score then and now, in the order of the record."""
    return {name: (then.get(name), now.get(name)) for name in [*then, *(n for n in now if n not in then)]}


def same_score(then: Score | None, now: Score | None) -> bool:
    """Whether value, interval and n agree."""
    if then is None or now is None:
        return then is now
    pairs = ((then.value, now.value), (then.low, now.low), (then.high, now.high))
    return then.n == now.n and all(_close(one, other) for one, other in pairs)


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=EQUAL, abs_tol=EQUAL)
