"""The names of the lines of a figure, each at the right end of its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from runner.report.formats import shorten_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {"o": "●", "s": "■", "^": "▲", "v": "▼", "P": "✚", "X": "✖", "<": "◀", ">": "▶", "*": "★"}
"""How points of a line are marked, and the sign of it before the line's name."""


@dataclass(frozen=True)
class LineEnd:
    """The name and color of a line, and its last point in data coordinates."""

    name: str
    color: str
    x: float
    y: float


def name_lines(axes: Axes, ends: Sequence[LineEnd], title: str, height: float) -> None:
    """Write each line's name at its right end, as far apart as letters need; a thin line leads to it.

    ``title`` says what the names are values of; ``height`` is that of the figure, in inches.
    """
    low, high = axes.get_ylim()
    step = (high - low) * 0.2 / height
    places = spread([end.y for end in ends], step)
    axes.set_ylim(min(low, min(places) - step / 2), max(high, max(places) + step / 2))
    right = axes.get_yaxis_transform()
    for end, place, sign in zip(ends, places, cycle(MARKERS.values()), strict=False):
        name = f"{sign} {shorten_name(end.name)}"
        axes.text(1.03, place, name, transform=right, va="center", fontsize=8, color=end.color)
        axes.annotate(
            "", (end.x, end.y), (1.01, place), xycoords="data", textcoords=right,
            arrowprops={"arrowstyle": "-", "color": end.color, "lw": 0.5, "alpha": 0.6, "shrinkB": 4},
        )  # fmt: skip
    axes.text(1.03, 1.01, shorten_name(title), transform=axes.transAxes, fontsize=8, color="#646b73")


def spread(values: Sequence[float], step: float) -> list[float]:
    """Places near these values that are at least ``step`` apart, in the order of the values.

    >>> spread([0.0, 0.1, 5.0], 1.0)
    [-0.45, 0.55, 5.0]
    """
    groups: list[list[int]] = []
    for number in sorted(range(len(values)), key=lambda number: (values[number], -number)):
        groups.append([number])
        while len(groups) > 1 and _overlap(groups[-2], groups[-1], values, step):
            groups[-2:] = [groups[-2] + groups[-1]]
    places = {
        number: place
        for group in groups
        for number, place in zip(group, _place_group(group, values, step), strict=True)
    }
    return [places[number] for number in range(len(values))]


def _place_group(group: Sequence[int], values: Sequence[float], step: float) -> list[float]:
    """Places ``step`` apart around the mean of the values of this group."""
    middle = sum(values[number] for number in group) / len(group)
    return [middle + step * (order - (len(group) - 1) / 2) for order in range(len(group))]


def _overlap(lower: Sequence[int], upper: Sequence[int], values: Sequence[float], step: float) -> bool:
    below, above = (_place_group(group, values, step) for group in (lower, upper))
    return above[0] - below[-1] < step * (1 - 1e-9)
