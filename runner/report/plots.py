"""The figures of a report, as SVG inside the page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import polars as pl

from runner.metrics import confusion
from runner.records.sweep import column_names, main_score_names, summarize
from runner.report import figures
from runner.report.figures import find_positive_label
from runner.report.formats import shorten_name
from runner.report.line_names import MARKERS, LineEnd, name_lines
from runner.report.points import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SCORES = 6
"""How many scores are drawn over a sweep; the table has all."""
MAX_LABELS = 12
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Plot:
    """A figure as a data URI. ``width`` is in inches (None: as drawn), ``title`` its alternative text."""

    title: str
    source: str
    width: float | None = None
    caption: str = ""


def plot_sweep(points: Sequence[Point]) -> list[Plot]:
    """Plot the first scores if a swept key is a number or a checkpoint, else the first score only.

    Points that did not finish have no place beside the others, as in the table.
    """
    points = [point for point in points if point.record.status == "finished"]
    records = [point.record for point in points]
    swept = list(column_names(records).values())
    frame, ticks = _number_checkpoints(summarize(records), points)
    lines = any(key in frame.columns and _is_axis(frame[key]) for key in swept)
    scores = main_score_names(records)[: MAX_SCORES if lines else 1] if len(points) > 1 else []
    drawn = {metric: figures.draw_sweep(frame, metric, swept) for metric in scores}
    for figure in drawn.values():
        if figure and ticks and figure.axes[0].get_xlabel() == CHECKPOINT:
            figure.axes[0].set_xticks(list(ticks), list(ticks.values()))
    return [_embed_figure(f"{metric} over the sweep", figure) for metric, figure in drawn.items() if figure]


def _is_axis(values: pl.Series) -> bool:
    return values.dtype.is_numeric() and values.n_unique() > 1


def _number_checkpoints(frame: pl.DataFrame, points: Sequence[Point]) -> tuple[pl.DataFrame, dict[int, str]]:
    """Checkpoints as numbers, the base model as 0, so that they form a curve; and the numbers' names."""
    if CHECKPOINT not in frame.columns:
        return frame, {}
    places = [_find_checkpoint(point) for point in points]
    last = max((int(model["number"]) for point in points for model in point.record.models), default=0)
    known = sorted({place for place in places if place is not None})
    ticks = {place: {0: "base", last: f"last ({last})"}.get(place, str(place)) for place in known}
    return frame.with_columns(pl.Series(CHECKPOINT, places, dtype=pl.Int64)), ticks


def _find_checkpoint(point: Point) -> int | None:
    record = point.record
    evaluated = [int(model["number"]) for model in record.models if model.get("evaluated")]
    return evaluated[0] if evaluated else 0 if record.tags.get("stage") == "base" else None


def plot_training(points: Sequence[Point]) -> list[Plot]:
    """Plot each training once, even if several of its checkpoints are points."""
    drawn: dict[str, Plot] = {}
    for point in points:
        record = point.record
        if record.curves and repr(record.curves) not in drawn:
            job = record.params.get("finetune_job")
            caption = f"training job {job}" if job else f"training of {point.number} {point.name}"
            figure = figures.draw_training(record.curves, record.checkpoint_steps)
            drawn[repr(record.curves)] = _embed_figure("training curves", figure, caption)
    return list(drawn.values())


def plot_reliability(points: Sequence[Point]) -> list[Plot]:
    """Plot stated probabilities against observed shares, for each point that has them."""
    drawn = []
    for point in points:
        positive, rows = find_positive_label(point.record), point.rows
        if positive is not None and rows is not None and {"probability", "target"} <= {*rows.columns}:
            known = rows.drop_nulls(["probability", "target"])
            if not known.is_empty():
                figure = figures.draw_reliability(known, positive)
                drawn.append(_embed_figure("reliability", figure, f"{point.number} {point.name}"))
    return drawn


@dataclass(frozen=True)
class _Priced:
    """A point whose answers have a known price in US dollars, and its score with bounds."""

    name: str
    dollars: float
    value: float
    low: float
    high: float


def plot_cost(points: Sequence[Point]) -> Plot | None:
    """Plot the first score against the cost of the answers; None unless two points have a known price."""
    metric = next(iter(main_score_names([point.record for point in points])), "")
    finished = [point for point in points if point.record.status == "finished"]
    known = [priced for point in finished if (priced := _read_price(point, metric)) is not None]
    if len(known) < 2:
        return None
    figure = figures.create_figure(6, max(4.0, 1.2 + 0.24 * len(known)))
    axes = figure.add_subplot()
    colors = figures.pick_colors(len(known))
    for one, color, marker in zip(known, colors, cycle(MARKERS), strict=False):
        bars = [[one.value - one.low], [one.high - one.value]]
        axes.errorbar(one.dollars, one.value, bars, fmt=marker, color=color, ecolor=figures.QUIET, lw=1)
    if max(one.dollars for one in known) / min(one.dollars for one in known) >= 20:
        axes.set_xscale("log")
    ends = [
        LineEnd(one.name, color, one.dollars, one.value) for one, color in zip(known, colors, strict=True)
    ]
    name_lines(axes, ends, "", figure.get_figheight())
    axes.set(xlabel="cost of the answers, US dollars", ylabel=metric, title=f"{metric} against cost")
    figures.style_axes(axes)
    return _embed_figure(f"{metric} against cost", figure)


def _read_price(point: Point, metric: str) -> _Priced | None:
    score = point.record.scores.get(metric)
    dollars = point.record.figures.get("cost_usd_total")
    if score is None or score.value is None or not dollars:
        return None
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    return _Priced(point.name, dollars, score.value, low, high)


def plot_confusion_matrices(points: Sequence[Point]) -> list[Plot]:
    """Plot the confusion matrices of points whose answers are labels."""
    return [plot for point in points if (plot := _plot_confusion_matrix(point)) is not None]


def _plot_confusion_matrix(point: Point) -> Plot | None:
    rows = point.rows
    if rows is None or not {"target", "prediction"} <= {*rows.columns}:
        return None
    names = point.record.labels or _collect_labels(rows)
    if not 1 < len(names) <= MAX_LABELS or not rows["target"].count():
        return None
    title = f"{point.number} {shorten_name(point.name)}"
    return Plot(
        title, _encode_svg(figures.draw_confusion_matrix(confusion(rows, labels=names), title).encode())
    )


def _collect_labels(rows: pl.DataFrame) -> list[str]:
    """The texts that occur as targets and predictions, for when no parser names the labels."""
    if rows["target"].dtype != pl.String or rows["prediction"].dtype != pl.String:
        return []
    return sorted({*rows["target"].drop_nulls(), *rows["prediction"].drop_nulls()})


def _embed_figure(title: str, figure: Figure, caption: str = "") -> Plot:
    """Embed a figure as SVG without a date, so that the same data give the same text."""
    import matplotlib

    buffer = io.BytesIO()
    # text stays text, so that a browser has a font for every letter
    with matplotlib.rc_context({"svg.hashsalt": "runner", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Plot(title, _encode_svg(buffer.getvalue()), figure.get_figwidth(), caption)


def _encode_svg(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
