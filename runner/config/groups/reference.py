"""The typed shape of the group ``reference``: published figures of runs, and of averages over a sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class AveragesConfig:
    """Published averages over points of a sweep (``average_over``), written like the figures of a run.

    All points of one average must have the same ``case``. An average over another number of points than
    ``points`` is no such average: a sweep that has one is refused before the first call.
    """

    case: str | None = None  # the case of this average
    points: int | None = None  # how many points it is over
    figures: dict[str, Any] = field(default_factory=dict)  # the published values, as `reference.figures`


@dataclass
class ReferenceConfig:
    """Published figures that a run is compared with.

    ``figures`` maps a case to {metric: published value}, or to a list of values whose metrics are in
    ``columns``. Such a list may also be a line of text, as in a table: ``0.91 0.50 -``, where ``-`` means not
    published. ``case`` says which case this run is, usually by interpolation (``${finetune.name}``,
    ``${checkpoint}``). Without ``case`` there is only one mapping. A value is a number, or text as the paper
    prints it: ``71.07%`` and ``92/100`` are proportions; null means not published, also for a whole case. A
    case that is not in ``figures`` and a figure of a score that the run does not have are errors; with
    ``compare: false`` nothing is compared.

    With ``exact``, a replay of recorded answers meets a figure or does not: the measured value, rounded to
    the printed digits, must equal the published one (so write a final 0: ``'0.50'``, ``57.50%``), or differ
    by at most ``tolerance``. For a model that is asked anew it is only said whether the published value lies
    in the measured interval, or within ``tolerance``. ``model`` is the published model, or one for each case;
    the figures of another model are only shown.
    """

    compare: bool = True  # false: nothing is compared
    source: str | None = None  # the paper
    table: str | None = None  # where in the paper
    model: Any = None  # the published model
    exact: bool = False  # whether a replay must meet the figures
    tolerance: float = 0.0  # the largest difference that is met
    case: str | None = None  # the case of this run
    columns: list[str] = field(default_factory=list)  # the metrics of a list of figures
    figures: dict[str, Any] = field(default_factory=dict)  # the published values
    averages: AveragesConfig = field(default_factory=AveragesConfig)
