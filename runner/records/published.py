"""What a comparison with a published figure says, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from runner.core.errors import count_of
from runner.core.types import Score

WORDS = {
    "met": "met",
    "missed": "not met",
    "inside": "inside the interval",
    "near": "within the tolerance",
    "outside": "outside the interval",
    "other": "beside: another model",
}
"""The standings of a published figure. Only an exact replay meets or misses one; a model that is asked anew
has an interval, in which the published value lies or not; the figure of another model is only shown."""
ANEW = ("inside", "near", "outside")
ROUNDING = 1e-12
"""The floating-point error that is allowed for a figure printed in full."""


def compare_figure(figure: Mapping[str, Any], score: Score) -> dict[str, Any]:
    """A published figure beside the measured score: a row of :attr:`runner.records.record.Record.reference`.

    ``figure`` holds ``metric``, ``published``, ``printed``, ``half_digit`` (half a unit of the last printed
    digit), ``tolerance``, ``exact`` (whether an exact replay answered) and ``other`` (whether another model
    than the published one did).
    """
    standing = _find_standing(figure, score)
    return {
        **{name: figure[name] for name in ("metric", "published", "printed")},
        "measured": score.value,
        "low": score.low,
        "high": score.high,
        "n": score.n,
        "standing": standing,
        "agrees": {"met": True, "missed": False}.get(standing or ""),
    }


def _find_standing(figure: Mapping[str, Any], score: Score) -> str | None:
    if score.value is None:
        return None
    published, tolerance = figure["published"], figure["tolerance"]
    distance = abs(published - score.value) - ROUNDING
    if figure["exact"]:
        return "met" if distance <= max(tolerance, figure["half_digit"]) else "missed"
    if figure["other"]:
        return "other"
    if score.low is not None and score.high is not None and score.low <= published <= score.high:
        return "inside"
    if tolerance and distance <= tolerance:
        return "near"
    return None if score.low is None else "outside"


def describe_standing(row: Mapping[str, Any]) -> str:
    """The standing of one compared figure in words; a dash if the run has no value or no interval.

    >>> describe_standing({"standing": "inside", "n": 8})
    'inside the interval (n = 8)'
    """
    standing = row.get("standing")
    count = f" (n = {row['n']:,})" if standing in ANEW and row.get("n") else ""
    return WORDS.get(str(standing), "–") + count


def summarize_standings(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many figures are met, how many lie in the interval, how many are of another model; empty for none.

    >>> summarize_standings([{"standing": "met"}, {"standing": "missed"}])
    '1 of 2 figures met'
    >>> summarize_standings([{"standing": "outside", "n": 8}, {"standing": "inside", "n": 8}])
    'published value inside the interval for 1 of 2 figures (n = 8)'
    """
    listed = list(rows)
    found = Counter(row.get("standing") for row in listed)
    replayed, anew = found["met"] + found["missed"], sum(found[name] for name in ANEW)
    sizes = {row.get("n") for row in listed if row.get("standing") in ANEW}
    n = f" (n = {sizes.pop():,})" if len(sizes) == 1 and None not in sizes else ""
    near = f", within the tolerance for {found['near']}" if found["near"] else ""
    others = count_of(found["other"], "figure")
    parts = [
        f"{found['met']} of {count_of(replayed, 'figure')} met" if replayed else "",
        f"published value inside the interval for {found['inside']} of {count_of(anew, 'figure')}{near}{n}"
        if anew
        else "",
        f"{others} of another model, only shown beside" if found["other"] else "",
    ]
    return "; ".join(filter(None, parts))


def read_comparisons(rows: Iterable[Mapping[str, Any]], exact: bool) -> list[dict[str, Any]]:
    """The rows of a record, of which older ones said only whether a figure agrees.

    There, agreement meant something else unless the run was an exact replay.
    """
    return [dict(row) if "standing" in row else _add_standing(row, exact) for row in rows]


def _add_standing(row: Mapping[str, Any], exact: bool) -> dict[str, Any]:
    agrees = row.get("agrees")
    names = {True: "met", False: "missed"} if exact else {True: "inside", False: "outside"}
    standing = None if agrees is None else names[agrees]
    return dict(row) | {"standing": standing, "agrees": agrees if exact else None}
