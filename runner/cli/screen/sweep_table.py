"""Shows a sweep's summary (:func:`runner.records.sweep.summarize`) as a table that fits the screen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from runner.core.errors import count_of
from runner.core.types import format_dollars
from runner.records.published import summarize_standings
from runner.report.formats import format_number

COMPANIONS = ("_sd", "_low", "_high", "_parsed", "_published", "_standing", "_agrees")
"""Endings of columns that are shown inside another column's cells, or not at all."""

AGAINST = "against best"
LAYOUTS = ((True, False), (False, False), (False, True))
"""Whether intervals are shown, and whether titles are broken at their underscores; the widest first."""


def fit_table(frame: pl.DataFrame, console: Console) -> Table:
    """Return a table with a line per point that is no wider than the screen.

    Intervals follow the values if there is room. Otherwise titles are broken at their underscores, and
    columns that still do not fit are left out from the right and named below. A replay that meets the
    published figure has a tick; one that does not has a cross and that figure. Any other run has the figure
    after ``vs``.
    """
    shown = [name for name in frame.columns if _is_shown(frame, name)]
    for intervals, stacked in LAYOUTS:
        table = _make_table(frame, shown, intervals, stacked)
        if _fits(table, console):
            return table

    def too_wide(kept: int) -> bool:
        return not _fits(_make_table(frame, shown[:kept], intervals=False, stacked=True), console)

    kept = max(2, 1 + bisect_left(range(2, len(shown)), True, key=too_wide))
    table = _make_table(frame, shown[:kept], intervals=False, stacked=True)
    table.caption = f"too wide for this screen: {', '.join(shown[kept:])}"
    table.caption_justify = "left"
    return table


def sort_by_rank(
    frame: pl.DataFrame,
    objective: str,
    order: Sequence[int | str | None],
    verdicts: Mapping[int | str | None, str],
    labels: Sequence[str] = (),
) -> pl.DataFrame:
    """Return the summary with the ranked points first, the best before the others, and the rest below.

    Averages have ``labels`` in the column ``job`` and stay below the points. ``order`` holds the jobs of
    the ranked points, or the labels of the ranked averages. The objective is then the first score, and
    beside it the column ``against best`` has what ``verdicts`` say of each job.
    """
    points = frame.height - len(labels)
    jobs, states = [*frame["job"].to_list()[:points], *labels], frame["status"].to_list()
    if labels:
        frame = frame.with_columns(pl.Series("job", list(map(str, jobs))))
    if not order:
        return frame

    def place(row: int) -> tuple[bool, bool, bool, int]:
        ranked = jobs[row] in order
        at = order.index(jobs[row]) if ranked else row
        return row >= points, not ranked, states[row] != "finished", at

    rows = sorted(range(len(jobs)), key=place)
    said = pl.Series(AGAINST, [verdicts.get(jobs[row]) for row in rows], dtype=pl.String)
    frame = frame[rows].with_columns(said)
    rest = [name for name in frame.columns if name not in (objective, AGAINST)]
    scores = [at for at, name in enumerate(rest) if f"{name}_low" in rest or name == f"{objective}_low"]
    first = min(scores, default=1)
    return frame.select(*rest[:first], objective, AGAINST, *rest[first:])


def _fits(table: Table, console: Console) -> bool:
    unlimited = console.options.update(max_width=10_000)
    return console.measure(table, options=unlimited).maximum <= console.width


def describe_agreement(frame: pl.DataFrame) -> str:
    """Say how many of the published figures are met; empty if none is compared.

    >>> describe_agreement(pl.DataFrame({"f1": [0.5, 0.6], "f1_standing": ["met", "missed"]}))
    'published: 1 of 2 figures met'
    """
    sizes = frame["n"].to_list() if "n" in frame.columns else [None] * frame.height
    known = [
        {"standing": standing, "n": n}
        for name in frame.columns
        if name.endswith("_standing")
        for standing, n in zip(frame[name], sizes, strict=True)
    ]
    summary = summarize_standings(known)
    return f"published: {summary}" if summary else ""


def describe_spending(frame: pl.DataFrame) -> str:
    """Say what all points spent together; empty if it is nothing or unknown.

    >>> describe_spending(pl.DataFrame({"cost_usd": [0.25, 0.5, None]}))
    '$0.7500 spent, the cost of 1 of 3 points not known'
    """
    costs = frame["cost_usd"] if "cost_usd" in frame.columns else pl.Series([0.0])
    total, unknown = float(costs.sum() or 0.0), costs.null_count()
    rest = f", the cost of {unknown} of {count_of(frame.height, 'point')} not known" if unknown else ""
    return f"${format_dollars(total)} spent{rest}" if total else ""


def _make_table(frame: pl.DataFrame, shown: Sequence[str], intervals: bool, stacked: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        title = name.replace("_", "\n") if stacked else name
        table.add_column(title, justify="left" if frame[name].dtype == pl.String else "right", no_wrap=True)
    for row in frame.iter_rows(named=True):
        table.add_row(*(_format_cell(row, name, intervals) for name in shown))
    return table


def _is_shown(frame: pl.DataFrame, name: str) -> bool:
    if name.endswith(COMPANIONS) or name == "reason" or not frame[name].count():
        return False
    usual = {"status": "finished", "cost_usd": 0.0}
    points = frame.filter(pl.col("points").is_null()) if "points" in frame.columns else frame
    return name not in usual or any(value != usual[name] for value in points[name])


def _format_cell(row: Mapping[str, Any], name: str, interval: bool) -> str:
    value = row[name]
    if not isinstance(value, float):
        return "" if value is None else str(value)
    if name.endswith("_usd"):
        return format_dollars(value)
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    bounded = low is not None or f"{name}_low" not in row or row.get(f"{name}_sd") is not None
    bounds = f" ({low:.3f} – {high:.3f})" if interval and low is not None and high is not None else ""
    sd = row.get(f"{name}_sd")
    spread = "" if sd is None else f" sd {sd:.3f}"
    return f"{format_number(value, bounded)}{spread}{bounds}{_format_agreement(row, name, bounded)}"


def _format_agreement(row: Mapping[str, Any], name: str, bounded: bool) -> str:
    published, standing = row.get(f"{name}_published"), row.get(f"{name}_standing")
    if published is None or standing is None:
        return ""
    if standing == "met":
        return " ✓"
    return f" {'✗' if standing == 'missed' else 'vs'} {format_number(published, bounded)}"
