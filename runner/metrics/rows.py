"""Metrics of single rows, and the score of each row; the number of rows; whether two sets are equal."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.core.errors import ConfigError, DataError, describe_error, show_value
from runner.core.identity import digest
from runner.core.types import Direction, Score, write_column, write_value
from runner.data.sql import add_expression
from runner.metrics.base import UNREAD_SCALE, LabelOption, Metric, RowKind, check_row_kind, get_column
from runner.metrics.bootstrap import Floats

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class RowMetric(Metric):
    """A metric that is the mean of a score per row, which ``scores(pairs)`` gives.

    ``row_kind`` is ``right`` if ``proportion`` is true, and otherwise ``value``. In the strict reading a row
    without a prediction has the score ``worst``, or what ``unparsed(pairs)`` gives. The kind ``right`` has 0;
    any other metric must define one of the two.
    """

    worst: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        declared = self.worst is not None or type(self).unparsed is not RowMetric.unparsed
        if self.row_kind != "right" and not declared:
            raise ConfigError(
                f"metric {self.name}: {type(self).__name__} must say `worst`, the score of a row without a "
                "prediction in the strict reading (nan: no strict value), or define unparsed(pairs)"
            )

    @property
    def row_kind(self) -> RowKind | None:
        return "right" if self.proportion else "value"

    @abstractmethod
    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        """One number or truth value per row of ``pairs``, which are the rows with a prediction.

        The columns are ``prediction`` and ``target``, of one type, and ``group`` if the metric has one.
        """

    def unparsed(self, pairs: pl.DataFrame) -> pl.Series:
        """The score of rows without a prediction; nulls if there is no strict value."""
        return pl.repeat(self.worst or 0.0, pairs.height, dtype=pl.Float64, eager=True)

    def score_rows(self, frame: pl.DataFrame) -> pl.Series:
        """The score of each row (Float64), null where the prediction or the gold value is missing."""
        pairs = self.read_pairs(frame)
        known = pairs["prediction"].is_not_null() & pairs["target"].is_not_null()
        score = np.full(pairs.height, np.nan)
        score[known.to_numpy()] = self._rate(self.scores, pairs.filter(known))
        return pl.Series(score).fill_nan(None)

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        parsed = pairs["prediction"].is_not_null()
        score = np.full(pairs.height, np.nan)
        score[parsed.to_numpy()] = self._rate(self.scores, pairs.filter(parsed))
        score[~parsed.to_numpy()] = self._rate(self.unparsed, pairs.filter(~parsed))
        return pl.DataFrame({"score": score, "parsed": parsed})

    def _rate(self, rule: Callable[[pl.DataFrame], pl.Series], pairs: pl.DataFrame) -> NDArray[np.float64]:
        scores = rule(pairs)
        if not isinstance(scores, pl.Series) or len(scores) != pairs.height:
            raise ConfigError(
                f"metric {self.name}: {rule.__name__}(pairs) must give a polars Series with a number for "
                f"each of {pairs.height} rows, not {show_value(scores)}"
            )
        return scores.cast(pl.Float64).to_numpy()

    def explain(self, cells: pl.DataFrame) -> str:
        """Rows without a prediction may have no score."""
        hint = f"; {UNREAD_SCALE.partition('; ')[2]} minimum and maximum" if hasattr(self, "minimum") else ""
        return "an answer that was not read has no value" + hint if cells["score"].is_nan().any() else ""

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return counts @ cells["score"].to_numpy() / counts.sum(axis=1)  # type: ignore[no-any-return]


@dataclass(kw_only=True)
class Count:
    """Number of rows whose ``column`` is ``value``, or has any value where ``value`` is null.

    ``where`` is a condition in SQL, as in a step ``filter``: only rows for which it is true are counted.
    ``direction`` is as in :class:`runner.metrics.classification.Share`.
    """

    column: str = "target"
    value: Any = None
    where: str | None = None
    name: str = "count"
    direction: Direction = "none"

    def named_labels(self) -> list[LabelOption]:
        """The counted value, which must be one that the column can have."""
        return [] if self.value is None else [("value", self.value, (self.column,), None)]

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        values = get_column(frame, self.column, self.name)
        if self.value is not None and values.dtype.is_nested():
            raise DataError(
                f"metric {self.name}: column {self.column!r} is {values.dtype}, not single values"
            )
        chosen = (
            values.is_not_null() if self.value is None else write_column(values) == write_value(self.value)
        )
        if self.where is not None:
            chosen &= self._find_true(frame)
        return {self.name: Score(float(chosen.sum()), n=frame.height)}

    def _find_true(self, frame: pl.DataFrame) -> pl.Series:
        where = f"metric {self.name}: where"
        try:
            helped, condition = add_expression(frame, str(self.where), where)
            found = helped.select(condition.alias("where")).to_series()
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{where}={self.where!r}: {str(error).splitlines()[0]}") from error
        if found.dtype not in (pl.Boolean, pl.Null) or len(found) != frame.height:
            raise ConfigError(f"{where}={self.where!r} is not true or false for each row")
        return found.cast(pl.Boolean).fill_null(False)


@dataclass(kw_only=True)
class Fingerprint:
    """A number that two sets of rows share only if ``columns`` hold the same values in the same order.

    The first 12 hexadecimal digits of the SHA-256 of the rows: a whole number below 2 to the 48, which a
    float holds exactly.
    """

    columns: Sequence[str]
    name: str = "fingerprint"
    direction: ClassVar[Direction] = "none"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        rows = pl.DataFrame([get_column(frame, name, self.name) for name in self.columns]).rows()
        return {self.name: Score(float(int(digest(rows)[:12], 16)), n=frame.height)}


def row_score_kinds(metrics: Mapping[str, Callable[[pl.DataFrame], Any]]) -> dict[str, str]:
    """The metrics that score single rows, by key: ``right`` (1 is right, 0 wrong) or ``value``.

    A metric does so by a method ``score_rows(frame)``, which gives a number or null for each row, and an
    attribute ``row_kind`` (without it: ``value``; None: no scores). Another kind is a :class:`ConfigError`.
    """
    kinds = {
        key: getattr(metric, "row_kind", "value")
        for key, metric in metrics.items()
        if callable(getattr(metric, "score_rows", None))
    }
    for key, kind in kinds.items():
        check_row_kind(key, kind)
    return {key: kind for key, kind in kinds.items() if kind is not None}


def score_rows(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a column for each metric that scores single rows, named by the metric's key.

    A column is Float64, and null where a row has no score: no answer, no prediction, or no gold value. A
    metric that fails here is left out with a warning; what is paid for is not lost.

    Raises:
        ConfigError: the rows already have a column of that name.
    """
    check_names(metrics, frame)
    scored = (_score_rows(key, metrics[key], frame) for key in row_score_kinds(metrics))
    return frame.with_columns(column for column in scored if column is not None)


def check_names(metrics: Mapping[str, Callable[[pl.DataFrame], Any]], frame: pl.DataFrame) -> None:
    """Refuse a metric whose row scores would have the name of a column that the rows have."""
    for key in row_score_kinds(metrics):
        if key == "verdict" or key.startswith("judge_"):
            raise ConfigError(
                f"metric.{key}: columns of this name hold what a judge says; choose another name"
            )
        if key in frame.columns:
            raise ConfigError(f"metric.{key}: the rows already have a column {key!r}; rename one of them")


def _score_rows(key: str, metric: Any, frame: pl.DataFrame) -> pl.Series | None:
    try:
        scores = pl.Series(key, metric.score_rows(frame), strict=False).cast(pl.Float64).fill_nan(None)
    except (Exception, SystemExit) as error:
        log.warning("metric.%s: single rows have no score; %s", key, describe_error(error))
        return None
    if len(scores) != frame.height:
        log.warning("metric.%s: %d row scores for %d rows are left out", key, len(scores), frame.height)
        return None
    return scores
