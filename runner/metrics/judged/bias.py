"""What sways a judge beside quality: the place of an output, its length, and who wrote it.

Each figure is over the rows with the verdicts that it needs, has no direction, and says nothing about its
cause: a judge may prefer longer outputs because they are better. Zheng et al. 2023, "Judging LLM-as-a-Judge
with MT-Bench and Chatbot Arena", section 3.3, describe the three (there: position, verbosity and
self-enhancement bias).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import Direction, Score, write_column, write_value
from runner.metrics.base import get_column
from runner.metrics.bootstrap import score_mean, tally
from runner.metrics.correlation import Spearman

UNREAD = "no verdict was read"


@dataclass(kw_only=True)
class _Figure:
    """A figure of a judge with its interval, for which rows are drawn."""

    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = ""

    default_name: ClassVar[str] = ""
    direction: ClassVar[Direction] = "none"
    rehearsable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.name = self.name or self.default_name

    def average(self, values: pl.Series, reason: str, share: bool = True) -> Score:
        """The mean of the values that are not null; ``share`` says that 0 and 1 are its bounds."""
        sample = tally(pl.DataFrame({"value": values.drop_nulls().cast(pl.Float64)}))
        if not sample.counts.size:
            return Score(None, reason=reason)
        each = sample.cells["value"].to_numpy()
        return score_mean(sample, each, self.confidence, self.resamples, self.seed, share)


@dataclass(kw_only=True)
class PositionBias(_Figure):
    """How often a judge names another output when the two are swapped; needs ``judge.both_orders``.

    ``name`` is the share of rows whose two verdicts differ: 1 less the consistency of Zheng et al. 2023
    (table 2). ``name_first`` is, of the rows in which the place alone decided, the share in which the output
    shown first won both times; 0.5 is no preference. Rows in which a verdict is missing do not count. Of a
    judge who is asked several times each row has the mean of its repeats.

    sides    the two columns, as in ``judge.both_orders``
    orders   the column with the winners in both orders: the first shown first, then swapped
    """

    sides: Sequence[str] = field(default_factory=lambda: ["completion", "target"])
    orders: str = "judge_orders"
    default_name: ClassVar[str] = "position_bias"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        first, second = self.sides
        places = {(first, second): 1.0, (second, first): 0.0}
        differ: list[float | None] = []
        won: list[float | None] = []
        for winners in get_column(frame, self.orders, self.name).to_list():
            pairs = list(zip((winners or ())[::2], (winners or ())[1::2], strict=True))
            pairs = [pair for pair in pairs if None not in pair]
            differ.append(float(np.mean([one != other for one, other in pairs])) if pairs else None)
            decided = [places[pair] for pair in pairs if pair in places]
            won.append(float(np.mean(decided)) if decided else None)
        return {
            self.name: self.average(pl.Series(differ, dtype=pl.Float64), UNREAD),
            f"{self.name}_first": self.average(
                pl.Series(won, dtype=pl.Float64), "the place alone decided in no row"
            ),
        }


@dataclass(kw_only=True)
class _Verdicts(_Figure):
    """A figure of verdicts as numbers.

    prediction   the column of verdicts
    sides        of a judge in both orders its two columns: 1 where the first is better, -1 where the second
                 is, 0 for a tie
    value        of verdicts that are text: 1 for this one, 0 for others
    """

    prediction: str = "verdict"
    sides: Sequence[str] | None = None
    value: Any = None

    def read(self, verdicts: pl.Series) -> pl.Series:
        """The verdicts as numbers; raises :class:`ConfigError` if these are not known."""
        if self.value is not None:
            return (write_column(verdicts) == write_value(self.value)).cast(pl.Float64)
        if self.sides:
            first, second = self.sides
            numbers = {first: 1.0, second: -1.0, "tie": 0.0}
            return verdicts.cast(pl.String).replace_strict(numbers, default=None, return_dtype=pl.Float64)
        if not (verdicts.dtype.is_numeric() or verdicts.dtype == pl.Null):
            raise ConfigError(
                f"metric {self.name}: the verdicts in {verdicts.name!r} are {verdicts.dtype}, not numbers;"
                f" metric.{self.name}.value says which of them counts"
            )
        return verdicts.cast(pl.Float64)


@dataclass(kw_only=True)
class LengthBias(_Verdicts):
    """The rank correlation (Spearman's rho) of verdict and length in characters.

    With ``sides`` it is that of the verdict and the length of the first column less that of the second. It is
    above 0 where longer outputs get better verdicts. Undefined (None) if all verdicts or lengths are equal.

    text   the column whose length counts, without ``sides``
    """

    text: str = "completion"
    default_name: ClassVar[str] = "length_bias"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        columns = self.sides or [self.text]
        lengths = [_count_letters(get_column(frame, name, self.name)) for name in columns]
        rows = pl.DataFrame(
            {
                "prediction": self.read(get_column(frame, self.prediction, self.name)),
                "target": lengths[0] - lengths[1] if self.sides else lengths[0],
            }
        ).drop_nulls()
        if rows.is_empty():
            return {self.name: Score(None, reason=UNREAD)}
        correlation = Spearman(
            name=self.name, confidence=self.confidence, resamples=self.resamples, seed=self.seed
        )
        score = correlation(rows)[self.name]
        reason = score.reason.replace("prediction", "verdict").replace("target", "length")
        return {self.name: Score(score.value, score.low, score.high, score.n, reason)}


@dataclass(kw_only=True)
class SelfPreference(_Verdicts):
    """How much better the verdicts of the judged model itself are than those of others on the same rows.

    The mean difference: of ratings in points, of ``value`` and of two ``sides`` in shares (with ``sides``
    that of the rows in which the first one, the model's own, is better). Others are the other judges of the
    panel (``others``), or, if there are none, people (``label``); without either it is undefined (None).

    prediction   the column of the verdicts of the model itself
    others       columns of other judges; of several their mean counts
    label        a column with the verdicts of people, in the judge's words; null where nobody judged
    """

    others: Sequence[str] = field(default_factory=list)
    label: str = "label"
    default_name: ClassVar[str] = "self_preference"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        people = [self.label] if self.label in frame.columns else []
        names = [*self.others] or people
        if not names:
            reason = (
                "the judge is the judged model; it takes another judge in judge.members,"
                f" or people's verdicts in a column {self.label!r}, to tell"
            )
            return {self.name: Score(None, reason=reason)}
        own = self._rate(get_column(frame, self.prediction, self.name))
        others = pl.DataFrame([self._rate(get_column(frame, name, self.name)).alias(name) for name in names])
        difference = own - others.select(pl.mean_horizontal(pl.all())).to_series()
        return {self.name: self.average(difference, "no row has the verdicts of both", share=False)}

    def _rate(self, verdicts: pl.Series) -> pl.Series:
        numbers = self.read(verdicts)
        return (numbers == 1).cast(pl.Float64) if self.sides and self.value is None else numbers


def _count_letters(texts: pl.Series) -> pl.Series:
    """The length of each text; of several acceptable answers that of the first, which a judge reads."""
    one = texts.list.first() if isinstance(texts.dtype, pl.List) else texts
    return one.cast(pl.String).str.len_chars().cast(pl.Int64)
