"""Scores over a swept number, such as a checkpoint or the number of shots, as steps of a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.records.record import Record
from runner.records.sweep import column_names, main_score_names

CHECKPOINT = "checkpoint"
MAX_SERIES = 8
MAX_SCORES = 12
CURVE = "curve/"
Number = int | float


@dataclass(frozen=True)
class Curves:
    """Points of each score by metric name: step, value and when it was measured, in seconds.

    ``axis`` is the column of the swept key. ``places`` are its values by step where these are not the steps.
    """

    axis: str
    points: Mapping[str, list[tuple[int, float, float]]]
    places: Mapping[int, Number]

    def describe(self) -> str:
        """Return a sentence about the steps."""
        steps = ", ".join(f"{step} is {value:g}" for step, value in self.places.items())
        return f"`{CURVE}…` shows the scores by {self.axis}{steps and f'; step {steps}'}"


def trace_curves(records: Sequence[Record]) -> Curves | None:
    """The curves of a sweep's finished points over the swept number with most values.

    With further swept keys there is a curve for each of their settings, at most ``MAX_SERIES``. Whole numbers
    are the steps; others, such as learning rates, are numbered in their order, from 0. None if there is no
    such number, or no curve of two points.
    """
    ended = [record for record in records if record.status == "finished"]
    columns = column_names(ended)
    numbers = {key: [read_number(key, record) for record in ended] for key in columns}
    axes = {key: set(found) for key, found in numbers.items() if None not in found and len(set(found)) > 1}
    if not axes:
        return None
    axis = max(axes, key=lambda key: len(axes[key]))
    values = sorted(value for value in axes[axis] if value is not None)
    whole = all(float(value).is_integer() and abs(value) < 2**53 for value in values)
    steps = {value: int(value) if whole else place for place, value in enumerate(values)}
    series: dict[str, list[tuple[Record, int]]] = {}
    for record, value in zip(ended, numbers[axis], strict=True):
        if value is not None:
            series.setdefault(_name_setting(record, axis), []).append((record, steps[value]))
    if len(series) > MAX_SERIES:
        return None
    points = {
        name: measured
        for metric in main_score_names(ended)[:MAX_SCORES]
        for setting, part in series.items()
        if len(measured := _measure(metric, part)) > 1
        for name in [CURVE + metric + (f"/{setting}" if len(series) > 1 else "")]
    }
    return Curves(columns[axis], points, {} if whole else dict(enumerate(values))) if points else None


def read_number(key: str, record: Record) -> Number | None:
    """The number that a swept key has in a record; None if it has none.

    The base model is checkpoint 0, and ``last`` and ids are the numbers of the checkpoints they stand for.
    """
    value = record.swept.get(key)
    if key == CHECKPOINT:
        value = _find_checkpoint(value, record)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _find_checkpoint(value: Any, record: Record) -> Any:
    if value == "base":
        return 0
    numbers = [model.get("number") for model in record.models if model.get("evaluated")]
    return numbers[0] if numbers else value


def _name_setting(record: Record, axis: str) -> str:
    """The values of the other swept keys."""
    return " ".join(str(value).replace("/", " ") for key, value in record.swept.items() if key != axis)


def _measure(metric: str, part: Sequence[tuple[Record, int]]) -> list[tuple[int, float, float]]:
    """Step, value and time of one score, by step."""
    found = {
        step: (step, float(score.value), record.finished or 0.0)
        for record, step in part
        if (score := record.scores.get(metric)) is not None and score.value is not None
    }
    return [found[step] for step in sorted(found)]
