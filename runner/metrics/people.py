"""Scores to compare with: people among themselves, and a predictor that always gives the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError, suggest
from runner.core.types import Direction, Score
from runner.metrics.agreement import collect_ratings
from runner.metrics.base import LabelOption, Metric, align_types, get_column, require_values
from runner.metrics.bootstrap import Floats, bootstrap_intervals, nan_to_none, tally
from runner.metrics.confusion import divide

ALONE = "no row has values of two people"
AGAINST = ("pairs", "majority", "mean")


@dataclass(kw_only=True)
class HumanCeiling:
    """The score that people reach when they are compared with each other.

    metric      any metric of this package; its own columns do not matter
    annotators  one column per person, or one column of lists; null is a missing value
    against     ``pairs``: each two people; ``majority``: each person against the majority of the others
                (rows without a majority are left out); ``mean``: each person against the mean of the others

    With columns, the score is the mean over people; those for whom it is undefined are left out. With lists,
    a place in the list does not stand for a person, so all comparisons are pooled into one. For the interval,
    rows are drawn with all their values.
    """

    metric: Metric
    annotators: Sequence[str] | str
    against: Literal["pairs", "majority", "mean"] = "pairs"
    group: str | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = "human_ceiling"
    direction: ClassVar[Direction] = "none"

    def __post_init__(self) -> None:
        if self.against not in AGAINST:
            raise ConfigError(f"metric {self.name}: against {self.against!r}{suggest(self.against, AGAINST)}")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        ratings = collect_ratings(frame, self.annotators, self.name)
        used = ratings.select(pl.sum_horizontal(pl.all().is_not_null()) >= 2).to_series()
        groups = get_column(frame, self.group, self.name).filter(used) if self.group else None
        sample = tally(ratings.filter(used), groups)
        n = int(sample.counts.sum())
        if self.against == "mean" and not all(
            column.dtype.is_numeric() for column in ratings.iter_columns() if n
        ):
            raise DataError(f"metric {self.name}: against mean needs numbers in {self.annotators!r}")
        if not n:
            return {self.name: Score(None, reason=ALONE)}
        comparisons = [
            _drop_incomplete(*self.metric.align_types(*both)) for both in self._pair_people(sample.cells)
        ]
        if isinstance(self.annotators, str):
            comparisons = [pl.concat(comparisons)]
        parts = [self._index_cells(some, len(sample.counts)) for some in comparisons if some.height]
        bounds = bootstrap_intervals(
            sample, [lambda counts: self._average(parts, counts)], self.confidence, self.resamples, self.seed
        )[0]
        value = float(self._average(parts, sample.counts[None, :])[0])
        reason = f"{self.metric.name} is not defined for these people" if np.isnan(value) else ""
        return {self.name: Score(nan_to_none(value), bounds[0], bounds[1], n, reason)}

    def _index_cells(self, comparison: pl.DataFrame, rows: int) -> tuple[Any, pl.DataFrame]:
        """The distinct cells of one comparison, and the sparse matrix of shape (rows, cells)."""
        from scipy.sparse import csr_array

        pairs = comparison.select("prediction", "target").unique(maintain_order=True).with_row_index("cell")
        cell = comparison.join(pairs, on=["prediction", "target"], how="left", maintain_order="left")["cell"]
        where = (comparison["row"].to_numpy(), cell.to_numpy())
        return csr_array((np.ones(len(cell)), where), shape=(rows, pairs.height)), self.metric.cells(pairs)

    def _pair_people(self, ratings: pl.DataFrame) -> Iterator[tuple[pl.Series, pl.Series]]:
        names = ratings.columns
        if self.against == "pairs":
            if len(names) > 20:
                raise DataError(
                    f"metric {self.name}: {len(names)} annotators are too many for pairs; use majority"
                )
            yield from ((ratings[a], ratings[b]) for i, a in enumerate(names) for b in names[i + 1 :])
            return
        combine = _take_majority if self.against == "majority" else _take_mean
        yield from ((ratings[name], combine(ratings.drop(name))) for name in names)

    def _average(self, parts: list[tuple[Any, pl.DataFrame]], counts: Floats) -> Floats:
        if not parts:
            return np.full(len(counts), np.nan)
        values = np.stack([self.metric.values(cells, counts @ matrix) for matrix, cells in parts])
        known = np.isfinite(values)
        return divide(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


def _drop_incomplete(prediction: pl.Series, target: pl.Series) -> pl.DataFrame:
    """The rows that have both values."""
    both = pl.DataFrame({"prediction": prediction, "target": target})
    return both.with_row_index("row").drop_nulls()


def _take_majority(ratings: pl.DataFrame) -> pl.Series:
    """The most frequent value of each row, null if two are equally frequent."""
    modes = ratings.select(pl.concat_list(pl.all()).list.drop_nulls().list.eval(pl.element().mode()))
    lists = modes.to_series()
    return pl.select(pl.when(lists.list.len() == 1).then(lists.list.first())).to_series()


def _take_mean(ratings: pl.DataFrame) -> pl.Series:
    return ratings.select(pl.mean_horizontal(pl.all())).to_series()


CHOICES = ("majority", "median", "mean")


@dataclass(kw_only=True)
class Baseline:
    """The score in ``metric`` of a predictor that always gives the ``choice`` over targets, or ``constant``.

    The predictor knows the targets it is measured on, so no constant predictor does better by this choice.
    """

    metric: Metric
    choice: Literal["majority", "median", "mean"] = "majority"
    constant: Any = None
    name: str = field(default="")
    direction: ClassVar[Direction] = "none"

    def __post_init__(self) -> None:
        self.name = self.name or f"{self.metric.name}_baseline"
        if self.choice not in CHOICES:
            raise ConfigError(f"metric {self.name}: choice {self.choice!r}{suggest(self.choice, CHOICES)}")

    def named_labels(self) -> list[LabelOption]:
        """The constant, and the labels that the metric names."""
        column = self.metric.target
        named = [("constant", self.constant, (column,), None)] if self.constant is not None else []
        return [*named, *self.metric.named_labels()]

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        target = get_column(frame, self.metric.target, self.name)
        said = self.constant if self.constant is not None else choose_constant(target, self.choice)
        constant = pl.Series(self.metric.prediction, [said] * frame.height, strict=False)
        return {self.name: self.metric(frame.with_columns(constant))[self.metric.name]}


def choose_constant(target: pl.Series, choice: str) -> Any:
    """The most frequent target (the smallest if there are several), or the median or mean of numbers."""
    if choice == "majority":
        return target.drop_nulls().mode().sort().first()
    return target.median() if choice == "median" else target.mean()


@dataclass(kw_only=True)
class UpperBound:
    """The score of a judge that gives, for each row, the answer of one of its people, drawn at random.

    Source: the upper bound of JUDGE-BENCH (Bavaresco et al. 2024, ``results/upper_bound_estimates.ipynb``).
    It is higher than :class:`runner.metrics.people.HumanCeiling`, because the person drawn is one of those
    behind the target.

    metric      any metric of this package; its own columns do not matter
    annotators  one column per person, or one column of lists; null is a missing value, and rows with fewer
                than two values do not count
    target      the column of what the people say together: their majority, or their mean
    draws       how many such judges; those for whom the metric is undefined are left out

    Gives one score, ``name``: the mean over the judges. Its interval holds the middle ``confidence`` of the
    judges; it is the range of a single judge and not the uncertainty of the mean.
    """

    metric: Metric
    annotators: Sequence[str] | str
    target: str = "target"
    draws: int = 1000
    confidence: float = 0.95
    seed: int = 0
    name: str = "upper_bound"
    direction: ClassVar[Direction] = "none"

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ConfigError(f"metric {self.name}: draws {self.draws} must be greater than 0")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        ratings = collect_ratings(frame, self.annotators, self.name)
        several = ratings.select(pl.sum_horizontal(pl.all().is_not_null()) >= 2).to_series()
        target = get_column(frame, self.target, self.name)
        require_values(frame.filter(several), target.filter(several), self.name)
        cells, choices = self._collect_cells(ratings.filter(several), target.filter(several))
        if not len(choices):
            return {self.name: Score(None, reason=ALONE)}
        values = self.metric.values(self.metric.cells(cells), self._draw_counts(choices, cells.height))
        known = values[np.isfinite(values)]
        if not known.size:
            reason = f"{self.metric.name} is not defined for any of the drawn judges"
            return {self.name: Score(None, n=len(choices), reason=reason)}
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return {self.name: Score(nan_to_none(float(known.mean())), float(low), float(high), len(choices))}

    def _collect_cells(
        self, ratings: pl.DataFrame, target: pl.Series
    ) -> tuple[pl.DataFrame, list[list[int]]]:
        """The distinct (prediction, target) pairs, and for each row the pairs that its people form."""
        given = ratings.with_row_index("row").unpivot(index="row", value_name="prediction").drop_nulls()
        said, meant = align_types(given["prediction"], target.gather(given["row"]), self.name)
        pairs = pl.DataFrame({"prediction": said, "target": meant})
        cells = pairs.unique().sort("prediction", "target").with_row_index("cell")
        cell = pairs.join(cells, on=["prediction", "target"], how="left", maintain_order="left")["cell"]
        rows = pl.DataFrame({"row": given["row"], "cell": cell}).group_by("row").agg("cell").sort("row")
        return cells.drop("cell"), rows["cell"].to_list()

    def _draw_counts(self, choices: Sequence[list[int]], size: int) -> Floats:
        """How often each judge forms each pair: (draws, cells)."""
        generator = Random(self.seed)  # as published, so that the same draws give the same digits
        counts = np.zeros((self.draws, size))
        judges = np.arange(self.draws)
        for choice in choices:
            counts[judges, generator.choices(choice, k=self.draws)] += 1
        return counts
