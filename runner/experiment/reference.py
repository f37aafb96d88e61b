"""Compares published figures with measured ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from runner.config.groups.reference import ReferenceConfig
from runner.core.errors import ConfigError, suggest
from runner.core.types import Score
from runner.records.published import compare_figure

log = logging.getLogger(__name__)

AVERAGES = "reference.averages"
NEAR = 0.2
"""How far a figure that is read as a percentage may be from the measured one to look like it."""
OFF = "or set reference.compare=false"
_SNAPSHOT = re.compile(r"-(\d{4}|\d{8}|\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True)
class Figure:
    """A published number. ``half_digit`` is half a unit of its last printed digit, 0 for a fraction."""

    value: float
    half_digit: float
    printed: str


@dataclass(frozen=True)
class Answering:
    """Who answered the rows: ``models`` are the names of the model; ``recorded`` answers are replayed."""

    models: tuple[str, ...] = ()
    recorded: bool = False


def compare_figures(
    config: ReferenceConfig, scores: Mapping[str, Score], answering: Answering
) -> list[dict[str, Any]]:
    """Return one row per published figure of this run's case.

    A row holds ``metric``, ``published``, ``printed`` (as in the paper), ``measured``, its interval (``low``,
    ``high``), ``n``, and ``standing``: one of :data:`runner.records.published.WORDS`, or None if there is no
    measured value or no interval. ``agrees`` is true or false for an exact replay only, and otherwise None.
    """
    figures = _describe_figures(config, answering)
    for figure in figures:
        if hint := find_lost_percent(figure, scores.get(figure["metric"], Score(None))):
            log.warning("%s", hint)
    return [compare_figure(figure, scores.get(figure["metric"], Score(None))) for figure in figures]


def find_lost_percent(figure: Mapping[str, Any], score: Score) -> str:
    """Say that a published figure looks like a percentage without its sign; empty if it does not.

    >>> find_lost_percent({"metric": "f1", "published": 70.0, "printed": "70.0"}, Score(0.71))
    'reference.figures: f1 is published as 70.0 and measured as 0.710; write 70.0% if it is a percentage'
    """
    metric, published, printed = (figure[name] for name in ("metric", "published", "printed"))
    measured = score.value
    if measured is None or not 1 < published <= 100 or not 0 <= measured <= 1:
        return ""
    if abs(published / 100 - measured) > NEAR or "/" in printed:
        return ""
    said = f"{metric} is published as {printed} and measured as {measured:.3f}"
    return f"reference.figures: {said}; write {printed}% if it is a percentage"


def can_meet(config: ReferenceConfig, answering: Answering) -> bool:
    """Whether the run is an exact replay with published figures, which it meets or does not."""
    return config.exact and answering.recorded and bool(read_figures(config))


def describe_averages(config: ReferenceConfig, answering: Answering) -> list[dict[str, Any]]:
    """Return the published averages to which this run belongs, as ``compare_figure`` takes them.

    They are compared when the sweep has ended (:mod:`runner.records.averages`).
    """
    return _describe_figures(select_averages(config), answering, AVERAGES)


def select_averages(config: ReferenceConfig) -> ReferenceConfig:
    """Return the published averages in the form of published figures; none without any."""
    averages = config.averages
    compare = config.compare and bool(averages.figures)
    return replace(config, compare=compare, case=averages.case, figures=averages.figures)


def _describe_figures(
    config: ReferenceConfig, answering: Answering, key: str = "reference"
) -> list[dict[str, Any]]:
    other = not answering.recorded and not _is_published_model(config, answering.models)
    shared = {
        "tolerance": config.tolerance,
        "exact": config.exact and answering.recorded,
        "other": other,
    }
    return [
        {"metric": metric, "published": figure.value, "printed": figure.printed}
        | {"half_digit": figure.half_digit}
        | shared
        for metric, figure in read_figures(config, key).items()
    ]


def check_figures(config: ReferenceConfig, names: Iterable[str], key: str = "reference") -> None:
    """Raise :class:`ConfigError` for a figure of a score that the run does not have."""
    known = list(names)
    for metric in read_figures(config, key):
        if metric not in known:
            raise ConfigError(
                f"{key}.figures: the run has no score {metric!r}{suggest(metric, known)}; "
                f"choose a metric that gives it, {OFF}"
            )


def read_figures(config: ReferenceConfig, key: str = "reference") -> dict[str, Figure]:
    """Return the published figures of this run's case, by metric; none with ``compare: false``.

    ``key`` is where they stand, for messages.

    Raises :class:`ConfigError` for a case that the figures do not have, and for a figure that cannot be read.
    """
    if not config.compare:
        return {}
    figures: Any = config.figures
    if config.case is None and any(isinstance(value, Mapping | list) for value in figures.values()):
        raise ConfigError(
            f"{key}.figures has a line for each case: {key}.case must say which one this run is"
            f" ({', '.join(map(str, figures))})"
        )
    if config.case is not None:
        if config.case not in figures:
            raise ConfigError(
                f"{key}.case: {config.case!r} is none of the cases in {key}.figures"
                f"{suggest(config.case, figures)}; write its figures there (null: not published), {OFF}"
            )
        figures = figures[config.case] or {}
    where = f"{key}.figures" if config.case is None else f"{key}.figures.{config.case}"
    return {
        metric: read_figure(value, f"{where}.{metric}")
        for metric, value in _name_figures(config, figures, where).items()
        if value is not None
    }


def _name_figures(config: ReferenceConfig, figures: Any, where: str) -> dict[str, Any]:
    if isinstance(figures, Mapping):
        return dict(figures)
    if isinstance(figures, str):
        figures = [None if value == "-" else value for value in figures.split()]
    if not isinstance(figures, list) or len(figures) != len(config.columns):
        expected = f"{len(config.columns)} values, one for each of reference.columns"
        raise ConfigError(f"{where}: {figures!r} is neither {{metric: value}} nor {expected}")
    return dict(zip(config.columns, figures, strict=True))


def read_figure(written: Any, where: str) -> Figure:
    """Read a figure as the paper prints it: a number, a percentage or a fraction.

    >>> read_figure("57.50%", "f1")
    Figure(value=0.575, half_digit=5e-05, printed='57.50%')
    >>> read_figure("92/100", "accuracy")
    Figure(value=0.92, half_digit=0.0, printed='92/100')
    """
    text = str(written).strip()
    try:
        if "/" in text:
            part, whole = (Decimal(number) for number in text.split("/"))
            return Figure(float(part / whole), 0.0, text)
        number = Decimal(text.removesuffix("%")).scaleb(-2 if text.endswith("%") else 0)
    except (ArithmeticError, ValueError):
        number = Decimal("nan")
    if isinstance(written, bool) or not number.is_finite():
        raise ConfigError(f"{where}: {written!r} is not a number, a percentage or a fraction")
    half_digit = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    return Figure(float(number), float(half_digit), text)


def _is_published_model(config: ReferenceConfig, models: Iterable[str]) -> bool:
    """Whether one of the names is that of the published model, or of a dated version of it.

    It is if the config does not say which model was published.
    """
    published = config.model.get(config.case) if isinstance(config.model, Mapping) else config.model
    return published is None or any(_is_same_model(str(published), model) for model in models)


def _is_same_model(published: str, model: str) -> bool:
    """Whether a model's name is the published one, without its vendor and perhaps with a date.

    >>> _is_same_model("gpt-4", "openai/gpt-4-0613"), _is_same_model("gpt-4", "gpt-4o")
    (True, False)
    """
    wanted, name = (text.casefold().rsplit("/", 1)[-1] for text in (published, model))
    return name == wanted or bool(name.startswith(wanted) and _SNAPSHOT.fullmatch(name.removeprefix(wanted)))
