"""Which of two outputs is better, judged in both orders.

Order ``ab`` presents the pair as given, ``ba`` swapped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from runner.core.errors import ConfigError, DataError, suggest
from runner.metrics.base import Measure, Metric, RowKind, column, row_names
from runner.metrics.bootstrap import Floats
from runner.metrics.pairwise_measures import (
    ODD_MEASURES,
    ORDERS,
    PAIR_MEASURES,
    TIE,
    average,
    ruled,
    share,
    swapped,
)

log = logging.getLogger(__name__)

RULES = ("keep", "first", "second", "wrong")


@dataclass(kw_only=True)
class Pairwise(Metric):
    """Verdicts on pairs: two rows per pair, one in each order.

    pair, order        columns: what the two rows share; ``ab`` or ``ba``
    prediction, target columns: the better position, one of ``positions`` as presented in that row; any
                       other value is a tie
    tie                what a predicted tie means: ``keep`` (right if the target is a tie too), the output
                       presented ``first`` or ``second``, or ``wrong``
    unparsed           the same for a missing prediction: ``wrong``, ``first``, ``second``, or ``tie``

    Scores: ``name`` (accuracy, mean of both orders), ``_ab`` and ``_ba`` (accuracy per order), ``_both``
    (right in both), ``_agreement`` (the same output wins in both), ``_agreement_kappa`` (Cohen's kappa
    between the orders), ``_kappa_ab`` and ``_kappa_ba`` (Cohen's kappa with the target). Parsed readings
    are over pairs with a prediction in both orders; n counts pairs. A pair that lacks an order is left out
    with a warning.

    ``odd_kappa`` adds ``_odd_kappa_ab``, ``_odd_kappa_ba`` and ``_odd_kappa``, which only serve to compare
    with LLMBar's files: see :func:`runner.metrics.pairwise_measures.odd_kappa_codes`.
    """

    pair: str = "pair"
    order: str = "order"
    positions: Sequence[Any] = field(default_factory=lambda: ["a", "b"])
    tie: Literal["keep", "first", "second", "wrong"] = "keep"
    unparsed: Literal["wrong", "first", "second", "tie"] = "wrong"
    odd_kappa: bool = False
    default_name: ClassVar[str] = "pairwise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per:
            raise ConfigError(f"metric {self.name}: per is not for pairs")
        for key, value, known in (("tie", self.tie, RULES), ("unparsed", self.unparsed, (*RULES[1:], "tie"))):
            if value not in known:
                raise ConfigError(f"metric {self.name}: {key} {value!r}{suggest(str(value), known)}")
        if len(self.positions) != 2:
            raise ConfigError(f"metric {self.name}: positions {list(self.positions)} are not two")

    @property
    def row_kind(self) -> RowKind | None:
        return "right"

    def score_rows(self, frame: pl.DataFrame) -> pl.Series:
        """Whether the verdict of each row is right in its own order; null without verdict or target."""
        said, gold = (column(frame, name, self.name) for name in (self.prediction, self.target))
        right = self._places(said, self.tie) == self._places(gold, "keep")
        known = said.is_not_null() & gold.is_not_null()
        return pl.select(pl.when(known).then(right.fill_null(False).cast(pl.Float64))).to_series()

    def _places(self, values: pl.Series, tie: str) -> pl.Series:
        """The winning position in each row by a rule for ties; null where nobody wins."""
        known = values.drop_nulls().unique().to_list()
        places = [ruled(self._place(value), tie, self.unparsed) for value in known]
        found = dict(zip(known, places, strict=True))
        return pl.Series([found.get(value) for value in values.to_list()], dtype=pl.Int64)

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        """One row per pair: ``gold``, ``ab``, ``ba`` (winners), ``parsed`` and, if wanted, ``group``."""
        named = {"pair": self.pair, "order": self.order, "said": self.prediction, "gold": self.target}
        rows = pl.DataFrame({new: column(frame, old, self.name) for new, old in named.items()})
        self.check_filled(frame, frame[self.target])
        if self.group:
            rows = rows.with_columns(group=column(frame, self.group, self.name))
        ab, ba = (self._in_order(frame, rows, order) for order in ORDERS)
        both = ab.join(ba, on="pair", suffix="_ba", maintain_order="left")
        self._warn(max(ab.height, ba.height) - both.height)
        self._check_gold(both)
        return both.select(
            "gold",
            pl.col("won").alias("ab"),
            pl.col("won_ba").alias("ba"),
            pl.col("parsed") & pl.col("parsed_ba"),
            *(["group"] if self.group else []),
        )

    def _in_order(self, frame: pl.DataFrame, rows: pl.DataFrame, order: str) -> pl.DataFrame:
        unknown = (~rows["order"].cast(pl.String).is_in(ORDERS)).arg_true().to_list()
        if unknown:
            raise DataError(
                f"metric {self.name}: column {self.order!r} is neither ab nor ba in rows "
                f"{row_names(frame, unknown)}"
            )
        some = rows.filter(pl.col("order").cast(pl.String) == order)
        if twice := some["pair"].is_duplicated().arg_true().to_list():
            raise DataError(
                f"metric {self.name}: pair {some['pair'][twice[0]]!r} is there twice in order {order}"
            )
        said = [self._winner(self._place(value), order) for value in some["said"].to_list()]
        gold = [swapped(self._place(value), order) for value in some["gold"].to_list()]
        return some.with_columns(
            parsed=pl.col("said").is_not_null(),
            won=pl.Series(said, dtype=pl.Int64),
            gold=pl.Series(gold, dtype=pl.Int64),
        )

    def _place(self, value: Any) -> int | None:
        if value is None:
            return None
        return list(self.positions).index(value) if value in self.positions else TIE

    def _winner(self, place: int | None, order: str) -> int | None:
        return swapped(ruled(place, self.tie, self.unparsed), order)

    def _warn(self, incomplete: int) -> None:
        if incomplete:
            log.warning("metric %s: %d pairs are left out, only one order is there", self.name, incomplete)

    def _check_gold(self, both: pl.DataFrame) -> None:
        torn = both.filter(pl.col("gold") != pl.col("gold_ba"))["pair"].to_list()
        if torn:
            raise DataError(
                f"metric {self.name}: the targets of the two orders of pair {torn[0]!r} name different "
                f"outputs ({len(torn)} pairs); a target is a position as presented in its own row"
            )

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return pairs.select("gold", "ab", "ba", "parsed")

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        return share(average(cells), counts)

    def measures(self) -> dict[str, Measure]:
        return PAIR_MEASURES | (ODD_MEASURES if self.odd_kappa else {})


@dataclass(kw_only=True)
class PairwiseRating(Pairwise):
    """The same scores from ratings of single outputs: two rows per pair, one for each output.

    output         column that says which output a row rates, one of ``outputs`` (the first and the second)
    prediction     column of ratings; the higher one wins
    target         column with the better output, one of ``outputs``, the same in both rows; else a tie
    tie, unparsed  as in :class:`Pairwise`; a pair is unparsed if either rating is. The rules name
                   positions, so a tie under ``second`` is won by a different output in each order.
    """

    output: str = "output"
    outputs: Sequence[Any] = field(default_factory=lambda: [1, 2])
    default_name: ClassVar[str] = "pairwise"

    @property
    def row_kind(self) -> RowKind | None:
        """None: a row rates one output, and only both rows of a pair say which one is better."""
        return None

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        named = {"pair": self.pair, "output": self.output, "rating": self.prediction, "gold": self.target}
        rows = pl.DataFrame({new: column(frame, old, self.name) for new, old in named.items()})
        self.check_filled(frame, frame[self.target])
        if self.group:
            rows = rows.with_columns(group=column(frame, self.group, self.name))
        if not rows["rating"].dtype.is_numeric() and rows["rating"].dtype != pl.Null:
            raise DataError(f"metric {self.name}: ratings in {self.prediction!r} are {rows['rating'].dtype}")
        one, other = (self._of_output(rows, output) for output in self.outputs)
        both = one.join(other, on="pair", suffix="_2", maintain_order="left")
        self._warn(max(one.height, other.height) - both.height)
        places = [_higher(*pair) for pair in both.select("rating", "rating_2").rows()]
        outputs = list(self.outputs)
        return both.select(
            pl.Series(
                "gold",
                [outputs.index(g) if g in outputs else TIE for g in both["gold"].to_list()],
                dtype=pl.Int64,
            ),
            pl.Series("ab", [self._winner(place, "ab") for place in places], dtype=pl.Int64),
            pl.Series("ba", [self._winner(swapped(place, "ba"), "ba") for place in places], dtype=pl.Int64),
            pl.Series("parsed", [place is not None for place in places], dtype=pl.Boolean),
            *(["group"] if self.group else []),
        )

    def _of_output(self, rows: pl.DataFrame, output: Any) -> pl.DataFrame:
        some = rows.filter(pl.col("output") == output)
        if some.is_empty():
            found = rows["output"].unique().to_list()
            raise DataError(
                f"metric {self.name}: column {self.output!r} never is {output!r}, only {found[:5]}"
            )
        if some["pair"].is_duplicated().any():
            raise DataError(f"metric {self.name}: a pair has two rows of output {output!r}")
        return some


def _higher(one: float | None, other: float | None) -> int | None:
    if one is None or other is None:
        return None
    return TIE if one == other else int(other > one)
