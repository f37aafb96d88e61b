"""Compare a run as it was recorded with the same run today: settings, data, rows, scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from runner.core.errors import count_of
from runner.core.types import REPEAT, Score, list_keys
from runner.records.record import Record, flatten

State = Literal["same", "different", "missing"]
ANSWERS = ("completion", "prediction", "judge_completion", "verdict")
COMPARED = ("messages", *ANSWERS)
EQUAL = 1e-9
"""Relative difference up to which two numbers are the same: other machines add in another order."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared. ``decides`` is false where a difference does not fail the reproduction."""

    what: str
    state: State
    detail: str = ""
    decides: bool = True

    @property
    def fails(self) -> bool:
        """Whether this check alone makes the reproduction fail."""
        return self.decides and self.state != "same"


@dataclass(frozen=True, slots=True)
class Change:
    """One cell of one row that differs."""

    id: str
    column: str
    then: Any
    now: Any


@dataclass(frozen=True)
class Differences:
    """Everything that was compared for one run."""

    checks: list[Check] = field(default_factory=list)
    scores: dict[str, tuple[Score | None, Score | None]] = field(default_factory=dict)
    """Then and now; None where there is no such score."""
    changes: list[Change] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return [check.what for check in self.checks if check.fails]


def compare_settings(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The leaves that differ, as ``key: then → now``. A new key with an empty value is no difference.

    >>> compare_settings({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2, "new": None})
    ['a.b: 1 → 3']
    """
    old, new = flatten(dict(then)), flatten(dict(now))
    changed = [f"{key}: {old[key]} → {new.get(key, 'gone')}" for key in old if old[key] != new.get(key)]
    added = [key for key in new if key not in old and new[key] not in (None, False, {}, [])]
    return changed + [f"{key}: new, {new[key]}" for key in added]


def compare_inputs(then: Record, now: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Check for each split whether its rows are the same; ``now`` describes the splits of today."""
    found = {entry["split"]: entry for entry in now}
    checks = []
    for entry in then.inputs:
        today = found.pop(entry["split"], None)
        name = f"data {entry['split']}"
        if today and today["digest"] == entry["digest"]:
            checks.append(Check(name, "same", count_of(entry["rows"], "row")))
        else:
            rows = "gone" if today is None else f"{count_of(entry['rows'], 'row')} then, {today['rows']} now"
            checks.append(Check(name, "different", f"{rows}: {entry['source']}"))
    return checks + [Check(f"data {name}", "different", "a new split") for name in found]


def compare_rows(then: pl.DataFrame, now: pl.DataFrame, inputs: Sequence[str]) -> list[Change]:
    """The cells that differ, row by row: in the columns ``inputs`` of the data, in the chats and answers."""
    keys = list_keys(then)
    if list_keys(now) != keys:
        return [Change("all", "repeats", REPEAT in keys, REPEAT in now.columns)]
    old, new = then.select(keys), now.select(keys)
    gone, added = old.join(new, on=keys, how="anti"), new.join(old, on=keys, how="anti")
    changes = [Change(_name(key), "row", "there", "gone") for key in gone.iter_rows()]
    changes += [Change(_name(key), "row", "", "new") for key in added.iter_rows()]
    kept = old.join(gone, on=keys, how="anti", maintain_order="left")
    ids = [_name(key) for key in kept.iter_rows()]
    both = [kept.join(frame, on=keys, how="left", maintain_order="left") for frame in (then, now)]
    names = [*(name for name in inputs if name in then.columns and name not in ANSWERS), *COMPARED]
    cells = [
        (row, place, Change(ids[row], name, *values))
        for place, name in enumerate(names)
        for row, values in _find_unequal(*(_get_column(frame, name) for frame in both))
    ]
    return changes + [change for *_, change in sorted(cells, key=lambda cell: cell[:2])]


def _name(key: Sequence[Any]) -> str:
    """A row by its id; with the number of its repeat, if it was asked several times."""
    return ", repeat ".join([str(key[0]), *(str(number) for number in key[1:])])


def _get_column(frame: pl.DataFrame, name: str) -> pl.Series:
    return frame[name] if name in frame.columns else pl.Series(name, [None] * frame.height, dtype=pl.Null)


def _find_unequal(then: pl.Series, now: pl.Series) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """The rows in which two columns differ, with both values."""
    if then.dtype == now.dtype and then.equals(now):
        return
    for row, values in enumerate(zip(then.to_list(), now.to_list(), strict=True)):
        numbers = all(isinstance(value, float) for value in values)
        if not (_is_close(*values) if numbers else values[0] == values[1]):
            yield row, values


def check_columns(
    changes: Sequence[Change], now: pl.DataFrame, columns: Sequence[str] = COMPARED
) -> list[Check]:
    """Count for the chats and for each kind of answer how many rows differ."""
    checks = []
    for name in columns:
        ids = {change.id for change in changes if change.column == name}
        if name in now.columns or ids:
            detail = f"{len(ids)} of {count_of(now.height, 'row')}" if ids else count_of(now.height, "row")
            what = "chats" if name == "messages" else f"{name}s".replace("_", " ")
            checks.append(Check(what, "different" if ids else "same", detail))
    return checks


def check_scores(scores: Mapping[str, tuple[Score | None, Score | None]]) -> Check:
    """Check whether all scores are the same."""
    changed = [name for name, pair in scores.items() if not is_same_score(*pair)]
    return Check(
        "scores", "different" if changed else "same", ", ".join(changed) or count_of(len(scores), "score")
    )


def pair_scores(
    then: Mapping[str, Score], now: Mapping[str, Score]
) -> dict[str, tuple[Score | None, Score | None]]:
    """Each score then and now, in the order of the record."""
    return {name: (then.get(name), now.get(name)) for name in [*then, *(n for n in now if n not in then)]}


def is_same_score(then: Score | None, now: Score | None) -> bool:
    """Whether value, interval and n agree."""
    if then is None or now is None:
        return then is now
    pairs = ((then.value, now.value), (then.low, now.low), (then.high, now.high))
    return then.n == now.n and all(_is_close(one, other) for one, other in pairs)


def _is_close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=EQUAL, abs_tol=EQUAL)
