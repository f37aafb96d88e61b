"""A sweep as a table, with one row per point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from runner.records.averages import Average
from runner.records.judges import is_told
from runner.records.record import Record

FIGURES = ("parse_rate", "cost_usd")
PARSED = "_parsed"
_ABSENT = object()


def summarize(records: Sequence[Record], averages: Sequence[Average] = ()) -> pl.DataFrame:
    """One row per point, in the order of the jobs, and below them one per average, if there are any.

    The columns are ``job``; the swept keys; for each score its value, ``_low``, ``_high`` and, where there is
    a published figure, ``_published``, ``_standing`` and ``_agrees``; ``n`` (rows measured); ``parse_rate``;
    ``cost_usd``; ``status``; and ``reason`` (why a point failed). A point has null where it has no value.

    With averages there are also ``points`` (how many an average is over, such as ``5`` or ``4 of 5``) and,
    for each score, ``_sd``, the standard deviation between points. Their ``job`` is null, and so are the
    averaged keys.
    """
    points = sorted(records, key=lambda record: (record.job is None, record.job, record.started))
    names, points = column_names(points), [*points, *averages]
    columns: dict[str, list[Any]] = {"job": [record.job for record in points]}
    for key, name in names.items():
        columns[name] = _unify_types([record.swept.get(key) for record in points])
    for metric in score_names(points):
        columns |= _make_score_columns(metric, points)
        if averages:
            columns[f"{metric}_sd"] = [_find_sd(record, metric) for record in points]
    columns["n"] = [_count_rows(record) for record in points]
    if averages:
        columns["points"] = [one.size if isinstance(one, Average) else None for one in points]
    for figure in FIGURES:
        columns[figure] = [record.figures.get(figure) for record in points]
    columns["status"] = [record.status for record in points]
    columns["reason"] = [(record.error or "").partition("\n")[0] or None for record in points]
    return pl.DataFrame(columns, strict=False)


def _find_sd(record: Record, metric: str) -> float | None:
    return record.find_sd(metric) if isinstance(record, Average) else None


def _count_rows(record: Record) -> int | None:
    if isinstance(record, Average):  # what its scores count are points
        return None
    return max((score.n for score in record.scores.values()), default=None)


def score_names(records: Sequence[Record]) -> list[str]:
    """The names of all scores, in the order of their first appearance."""
    return list(dict.fromkeys(name for record in records for name in record.scores))


def main_score_names(records: Sequence[Record]) -> list[str]:
    """The names of the scores over all rows, without those over parsed rows and those told elsewhere."""
    names = score_names(records)
    others = {name for record in records for name in record.scores if is_told(record, name)}
    others |= {f"{name}{PARSED}" for name in names}
    return [name for name in names if name not in others]


def column_names(records: Sequence[Record]) -> dict[str, str]:
    """The column of each swept key: its last part, or the whole key where two keys have the same one."""
    keys = list(dict.fromkeys(key for record in records for key in record.swept))
    last = Counter(last_part(key) for key in keys)
    return {key: last_part(key) if last[last_part(key)] == 1 else key for key in keys}


def last_part(key: str) -> str:
    """The last part of a dotted key.

    >>> last_part("hyperparameter.n_shot")
    'n_shot'
    """
    return key.rsplit(".", 1)[-1]


def shared_params(records: Sequence[Record]) -> dict[str, Any]:
    """The params that are the same in all points, without the swept keys."""
    first, *others = records or [Record("", "")]
    swept = {key for record in records for key in record.swept}
    return {
        name: value
        for name, value in first.params.items()
        if name not in swept and all(other.params.get(name, _ABSENT) == value for other in others)
    }


def _make_score_columns(metric: str, points: Sequence[Record]) -> dict[str, list[Any]]:
    scores = [record.scores.get(metric) for record in points]
    columns = {
        metric: [score.value if score else None for score in scores],
        f"{metric}_low": [score.low if score else None for score in scores],
        f"{metric}_high": [score.high if score else None for score in scores],
    }
    for side in ("published", "standing", "agrees"):
        known = [_get_reference(metric, side, record) for record in points]
        columns |= {f"{metric}_{side}": known} if any(value is not None for value in known) else {}
    return columns


def _get_reference(metric: str, side: str, record: Record) -> Any:
    return next((row.get(side) for row in record.reference if row.get("metric") == metric), None)


def _unify_types(values: list[Any]) -> list[Any]:
    """Numbers if all values are numbers; otherwise all become text (``base``, ``1``, ``last``)."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in given):
        return values
    return [None if value is None else str(value) for value in values]
