"""Pictures of a run and of a sweep, drawn without a screen.

Matplotlib is imported when the first one is drawn, and its global state (pyplot) is not used, so figures
can be drawn in any thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from runner.core.once import once
from runner.metrics import Confusion, confusion, probability
from runner.records.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, BLUE, RED = "#222222", "#8a8a8a", "#2566a8", "#b3402f"
SERIES = (BLUE, RED, "#3a8a4d", "#8a5bb0", "#c98a1b", "#3d9aa6", "#a8577e", "#6b6b6b")
MAX_LABELS = 30


def load() -> None:
    """Import matplotlib, which takes a moment."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def of_record(record: Record, rows: pl.DataFrame | None) -> dict[str, Figure | str]:
    """The figures that a run's content calls for, by name; text is SVG."""
    drawn: dict[str, Figure | str] = {}
    if 1 < len(record.labels) <= MAX_LABELS and _holds(rows, "target", "prediction"):
        drawn["confusion_matrix"] = confusion_matrix(confusion(rows, labels=record.labels))
    positive = positive_label(record)
    if positive is not None and _holds(rows, "target", "probability"):
        drawn["reliability"] = reliability(rows, positive)
    if record.curves:
        drawn["training"] = training(record.curves, record.checkpoint_steps)
    return drawn


def _holds(rows: pl.DataFrame | None, *columns: str) -> TypeGuard[pl.DataFrame]:
    """Whether a row has a value in all of these columns."""
    return rows is not None and {*columns} <= {*rows.columns} and not rows.drop_nulls(columns).is_empty()


def confusion_matrix(found: Confusion, title: str = "") -> str:
    """Counts of rows by true (down) and predicted (across) label, as SVG.

    A template, and not Matplotlib's, for every run of a sweep has one: a millisecond instead of thirty.
    """
    title = title or f"Confusion matrix, {found.counts.sum():,} rows"
    return _matrix().render(found=found, title=title, color=BLUE, ink=INK)


@once
def _matrix() -> Template:
    environment = Environment(
        loader=PackageLoader("runner.report"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("confusion_matrix.svg.jinja")


def positive_label(record: Record) -> str | None:
    """The label whose probability was asked for: ``positive`` of the first metric that has one."""
    given = (value for key, value in record.params.items() if re.fullmatch(r"metric\..*\bpositive", key))
    return next((str(value) for value in given if value is not None), None)


def reliability(rows: pl.DataFrame, positive: str, bins: int = 10) -> Figure:
    """Share of rows with the positive label against the probability stated for it, in bins of equal width.

    On the diagonal a stated 0.8 comes true 8 times in 10. The title has the expected calibration error, the
    mean distance from the diagonal (:class:`runner.metrics.CalibrationError`).
    """
    true = pl.col("target").cast(pl.String) == positive
    points = probability.reliability(rows.select("probability", target=true), positive=True, bins=bins)
    stated, share, count = (points[name].to_numpy() for name in ("probability", "frequency", "n"))
    error = float(np.average(np.abs(stated - share), weights=count))
    figure = canvas(5.2, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle="--")
    upper.plot(stated, share, color=BLUE, marker="o")
    upper.set(ylabel=f"share of {positive}", title=f"Reliability, ECE {error:.3f}", ylim=(-0.02, 1.02))
    lower.bar(points["low"], count, width=0.96 / bins, align="edge", color=BLUE)
    lower.set(xlabel=f"stated probability of {positive}", ylabel="rows", xlim=(0, 1))
    for axes in (upper, lower):
        plain(axes)
    return figure


def training(curves: Mapping[str, Sequence[tuple[int, float]]], checkpoints: Sequence[int] = ()) -> Figure:
    """Training curves by step, losses apart from the rest; a dotted line at each checkpoint."""
    losses = {name: points for name, points in curves.items() if "loss" in name}
    others = {name: points for name, points in curves.items() if "loss" not in name}
    panels = [panel for panel in (losses, others) if panel]
    figure = canvas(6.4 * len(panels), 4)
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for color, (name, points) in zip(_colors(len(panel)), panel.items(), strict=True):
            axes.plot(*zip(*points, strict=True), color=color, label=name, linewidth=1.4)
        for step in checkpoints:
            axes.axvline(step, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set(xlabel="step", title="Training loss" if panel is losses else "Training")
        axes.legend(frameon=False)
        plain(axes)
    return figure


def sweep(points: pl.DataFrame, metric: str, swept: Sequence[str]) -> Figure | None:
    """One score over a sweep (:func:`runner.records.sweep.summarize`), with interval and published values.

    A line where a swept key is numeric, one for each setting of the other keys; else a bar for each point.
    None where no point has the score.
    """
    measured = points.filter(pl.col(metric).is_not_null())
    if measured.is_empty():
        return None
    varied = [key for key in swept if measured[key].n_unique() > 1]
    numeric = [key for key in varied if measured[key].dtype.is_numeric()]
    if numeric:
        axis = max(numeric, key=lambda key: measured[key].n_unique())
        return _lines(measured.drop_nulls(axis), metric, axis, [key for key in varied if key != axis])
    return _bars(measured, metric, varied or list(swept))


def _lines(points: pl.DataFrame, metric: str, axis: str, others: Sequence[str]) -> Figure:
    figure = canvas(7, 4.4)
    axes = figure.add_subplot()
    series = points.with_columns(_setting(others).alias("setting")).partition_by(
        "setting", maintain_order=True
    )
    for color, part in zip(_colors(len(series)), series, strict=True):
        _line(axes, part.sort(axis), metric, axis, color)
    _scale(axes, points[axis])
    axes.set(xlabel=axis, ylabel=metric, title=f"{metric} by {axis}")
    _legend(figure, axes, ", ".join(others))
    plain(axes)
    return figure


def _line(axes: Axes, line: pl.DataFrame, metric: str, axis: str, color: str) -> None:
    """One setting's scores over ``axis`` with their interval; published values as hollow diamonds."""
    setting = line["setting"][0]
    axes.plot(line[axis], line[metric], color=color, marker="o", label=setting or "measured")
    band = line.drop_nulls(f"{metric}_low")
    low, high = band[f"{metric}_low"], band[f"{metric}_high"]
    axes.fill_between(band[axis], low, high, color=color, alpha=0.15, lw=0)
    published = f"{metric}_published"
    if published in line.columns:
        label = f"{setting} published".strip()
        axes.plot(
            line[axis], line[published], color=color, marker="D", mfc="white", ls=":", lw=1, label=label
        )


def _bars(points: pl.DataFrame, metric: str, swept: Sequence[str]) -> Figure:
    figure = canvas(7, 1.7 + 0.42 * points.height)
    axes = figure.add_subplot()
    names = points.select(_setting(swept).alias("setting"))["setting"].to_list()
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
    _legend(figure, axes)
    plain(axes, "x")
    return figure


def _legend(figure: Figure, axes: Axes, title: str = "") -> None:
    """Below the axes, where it covers no data; none where all it would say is ``measured``."""
    if axes.get_legend_handles_labels()[1] not in ([], ["measured"]):
        figure.legend(loc="outside lower center", ncols=4, frameon=False, title=title or None)


def _setting(keys: Sequence[str]) -> pl.Expr:
    """What a point's other keys are set to, as a text."""
    if not keys:
        return pl.lit("")
    return pl.concat_str([pl.col(key).cast(pl.String).fill_null("-") for key in keys], separator=", ")


def _scale(axes: Axes, values: pl.Series) -> None:
    """Ticks at the swept values; a logarithmic axis where they span more than one order of magnitude."""
    places = values.unique().sort().to_list()
    if places[0] > 0 and places[-1] / places[0] >= 20:
        axes.set_xscale("log")
    if len(places) <= 12:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()


def _colors(count: int) -> list[str]:
    return [SERIES[i % len(SERIES)] for i in range(count)]


def canvas(width: float, height: float) -> Figure:
    """An empty figure, its size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes, grid: Literal["x", "y"] = "y") -> None:
    """Take away what is no data, and draw a quiet grid behind it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
