"""Metrics of the repeats themselves: right at least once, right each time, the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb
from typing import Any, ClassVar

import numpy as np
import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import REPEAT, Direction, Score
from runner.metrics.agreement import KrippendorffAlpha
from runner.metrics.base import UNREAD, get_column
from runner.metrics.bootstrap import SHARE, Ends, score_mean, tally
from runner.metrics.classification import Accuracy
from runner.metrics.repeated.each import measure_each
from runner.metrics.rows import RowMetric

TOO_FEW = "no row has two answers that were read"


@dataclass(kw_only=True)
class _OfK:
    """A share of k of the answers to each row.

    k            how many of a row's answers are looked at; a number or a list of numbers
    metric       what says that an answer is right: a metric whose rows are right or wrong (``row_kind``);
                 null: the prediction is the target, or one of its list
    prediction, target, expected   as in :class:`runner.metrics.Metric`, where ``metric`` is null
    confidence, resamples, seed    of the bootstrap (BCa), which draws rows
    """

    k: Any = field(default_factory=lambda: [1])
    metric: Any = None
    prediction: str = "prediction"
    target: str = "target"
    expected: Any = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = ""

    reads_repeats: ClassVar[bool] = True
    direction: ClassVar[Direction] = "higher"
    default_name: ClassVar[str] = ""
    ends: ClassVar[Ends] = SHARE

    def __post_init__(self) -> None:
        self.name = self.name or self.default_name
        wanted = [self.k] if isinstance(self.k, int) else list(self.k)
        if not wanted or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in wanted):
            raise ConfigError(f"metric {self.name}: k {self.k!r} must be whole numbers from 1")
        self._wanted = list(dict.fromkeys(wanted))
        self._right: RowMetric = self.metric or Accuracy(
            prediction=self.prediction,
            target=self.target,
            expected=self.expected,
            confidence=self.confidence,
            resamples=self.resamples,
            seed=self.seed,
        )
        if getattr(self._right, "row_kind", None) != "right":
            raise ConfigError(f"metric {self.name}: metric must be one whose rows are right or wrong")

    @property
    def repeats(self) -> int:
        """How many answers to each row it needs."""
        return max(self._wanted)

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        """``{name}_{k}`` for each k. An answer that was not read is wrong; null if none was read.

        One answer of k = 1 is right as often as the metric itself says, with its interval.
        """
        self._right.pairs(frame)  # every row must have a gold value
        alone = measure_each(self._right, frame)[self._right.name] if frame.height else Score(None)
        if alone.value is None and frame.height:
            return {f"{self.name}_{k}": alone for k in self._wanted}
        right = pl.Series(self._right.score_rows(frame)).fill_null(0.0) == 1
        counts = (
            frame.select("id", right=right)
            .group_by("id", maintain_order=True)
            .agg(right=pl.col("right").sum(), asked=pl.len())
        )
        return {f"{self.name}_{k}": alone if k == 1 else self._score(counts, k) for k in self._wanted}

    def _score(self, counts: pl.DataFrame, k: int) -> Score:
        sample = tally(counts.select("right", "asked"))
        values = [self.estimate(right, asked, k) for right, asked in sample.cells.iter_rows()]
        if not values or any(asked < k for asked in counts["asked"]):
            return Score(None, n=counts.height, reason=f"a row has fewer than {k} answers")
        return score_mean(sample, np.array(values), self.confidence, self.resamples, self.seed, share=True)

    @staticmethod
    def estimate(right: int, asked: int, k: int) -> float:
        """The value of a row of which ``right`` of ``asked`` answers are right."""
        raise NotImplementedError


class PassAtK(_OfK):
    """pass@k: the chance that at least one of k answers is right, averaged over rows.

    The unbiased estimator of Chen et al. 2021, "Evaluating Large Language Models Trained on Code":
    1 - C(n - c, k) / C(n, k) for c right answers of n.
    """

    default_name = "pass_at"

    @staticmethod
    def estimate(right: int, asked: int, k: int) -> float:
        """1 - C(n - c, k) / C(n, k)."""
        return 1 - comb(asked - right, k) / comb(asked, k) if asked >= k else 0.0


class PassHatK(_OfK):
    """pass^k: the chance that all of k answers are right, averaged over rows.

    The unbiased estimator of Yao et al. 2024, "τ-bench": C(c, k) / C(n, k) for c right answers of n.
    """

    default_name = "pass_hat"

    @staticmethod
    def estimate(right: int, asked: int, k: int) -> float:
        """C(c, k) / C(n, k)."""
        return comb(right, k) / comb(asked, k) if asked >= k else 0.0


@dataclass(kw_only=True)
class Consistency:
    """How often the repeats of a row say the same.

    ``name`` is the share of rows whose answers are all the same and all read: an answer that was not read
    agrees with none. ``name_parsed`` is over the rows with two or more answers that were read, and compares
    these. ``name_alpha`` is Krippendorff's alpha between the repeats
    (:class:`runner.metrics.KrippendorffAlpha`), in which an answer that was not read is a missing value; its
    ``n``, too, counts the rows with two or more answers that were read. All are null if no answer was read.

    prediction   the column that is compared, such as ``verdict``
    level        of alpha: ``nominal``, ``ordinal`` or ``interval``
    labels       of alpha: the order of text values
    """

    prediction: str = "prediction"
    level: Any = "nominal"
    labels: Sequence[Any] | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = "consistency"

    reads_repeats: ClassVar[bool] = True
    direction: ClassVar[Direction] = "none"
    ends: ClassVar[Ends] = (None, 1.0)

    def __post_init__(self) -> None:
        self._alpha = KrippendorffAlpha(
            annotators=" values",
            level=self.level,
            labels=self.labels,
            confidence=self.confidence,
            resamples=self.resamples,
            seed=self.seed,
            name=f"{self.name}_alpha",
        )
        self._alpha.too_few = TOO_FEW  # type: ignore[misc]

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        values = get_column(frame, self.prediction, self.name).alias(" value")
        order = [REPEAT] if REPEAT in frame.columns else []
        lists = (
            frame.select("id", *order, values)
            .group_by("id", maintain_order=True)
            .agg(pl.col(" value").alias(" values"))
        )
        return self.compare(lists)

    def compare(self, lists: pl.DataFrame) -> dict[str, Score]:
        """The scores of rows whose answers are the lists in the column `` values``."""
        read = lists[" values"].list.drop_nulls()
        same, several = read.list.n_unique() == 1, read.list.len() >= 2
        if not read.list.len().sum():
            unread = Score(None, n=lists.height, reason=UNREAD)
            none = Score(None, reason=UNREAD)
            return {self.name: unread, f"{self.name}_parsed": none, f"{self.name}_alpha": none}
        unanimous = same & (read.list.len() == lists[" values"].list.len())
        return {
            self.name: self._share(unanimous),
            f"{self.name}_parsed": self._share(same.filter(several)),
        } | self._alpha(lists)

    def _share(self, found: pl.Series) -> Score:
        if found.is_empty():
            return Score(None, reason=TOO_FEW)
        sample = tally(pl.DataFrame({"same": found}))
        each = sample.cells["same"].cast(pl.Float64).to_numpy()
        return score_mean(sample, each, self.confidence, self.resamples, self.seed, share=True)
