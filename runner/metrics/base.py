"""What all metrics share: columns, the two readings (strict and parsed), intervals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.errors import ConfigError, DataError, nearest
from runner.metrics.resample import Floats, Tally, exact, intervals, tally
from runner.types import Score


@dataclass(kw_only=True)
class Metric(ABC):
    """A number over rows, with its interval: ``metric(frame) -> {name: Score, name_parsed: Score}``.

    ``name`` is strict: a row whose prediction is null (not answered, or not parsed) counts as wrong.
    ``name_parsed`` leaves such rows out. Where a value is not defined it is None.

    prediction, target   the columns to compare; ``expected`` is a constant in place of the target
    group                column of what is drawn at random for the interval (a document, a pair); null: rows
    confidence, resamples, seed   of the bootstrap (percentile method)
    """

    prediction: str = "prediction"
    target: str = "target"
    expected: Any = None
    group: str | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = ""

    default_name: ClassVar[str]
    proportion: ClassVar[bool] = False
    """Whether the value is a share of rows, so that 0 and 1 have exact bounds."""

    def __post_init__(self) -> None:
        self.name = self.name or self.default_name
        if not 0 < self.confidence < 1:
            raise ConfigError(f"metric {self.name}: confidence {self.confidence} is not between 0 and 1")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        pairs = self.pairs(frame)
        sample = tally(self.cells(pairs), pairs["group"] if self.group else None)
        everything = np.ones(len(sample.counts), dtype=bool)
        parsed = sample.cells["parsed"].to_numpy().astype(bool)
        views = {self.name: everything, f"{self.name}_parsed": parsed}
        bounds = intervals(
            sample,
            [partial(self._view, sample.cells, keep) for keep in views.values()],
            self.confidence,
            self.resamples,
            self.seed,
        )
        return {
            name: self._score(sample, keep, bound)
            for (name, keep), bound in zip(views.items(), bounds, strict=True)
        }

    @abstractmethod
    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What the metric needs of each row: columns of few distinct values, ``parsed`` among them."""

    @abstractmethod
    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        """The metric for many counts of the same cells: (resamples, cells) to (resamples,)."""

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        """The metric itself for counts of shape (cells,)."""
        return defined(float(self.values(cells, counts[None, :])[0]))

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns ``prediction``, ``target`` and, if wanted, ``group``, checked."""
        columns = {"prediction": column(frame, self.prediction, self.name)}
        if self.expected is None:
            columns["target"] = column(frame, self.target, self.name)
        else:
            columns["target"] = pl.repeat(self.expected, frame.height, eager=True).alias("expected")
        if self.group:
            columns["group"] = column(frame, self.group, self.name)
        self._check_target(frame, columns["target"])
        prediction, target = self.comparable(columns["prediction"], columns["target"])
        return pl.DataFrame(columns | {"prediction": prediction, "target": target})

    def comparable(self, prediction: pl.Series, target: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Both columns in one type, or :class:`DataError`."""
        return comparable(prediction, target, self.name)

    def _check_target(self, frame: pl.DataFrame, target: pl.Series) -> None:
        empty = target.is_null().arg_true().to_list()
        if empty:
            raise DataError(
                f"metric {self.name}: column {self.target!r} has no value in {len(empty)} rows "
                f"({row_names(frame, empty)}); filter them in dataset.steps"
            )

    def _view(self, cells: pl.DataFrame, keep: NDArray[np.bool_], counts: Floats) -> Floats:
        if keep.all():
            return self.values(cells, counts)
        return self.values(cells.filter(keep), counts[:, keep])

    def _score(
        self, sample: Tally, keep: NDArray[np.bool_], bounds: tuple[float | None, float | None]
    ) -> Score:
        counts = sample.counts[keep]
        n = int(counts.sum())
        value = self.value(sample.cells.filter(keep), counts) if n else None
        if value is None:
            return Score(None, n=n)
        if self.proportion and bounds[0] is None and value in (0.0, 1.0):
            # groups vary together, so no more than their number is certain
            bounds = exact(value, min(n, sample.units), self.confidence)
        return Score(value, *bounds, n=n)


@dataclass(kw_only=True)
class RowMetric(Metric):
    """A metric that is the mean of a score per row."""

    worst: ClassVar[float] = 0.0

    @abstractmethod
    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        """One number per row; only rows with a prediction are given."""

    def unparsed(self, pairs: pl.DataFrame) -> pl.Series:
        """The score of rows without a prediction, or nulls where there is no strict value."""
        return pl.repeat(self.worst, pairs.height, dtype=pl.Float64, eager=True)

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        parsed = pairs["prediction"].is_not_null()
        score = np.full(pairs.height, np.nan)
        score[parsed.to_numpy()] = self.scores(pairs.filter(parsed)).cast(pl.Float64).to_numpy()
        score[~parsed.to_numpy()] = self.unparsed(pairs.filter(~parsed)).cast(pl.Float64).to_numpy()
        return pl.DataFrame({"score": score, "parsed": parsed})

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return counts @ cells["score"].to_numpy() / counts.sum(axis=1)  # type: ignore[no-any-return]


def defined(value: float) -> float | None:
    """The value, or None for NaN."""
    return None if np.isnan(value) else value


def column(frame: pl.DataFrame, name: str, metric: str) -> pl.Series:
    """A column by name; a wrong name is an error with the nearest right one."""
    if name not in frame.columns:
        raise DataError(f"metric {metric}: the rows have no column {name!r}{nearest(name, frame.columns)}")
    return frame[name]


def row_names(frame: pl.DataFrame, rows: list[int], most: int = 5) -> str:
    """The first few rows by ``id``, else by number from 0."""
    names = [str(frame["id"][row]) if "id" in frame.columns else str(row) for row in rows[:most]]
    return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def comparable(one: pl.Series, other: pl.Series, metric: str) -> tuple[pl.Series, pl.Series]:
    """Both columns in one type. Numbers compare with numbers, anything else only with its own kind."""
    one, other = (s.cast(pl.String) if s.dtype in (pl.Categorical, pl.Enum) else s for s in (one, other))
    if one.dtype == pl.Null:
        one = one.cast(other.dtype)
    if one.dtype == other.dtype:
        return one, other
    if one.dtype.is_numeric() and other.dtype.is_numeric():
        shared = pl.Int64 if one.dtype.is_integer() and other.dtype.is_integer() else pl.Float64
        return one.cast(shared), other.cast(shared)
    raise DataError(
        f"metric {metric}: {one.name!r} is {one.dtype} and {other.name!r} is {other.dtype}, "
        "so no row can agree; a prompt.parser gives both the same type"
    )
