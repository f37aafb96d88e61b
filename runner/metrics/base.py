"""What all metrics share: columns, the two readings (strict and parsed), row scores, intervals."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.core.types import Direction, Score
from runner.metrics.bootstrap import (
    SHARE,
    Bounds,
    Ends,
    Floats,
    Measure,
    Tally,
    bootstrap_intervals,
    clopper_pearson,
    keep_finite,
    nan_to_none,
    score_mean,
    tally,
)

RowKind = Literal["right", "value"]
"""What the score of a single row says: right (1) or wrong (0), or any other number."""
LabelOption = tuple[str, Any, tuple[str, ...], str | None]
"""An option, the label that it names, columns with such labels, and one that must have it (or None)."""

UNREAD, UNDEFINED = "no answer was read", "these rows do not define it"
UNREAD_SCALE = "an answer that was not read has no value; set the ends of the scale,"


@dataclass(kw_only=True)
class Metric(ABC):
    """A number over rows, with its interval: ``metric(frame) -> {name: Score, name_parsed: Score}``.

    ``name`` is strict: a row whose prediction is null (not answered, or not parsed) counts as wrong.
    ``name_parsed`` leaves such rows out. A value that is not defined is None, with its reason; so is every
    value if no row has a prediction.

    prediction, target   the columns to compare; ``expected`` is a constant in place of the target
    group                column of the unit that is drawn at random for the interval, such as a document;
                         null: rows are drawn
    per                  column of a document, a system, …: the value is the mean of its values; those where
                         it is undefined are left out and counted in ``name_skipped``
    confidence, resamples, seed   of the bootstrap (BCa)
    """

    prediction: str = "prediction"
    target: str = "target"
    expected: Any = None
    group: str | None = None
    per: str | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = ""

    default_name: ClassVar[str] = ""
    """The ``name`` where none is given; empty: after the class, as ``answer_length`` for ``AnswerLength``."""
    unread: ClassVar[str] = UNREAD
    proportion: ClassVar[bool] = False
    best: ClassVar[float | None] = None
    """The best score that a row can have; None if there is none or it is not known."""
    direction: ClassVar[Direction] = "higher"
    ends: ClassVar[Ends] = (None, None)
    """The least and the most that a score can be, where it is no share."""
    undirected: ClassVar[Sequence[str]] = ("_skipped",)
    """Suffixes of scores that are neither good nor bad."""

    @property
    def row_kind(self) -> RowKind | None:
        """What ``score_rows(frame)`` gives; None if a single row has no value of this metric."""
        return None

    def __post_init__(self) -> None:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__)
        self.name = self.name or self.default_name or words.lower()
        check_row_kind(self.name, self.row_kind)
        if not 0 < self.confidence < 1:
            raise ConfigError(f"metric {self.name}: confidence {self.confidence} is not between 0 and 1")
        if self.per and self.group:
            raise ConfigError(f"metric {self.name}: set per or group, not both; per draws its own groups")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        pairs = self.pairs(frame)
        if self.per:
            return self._average_groups(pairs)
        sample = tally(self.cells(pairs), pairs["group"] if self.group else None)
        parsed = is_parsed(sample.cells)
        if len(parsed) and not parsed.any():
            return self._leave_undefined(int(sample.counts.sum()))
        strict = self._score_all(sample, np.ones(len(parsed), dtype=bool))
        some = strict if parsed.all() and len(parsed) else self._score_all(sample, parsed)
        return {f"{self.name}{suffix}": score for suffix, score in strict.items()} | {
            f"{self.name}{suffix}_parsed": score for suffix, score in some.items()
        }

    def _leave_undefined(self, n: int) -> dict[str, Score]:
        """The scores of rows of which none has a prediction: they say nothing about the model's answers."""
        names = [f"{self.name}{suffix}" for suffix in self.measures()]
        strict, some = Score(None, n=n, reason=self.unread), Score(None, n=0, reason=self.unread)
        return dict.fromkeys(names, strict) | {f"{name}_parsed": some for name in names}

    def named_labels(self) -> list[LabelOption]:
        """The labels that options of this metric name; each must be one that the rows can have."""
        return [] if self.expected is None else [("expected", self.expected, (self.prediction,), None)]

    def explain(self, cells: pl.DataFrame) -> str:
        """Why the value is not defined for these cells, as far as it is known."""
        if not is_parsed(cells).all() and getattr(self, "minimum", 0) is None:
            return f"{UNREAD_SCALE} minimum and maximum"
        for name in ("target", "prediction"):
            if name in cells.columns and cells[name].n_unique() == 1:
                return f"every {name} is {cells[name][0]!r}"
        return ""

    @abstractmethod
    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What the metric needs of each row: a column ``parsed`` and others with few distinct values."""

    @abstractmethod
    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        """The metric for each resample: counts of shape (resamples, cells) to (resamples,)."""

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        """The metric itself for counts of shape (cells,)."""
        return nan_to_none(float(self.values(cells, counts[None, :])[0]))

    def measures(self) -> dict[str, Measure]:
        """What is measured, by the suffix of its name; most metrics measure one thing."""
        return {"": Measure(self.value, self.values, self.proportion, self.ends)}

    def find_ends(self, suffix: str) -> Ends:
        """The least and the most that the score with this suffix can be."""
        measure = self.measures().get(suffix)
        return (None, None) if measure is None else SHARE if measure.proportion else measure.ends

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns ``prediction``, ``target`` and, if wanted, ``group``; every row must have a gold value."""
        self.check_targets(frame, self._read_target(frame))
        return self.read_pairs(frame)

    def _read_target(self, frame: pl.DataFrame) -> pl.Series:
        if self.expected is None:
            return get_column(frame, self.target, self.name)
        return pl.repeat(self.expected, frame.height, eager=True).alias("expected")

    def read_pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same columns, in which gold values may be missing."""
        prediction = get_column(frame, self.prediction, self.name)
        prediction, target = self.align_types(prediction, self._read_target(frame))
        columns = {"prediction": prediction, "target": target}
        if grouping := self.per or self.group:
            columns["group"] = get_column(frame, grouping, self.name)
        return pl.DataFrame(columns)

    def align_types(self, prediction: pl.Series, target: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Both columns in one type, or :class:`DataError`."""
        return align_types(prediction, target, self.name)

    def check_targets(self, frame: pl.DataFrame, target: pl.Series) -> None:
        """Refuse rows without a gold value, which can be neither right nor wrong."""
        require_values(frame, target, self.name)

    def _score_all(self, sample: Tally, keep: NDArray[np.bool_]) -> dict[str, Score]:
        """Every measure over the cells to keep, with the same resamples for all."""
        cells, measures = sample.cells.filter(keep), self.measures()
        statistics = [partial(_measure_resamples, measure, cells, keep) for measure in measures.values()]
        bounds = bootstrap_intervals(sample, statistics, self.confidence, self.resamples, self.seed)
        return {
            suffix: self._score(measure, cells, sample.counts[keep], sample.units, bound)
            for (suffix, measure), bound in zip(measures.items(), bounds, strict=True)
        }

    def _score(
        self, measure: Measure, cells: pl.DataFrame, counts: Floats, units: int, bounds: Bounds
    ) -> Score:
        n = int(counts.sum())
        value = measure.value(cells, counts) if n else None
        if value is None:
            return Score(None, n=n, reason=(self.explain(cells) or UNDEFINED) if n else "there are no rows")
        if measure.proportion and bounds[0] is None and value in (0.0, 1.0):
            # rows of a group vary together, so there are no more independent units than groups
            bounds = clopper_pearson(value, min(n, units), self.confidence)
        return Score(value, bounds[0], bounds[1], n)

    def _average_groups(self, pairs: pl.DataFrame) -> dict[str, Score]:
        """The mean over groups; groups are drawn at random for the interval."""
        if pairs.is_empty():
            return self._leave_undefined(0)
        groups = [tally(self.cells(group)) for _, group in pairs.group_by("group", maintain_order=True)]
        scores: dict[str, Score] = {}
        for suffix, measure in self.measures().items():
            name = f"{self.name}{suffix}"
            strict, some = zip(*(_measure_group(measure, group) for group in groups), strict=True)
            lost = any(
                s is None and not is_parsed(g.cells).all() for s, g in zip(strict, groups, strict=True)
            )
            unread = not any(is_parsed(group.cells).any() for group in groups)
            reason = f"it is not defined in a {self.per} with answers that were not read"
            undefined = Score(None, n=len(groups), reason=UNREAD if unread else reason)
            scores[name] = undefined if lost or unread else self._average(strict)
            scores[f"{name}_parsed"] = self._average(some)
            scores[f"{name}_skipped"] = Score(float(some.count(None)), n=len(groups))
        return scores

    def _average(self, each: Sequence[float | None]) -> Score:
        means = tally(pl.DataFrame({"value": pl.Series(each, dtype=pl.Float64).drop_nulls()}))
        if not means.counts.size:
            return Score(None, reason=f"it is not defined in any {self.per}")
        values = means.cells["value"].to_numpy()
        return score_mean(means, values, self.confidence, self.resamples, self.seed)


def _measure_resamples(
    measure: Measure, cells: pl.DataFrame, keep: NDArray[np.bool_], counts: Floats
) -> Floats:
    if cells.is_empty():
        return np.full(len(counts), np.nan)
    return measure.values(cells, counts if keep.all() else counts[:, keep])


def is_parsed(cells: pl.DataFrame) -> NDArray[np.bool_]:
    """A mask of the cells that have a prediction."""
    return cells["parsed"].to_numpy().astype(bool)


def _measure_group(measure: Measure, group: Tally) -> tuple[float | None, float | None]:
    """The value in one group, strict and parsed; None where undefined."""
    strict = measure.value(group.cells, group.counts)
    keep = is_parsed(group.cells)
    if keep.all():
        return strict, strict
    return strict, measure.value(group.cells.filter(keep), group.counts[keep]) if keep.any() else None


def check_row_kind(name: str, kind: object) -> None:
    """Raise :class:`ConfigError` unless it is a :data:`RowKind` or None."""
    known = get_args(RowKind)
    if kind not in (None, *known):
        raise ConfigError(f"metric {name}: row_kind {kind!r}{suggest(str(kind), known)}")


def get_column(frame: pl.DataFrame, name: str, metric: str) -> pl.Series:
    """A column by name. Raises :class:`DataError` with the nearest name if there is none."""
    if name not in frame.columns:
        raise DataError(f"metric {metric}: the rows have no column {name!r}{suggest(name, frame.columns)}")
    return frame[name]


def require_values(frame: pl.DataFrame, target: pl.Series, metric: str) -> None:
    """Raise :class:`DataError` naming the rows without a gold value."""
    known = target.is_finite().fill_null(False) if target.dtype.is_float() else target.is_not_null()
    if empty := (~known).arg_true().to_list():
        raise DataError(
            f"metric {metric}: column {target.name!r} has no value in {count_of(len(empty), 'row')} "
            f"({name_rows(frame, empty)}); leave them out with a filter in dataset.steps"
        )


def name_rows(frame: pl.DataFrame, rows: list[int], most: int = 5) -> str:
    """The first few rows by their ``id``, or by their number from 0."""
    names = [str(frame["id"][row]) if "id" in frame.columns else str(row) for row in rows[:most]]
    return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def align_types(one: pl.Series, other: pl.Series, metric: str) -> tuple[pl.Series, pl.Series]:
    """Both columns in one type: numbers compare with numbers, other values only with their own type."""
    one, other = (s.cast(pl.String) if s.dtype in (pl.Categorical, pl.Enum) else s for s in (one, other))
    if nested := [column.name for column in (one, other) if column.dtype.is_nested()]:
        raise DataError(f"metric {metric}: column {nested[0]!r} has several values per row, and it takes one")
    one, other = keep_finite(one), keep_finite(other)
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
