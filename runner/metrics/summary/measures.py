"""Means, standard errors, quantiles and ratios of columns, each with the interval of all metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError, count_of
from runner.core.types import Direction, Score
from runner.metrics.base import LabelOption, Metric, get_column, name_rows
from runner.metrics.bootstrap import Bounds, Ends, Floats, Measure, keep_finite


@dataclass(kw_only=True)
class _Summary(Metric, ABC):
    """A number about a column of numbers or truth values (1 and 0), which needs no gold values.

    prediction  the column
    weight      a column of weights, at least 0, of which every row has one; null: all rows weigh the same
    missing     what a row without a value counts as in the strict reading; null: then it has no strict value
    """

    weight: str | None = None
    missing: float | None = None

    direction: ClassVar[Direction] = "none"

    def named_labels(self) -> list[LabelOption]:
        return []

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns ``value``, ``weight`` and, if wanted, ``group``."""
        columns = {"value": self._read_numbers(frame, self.prediction), "weight": self._read_weights(frame)}
        if grouping := self.per or self.group:
            columns["group"] = get_column(frame, grouping, self.name)
        return pl.DataFrame(columns)

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        parsed = pairs["value"].is_not_null()
        return pairs.select(
            pl.col("value").fill_null(pl.lit(self.missing, dtype=pl.Float64)), "weight", parsed=parsed
        )

    def explain(self, cells: pl.DataFrame) -> str:
        return "a row without a value counts as nothing; set missing" if cells["value"].has_nulls() else ""

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        if cells["value"].has_nulls():
            return np.full(len(counts), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.compute(cells, counts)

    @abstractmethod
    def compute(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        """The number for counts of shape (resamples, cells); every cell has a value."""

    def _read_numbers(self, frame: pl.DataFrame, name: str) -> pl.Series:
        column = get_column(frame, name, self.name)
        if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
            raise DataError(
                f"metric {self.name}: column {name!r} is {column.dtype}, not numbers; a step can make some:"
                f" scoring.steps: derive: {{{name}: TRY_CAST({name} AS DOUBLE)}}"
            )
        return keep_finite(column.cast(pl.Float64))

    def _read_weights(self, frame: pl.DataFrame) -> pl.Series:
        if self.weight is None:
            return pl.repeat(1.0, frame.height, dtype=pl.Float64, eager=True)
        weights = self._read_numbers(frame, self.weight)
        if wrong := (~(weights >= 0).fill_null(False)).arg_true().to_list():
            raise DataError(
                f"metric {self.name}: column {self.weight!r} is no weight (a number from 0) in "
                f"{count_of(len(wrong), 'row')} ({name_rows(frame, wrong)})"
            )
        return weights


def _weigh(cells: pl.DataFrame, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """The values, and the weights and weighted means per resample."""
    value, weight = cells["value"].to_numpy(), cells["weight"].to_numpy()
    weights = counts * weight
    return value, weights, weights @ value / weights.sum(axis=1)


@dataclass(kw_only=True)
class Mean(_Summary):
    """The mean of a column, weighted by ``weight``.

    direction  whether a ``higher`` or a ``lower`` mean is better, which decides what is best in a sweep
    share      true: 0 and 1 are the least and the most that a value can be. Where all are 0 or all are 1, so
               that resamples do not differ, the interval is that of a proportion (Clopper and Pearson 1934)
    """

    direction: Direction = "none"  # type: ignore[misc]
    share: bool = False
    default_name: ClassVar[str] = "mean"

    def measures(self) -> dict[str, Measure]:
        is_share = self.share and self.weight is None
        return {name: replace(each, proportion=is_share) for name, each in super().measures().items()}

    def find_ends(self, suffix: str) -> Ends:
        return (None, None)  # values are not checked: the scores of a tool's log may lie outside

    def _score(
        self, measure: Measure, cells: pl.DataFrame, counts: Floats, units: int, bounds: Bounds
    ) -> Score:
        score = super()._score(measure, cells, counts, units, bounds)
        if score.value is None or score.low is not None or score.n < 2 or cells["value"].n_unique() > 1:
            return score
        return replace(score, reason="all rows have the same value, so it has no interval")

    def compute(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        return _weigh(cells, counts)[2]


@dataclass(kw_only=True)
class StdErr(_Summary):
    """The standard error of the mean of a column: s / √n.

    With weights it is √(n / (n - 1) · Σ w²(x - m)²) / Σ w, the linearised one of a ratio (Cochran 1977,
    "Sampling Techniques", section 6.3), which without weights is the same. Rows count as independent.
    """

    default_name: ClassVar[str] = "standard_error"

    def compute(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        value, weights, mean = _weigh(cells, counts)
        n = counts.sum(axis=1)
        spread = weights * cells["weight"].to_numpy() * (value[None, :] - mean[:, None]) ** 2
        result = np.sqrt(n / (n - 1) * spread.sum(axis=1)) / weights.sum(axis=1)
        return np.where(n > 1, result, np.nan)


@dataclass(kw_only=True)
class Quantile(_Summary):
    """The value of a column below which the share ``q`` of the rows lies; 0.5 is the median.

    Between two rows it is interpolated as by NumPy and R (type 7 of Hyndman and Fan 1996). With weights it is
    the smallest value at which the weights reach the share.
    """

    q: float = 0.5
    default_name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.q <= 1:
            raise ConfigError(f"metric {self.name}: q {self.q} is not between 0 and 1")

    def compute(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        order = np.argsort(cells["value"].to_numpy(), kind="stable")
        value, counts = cells["value"].to_numpy()[order], counts[:, order]
        if self.weight is not None:
            reached = np.cumsum(counts * cells["weight"].to_numpy()[order], axis=1)
            total = reached[:, -1:]
            place = (reached >= self.q * total * (1 - 1e-12)) & (reached > 0)
            return np.where(total[:, 0] > 0, value[place.argmax(axis=1)], np.nan)
        reached = np.cumsum(counts, axis=1)
        at = (reached[:, -1] - 1) * self.q
        low = value[(reached > np.floor(at)[:, None]).argmax(axis=1)]
        high = value[(reached > np.ceil(at)[:, None]).argmax(axis=1)]
        return np.where(reached[:, -1] > 0, low + (high - low) * (at - np.floor(at)), np.nan)


@dataclass(kw_only=True)
class Ratio(_Summary):
    """The sum of a column divided by the sum of another one, ``over``, such as dollars per right answer.

    A row in which either is missing has no value. It is undefined where the sum below is 0.
    """

    over: str
    default_name: ClassVar[str] = "ratio"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.missing is not None:
            raise ConfigError(f"metric {self.name}: missing is for one column; let a step fill both")

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        pairs = super().pairs(frame).with_columns(over=self._read_numbers(frame, self.over))
        both = pl.col("value").is_not_null() & pl.col("over").is_not_null()
        return pairs.with_columns(pl.when(both).then(pl.col(name)).alias(name) for name in ("value", "over"))

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return super().cells(pairs).with_columns(pairs["over"])

    def compute(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        weights: Any = counts * cells["weight"].to_numpy()
        below = weights @ cells["over"].to_numpy()
        return np.where(below != 0, weights @ cells["value"].to_numpy() / below, np.nan)
