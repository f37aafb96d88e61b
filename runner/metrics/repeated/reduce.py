"""One answer of several: the k lines of a row become one line, before it is scored."""

from __future__ import annotations

from typing import Any

import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import REPEAT, write_column

EACH = "each"
AVERAGES, BEST = ("mean", "median"), ("any", "all")
PROBABILITY = "probability"
_SCORE = " score"  # no column of a data set has a name with this space


def reduce_rows(frame: pl.DataFrame, rule: str, metric: Any) -> pl.DataFrame:
    """One line for each row, in their order, without the column ``repeat``.

    ``majority`` keeps the line that first gave the most frequent value (of several values that are given
    equally often, the one that came first). ``mean`` and ``median`` put that of the numbers into the first
    line. ``any`` keeps the line that the metric scores best, ``all`` the one that it scores worst; a
    metric that scores no single rows compares the value with the target. A null, an answer that was not
    read, has no vote and counts as the worst; a row of nulls stays null.
    """
    name = getattr(metric, "prediction", "prediction")
    name = name if isinstance(name, str) and name in frame.columns else "prediction"
    value = pl.col(name)
    if rule in AVERAGES:
        middle = value.mean() if rule == "mean" else value.median()
        frame = frame.with_columns(middle.over("id").alias(name))
        place = pl.col(_SCORE).arg_max()
        score = pl.lit(0.0)
    elif rule == "majority":
        votes = pl.len().over("id", name)
        score = pl.when(value.is_not_null()).then(votes).otherwise(-1).cast(pl.Float64)
        place = pl.col(_SCORE).arg_max()
    else:
        score = _rate(frame, name, metric).fill_null(float("-inf"))
        place = pl.col(_SCORE).arg_max() if rule == "any" else pl.col(_SCORE).arg_min()
    scored = frame.sort(REPEAT, maintain_order=True) if rule in AVERAGES else frame
    scored = scored.with_columns(score.alias(_SCORE))
    lines = scored.with_row_index(" line").group_by("id", maintain_order=True)
    chosen = lines.agg(pl.col(" line").gather(place).first())[" line"]
    return scored[chosen].drop(_SCORE, REPEAT)


def _rate(frame: pl.DataFrame, name: str, metric: Any) -> Any:
    """How good each line is: the higher, the better."""
    if getattr(metric, "row_kind", None) and callable(getattr(metric, "score_rows", None)):
        scores = metric.score_rows(frame)
        return -scores if getattr(metric, "direction", "higher") == "lower" else scores
    target = frame["target"]
    if isinstance(target.dtype, pl.List):
        return frame.select(pl.col("target").list.contains(pl.col(name)).cast(pl.Float64)).to_series()
    return (write_column(frame[name]) == write_column(target)).cast(pl.Float64)


def check_reduction(key: str, metric: Any, frame: pl.DataFrame, rule: str) -> None:
    """Raise :class:`ConfigError` if the answers cannot be averaged, or none is better than another.

    Probabilities of a label are hardly ever equal, and none is the target: they have no majority, and a best
    one only by a metric that scores single rows.
    """
    name = getattr(metric, "prediction", "prediction")
    has_best = rule in BEST and getattr(metric, "row_kind", None)
    if name == PROBABILITY and rule not in (EACH, *AVERAGES) and not has_best:
        raise ConfigError(
            f"scoring.reduce={rule}: metric.{key} reads probabilities, which it cannot choose from; use each"
            " or mean, or leave this metric out"
        )
    kind = frame.schema.get(name if isinstance(name, str) else "prediction", pl.Null())
    if rule in AVERAGES and not (kind.is_numeric() or kind == pl.Null):
        raise ConfigError(
            f"scoring.reduce={rule}: metric.{key} reads {kind}, not numbers; use majority, any or all"
        )
    if rule in BEST and getattr(metric, "direction", "higher") == "none":
        raise ConfigError(
            f"scoring.reduce={rule}: metric.{key} has no direction, so no answer is the best one"
        )
    if rule in BEST and not getattr(metric, "row_kind", None) and "target" not in frame.columns:
        raise ConfigError(
            f"scoring.reduce={rule}: the rows have no target, and metric.{key} scores no single rows"
        )
