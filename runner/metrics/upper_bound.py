"""What one person reaches when judged by what all people said together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.metrics.base import Metric, column, comparable, defined
from runner.metrics.bootstrap import Floats
from runner.metrics.krippendorff import ratings_of


@dataclass(kw_only=True)
class UpperBound:
    """The metric of a judge that answers each row as one of its people did, drawn at random.

    The upper bound of JUDGE-BENCH (Bavaresco et al. 2024, ``results/upper_bound_estimates.ipynb``). The
    person drawn is among those behind the target, so it lies above
    :class:`runner.metrics.people.HumanCeiling`.

    metric      any metric of this package; its own columns do not matter
    annotators  columns of one person each, or one column of lists; null is a missing value, and rows with
                fewer than two values do not count
    target      the column of what they said together: their majority, or their mean
    draws       how many such judges; those for whom the metric is undefined are left out

    Gives one score, ``name``: the mean over the judges, with the middle ``confidence`` of them as its
    interval, which is the range of one such judge and not the uncertainty of the mean.
    """

    metric: Metric
    annotators: Sequence[str] | str
    target: str = "target"
    draws: int = 1000
    confidence: float = 0.95
    seed: int = 0
    name: str = "upper_bound"

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ConfigError(f"metric {self.name}: draws {self.draws} must be greater than 0")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        ratings = ratings_of(frame, self.annotators, self.name)
        several = ratings.select(pl.sum_horizontal(pl.all().is_not_null()) >= 2).to_series()
        target = column(frame, self.target, self.name)
        cells, choices = self._cells(ratings.filter(several), target.filter(several))
        if not len(choices):
            return {self.name: Score(None)}
        values = self.metric.values(self.metric.cells(cells), self._counts(choices, cells.height))
        known = values[np.isfinite(values)]
        if not known.size:
            return {self.name: Score(None, n=len(choices))}
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return {self.name: Score(defined(float(known.mean())), float(low), float(high), len(choices))}

    def _cells(self, ratings: pl.DataFrame, target: pl.Series) -> tuple[pl.DataFrame, list[list[int]]]:
        """The different (prediction, target) pairs, and per row the pairs that its people make."""
        given = ratings.with_row_index("row").unpivot(index="row", value_name="prediction").drop_nulls()
        said, meant = comparable(given["prediction"], target.gather(given["row"]), self.name)
        pairs = pl.DataFrame({"prediction": said, "target": meant})
        cells = pairs.unique().sort("prediction", "target").with_row_index("cell")
        cell = pairs.join(cells, on=["prediction", "target"], how="left", maintain_order="left")["cell"]
        rows = pl.DataFrame({"row": given["row"], "cell": cell}).group_by("row").agg("cell").sort("row")
        return cells.drop("cell"), rows["cell"].to_list()

    def _counts(self, choices: Sequence[list[int]], size: int) -> Floats:
        """How often each judge makes each pair: (draws, cells)."""
        generator = Random(self.seed)  # as published: its draws, and so its digits, are the same everywhere
        counts = np.zeros((self.draws, size))
        judges = np.arange(self.draws)
        for choice in choices:
            counts[judges, generator.choices(choice, k=self.draws)] += 1
        return counts
