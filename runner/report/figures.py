"""Figures of a run and of a sweep, drawn without a screen.

Matplotlib is imported when the first one is drawn. Its global state (pyplot) is not used, so figures can be
drawn in any thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from runner.core.once import once
from runner.metrics import Confusion, confusion, probability
from runner.records.record import Record
from runner.report.formats import reveal_controls, shorten_name
from runner.report.line_names import MARKERS, LineEnd, name_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, BLUE, RED = "#222222", "#8a8a8a", "#2566a8", "#b3402f"
SERIES = (BLUE, RED, "#3a8a4d", "#8a5bb0", "#c98a1b", "#3d9aa6", "#a8577e", "#6b6b6b")
MAX_LABELS = 30
MAX_BANDS = 4
"""With more lines than this none has its interval drawn: bands one over the other cannot be read."""


def import_matplotlib() -> None:
    """Import Matplotlib ahead of the first figure, since that takes a moment."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def draw_run(record: Record, rows: pl.DataFrame | None) -> dict[str, Figure | str]:
    """Draw the figures that a run has data for, by name; a text is SVG."""
    drawn: dict[str, Figure | str] = {}
    if 1 < len(record.labels) <= MAX_LABELS and _has_values(rows, "target", "prediction"):
        drawn["confusion_matrix"] = draw_confusion_matrix(confusion(rows, labels=record.labels))
    positive = find_positive_label(record)
    if positive is not None and _has_values(rows, "target", "probability"):
        drawn["reliability"] = draw_reliability(rows, positive)
    if record.curves:
        drawn["training"] = draw_training(record.curves, record.checkpoint_steps)
    return drawn


def _has_values(rows: pl.DataFrame | None, *columns: str) -> TypeGuard[pl.DataFrame]:
    """Whether some row has a value in all of these columns."""
    return rows is not None and {*columns} <= {*rows.columns} and not rows.drop_nulls(columns).is_empty()


def draw_confusion_matrix(found: Confusion, title: str = "") -> str:
    """The number of rows by true (down) and predicted (across) label, as SVG.

    Every run of a sweep has one, so it is a template: it takes a millisecond, and Matplotlib thirty.
    """
    title = title or f"Confusion matrix, {found.counts.sum():,} rows"
    return _get_matrix_template().render(found=found, title=title, color=BLUE, ink=INK)


@once
def _get_matrix_template() -> Template:
    environment = Environment(
        loader=PackageLoader("runner.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=reveal_controls,
    )
    return environment.get_template("confusion_matrix.svg.jinja")


def find_positive_label(record: Record) -> str | None:
    """The label whose probability was measured: ``positive`` of the first metric that has one."""
    given = (value for key, value in record.params.items() if re.fullmatch(r"metric\..*\bpositive", key))
    return next((str(value) for value in given if value is not None), None)


def draw_reliability(rows: pl.DataFrame, positive: str, bins: int = 10) -> Figure:
    """The share of rows with the positive label against its stated probability, in bins of equal width.

    On the diagonal a stated 0.8 comes true 8 times in 10. The title has the expected calibration error
    (:class:`runner.metrics.CalibrationError`), the mean distance from the diagonal.
    """
    true = pl.col("target").cast(pl.String) == positive
    points = probability.reliability(rows.select("probability", target=true), positive=True, bins=bins)
    stated, share, count = (points[name].to_numpy() for name in ("probability", "frequency", "n"))
    error = float(np.average(np.abs(stated - share), weights=count))
    figure = create_figure(5.2, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle="--")
    upper.plot(stated, share, color=BLUE, marker="o")
    upper.set(ylabel=f"share of {positive}", title=f"Reliability, ECE {error:.3f}", ylim=(-0.02, 1.02))
    lower.bar(points["low"], count, width=0.96 / bins, align="edge", color=BLUE)
    lower.set(xlabel=f"stated probability of {positive}", ylabel="rows", xlim=(0, 1))
    for axes in (upper, lower):
        style_axes(axes)
    return figure


def draw_training(
    curves: Mapping[str, Sequence[tuple[int, float]]], checkpoints: Sequence[int] = ()
) -> Figure:
    """Training curves by step, losses in their own panel; a dotted line marks each checkpoint."""
    losses = {name: points for name, points in curves.items() if "loss" in name}
    others = {name: points for name, points in curves.items() if "loss" not in name}
    panels = [panel for panel in (losses, others) if panel]
    figure = create_figure(6.4 * len(panels), 4)
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for color, (name, points) in zip(pick_colors(len(panel)), panel.items(), strict=True):
            axes.plot(*zip(*points, strict=True), color=color, label=name, linewidth=1.4)
        for step in checkpoints:
            axes.axvline(step, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set(xlabel="step", title="Training loss" if panel is losses else "Training")
        axes.legend(frameon=False)
        style_axes(axes)
    return figure


def draw_sweep(points: pl.DataFrame, metric: str, swept: Sequence[str]) -> Figure | None:
    """One score over a sweep (:func:`runner.records.sweep.summarize`), with intervals and published values.

    If a swept key is numeric there is a line for each setting of the other keys, else a bar for each point.
    None if no point has the score.
    """
    measured = points.filter(pl.col(metric).is_not_null())
    if measured.is_empty():
        return None
    varied = [key for key in swept if measured[key].n_unique() > 1]
    numeric = [key for key in varied if measured[key].dtype.is_numeric()]
    if numeric:
        axis = max(numeric, key=lambda key: measured[key].n_unique())
        return _draw_lines(measured.drop_nulls(axis), metric, axis, [key for key in varied if key != axis])
    return _draw_bars(measured, metric, varied or list(swept))


def _draw_lines(points: pl.DataFrame, metric: str, axis: str, others: Sequence[str]) -> Figure:
    named = points.with_columns(_join_settings(points, others)).sort(axis, maintain_order=True)
    series = named.partition_by("setting", maintain_order=True)
    figure = create_figure(6, max(4.0, 1.2 + 0.24 * len(series)))
    axes = figure.add_subplot()
    for color, marker, part in zip(pick_colors(len(series)), cycle(MARKERS), series, strict=False):
        _draw_line(axes, part, metric, axis, color, marker)
        if len(series) <= MAX_BANDS:
            _draw_band(axes, part, metric, axis, color)
    _set_scale(axes, points[axis])
    note = "" if len(series) <= MAX_BANDS else "\n(intervals are in the table)"
    axes.set(xlabel=axis, ylabel=metric, title=f"{metric} by {axis}{note}")
    if len(series) > 1:
        ends = [
            LineEnd(part["setting"][0], color, float(part[axis][-1]), float(part[metric][-1]))
            for color, part in zip(pick_colors(len(series)), series, strict=True)
        ]
        name_lines(axes, ends, ", ".join(others), figure.get_figheight())
    if f"{metric}_published" in points.columns:
        _add_legend(figure, axes)
    style_axes(axes)
    return figure


def _draw_line(axes: Axes, line: pl.DataFrame, metric: str, axis: str, color: str, marker: str) -> None:
    """One setting's scores over ``axis``; published values as hollow diamonds."""
    first = not axes.lines
    axes.plot(line[axis], line[metric], color=color, marker=marker, label="measured" if first else None)
    published = f"{metric}_published"
    if published in line.columns:
        label = "published" if first else None
        axes.plot(
            line[axis], line[published], color=color, marker="D", mfc="white", ls=":", lw=1, label=label
        )


def _draw_band(axes: Axes, line: pl.DataFrame, metric: str, axis: str, color: str) -> None:
    """The interval of a line where it has one."""
    band = line.drop_nulls([f"{metric}_low", f"{metric}_high"])
    low, high = band[f"{metric}_low"], band[f"{metric}_high"]
    axes.fill_between(band[axis], low, high, color=color, alpha=0.15, lw=0)


def _draw_bars(points: pl.DataFrame, metric: str, swept: Sequence[str]) -> Figure:
    figure = create_figure(6, 1.7 + 0.36 * points.height)
    axes = figure.add_subplot()
    names = [shorten_name(name) for name in _join_settings(points, swept)]
    value, places = points[metric], list(range(points.height))
    low, high = (points[f"{metric}_{side}"].fill_null(value) for side in ("low", "high"))
    axes.barh(places, value, color=BLUE, alpha=0.85, height=0.62)
    axes.errorbar(value, places, xerr=[value - low, high - value], fmt="none", ecolor=INK, lw=1, capsize=3)
    if f"{metric}_published" in points.columns:
        axes.scatter(
            points[f"{metric}_published"], places, marker="D", color=RED, zorder=3, label="published"
        )
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set(xlabel=metric, title=f"{metric} by {', '.join(swept)}" if swept else metric)
    _add_legend(figure, axes)
    style_axes(axes, "x")
    return figure


def _add_legend(figure: Figure, axes: Axes) -> None:
    """A legend below the axes, where it covers no data; none if it would only say ``measured``."""
    if axes.get_legend_handles_labels()[1] not in ([], ["measured"]):
        figure.legend(loc="outside lower center", ncols=4, frameon=False)


def _join_settings(points: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """The values of these keys as one text for each point."""
    values = points.select(keys).iter_rows() if keys else [()] * points.height
    return pl.Series("setting", [", ".join(map(_write_setting, row)) for row in values], dtype=pl.String)


def _write_setting(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _set_scale(axes: Axes, values: pl.Series) -> None:
    """Ticks at the swept values; a logarithmic axis if the largest is at least 20 times the smallest."""
    places = values.unique().sort().to_list()
    if places[0] > 0 and places[-1] / places[0] >= 20:
        axes.set_xscale("log")
    if len(places) <= 12:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()


def pick_colors(count: int) -> list[str]:
    return [SERIES[i % len(SERIES)] for i in range(count)]


def create_figure(width: float, height: float) -> Figure:
    """An empty figure, its size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, grid: Literal["x", "y"] = "y") -> None:
    """Remove the frame at the top and right, and draw a grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
