"""Which of two outputs is better, judged in both orders.

Order ``ab`` shows the pair as given, ``ba`` shows it swapped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from runner.core.errors import ConfigError, DataError, suggest
from runner.metrics.base import Measure, Metric, RowKind, get_column, name_rows
from runner.metrics.bootstrap import Floats
from runner.metrics.pairwise_measures import (
    ODD_MEASURES,
    ORDERS,
    PAIR_MEASURES,
    TIE,
    apply_rules,
    average_cells,
    average_orders,
    swap_for_order,
)

log = logging.getLogger(__name__)

RULES = ("keep", "first", "second", "wrong")


@dataclass(kw_only=True)
class Pairwise(Metric):
    """Verdicts on pairs: two rows per pair, one in each order.

    pair                 column of the id that the two rows of a pair share
    order                column of the order, ``ab`` or ``ba``
    prediction, target   columns of the better position, one of ``positions`` as shown in that row; any
                         other value is a tie
    tie                  what a predicted tie means: ``keep`` (right if the target is a tie too), the output
                         shown ``first`` or ``second`` wins, or ``wrong``
    unparsed             what a missing prediction means: ``wrong``, ``first``, ``second``, or ``tie``

    Scores: ``name`` (accuracy, mean of both orders), ``_ab`` and ``_ba`` (accuracy per order), ``_both``
    (right in both), ``_agreement`` (the same output wins in both), ``_agreement_kappa`` (Cohen's kappa
    between the orders), ``_kappa_ab`` and ``_kappa_ba`` (Cohen's kappa with the target). The parsed reading
    takes pairs with a prediction in both orders; n counts pairs. A pair with only one order is left out with
    a warning.

    ``odd_kappa`` adds ``_odd_kappa_ab``, ``_odd_kappa_ba`` and ``_odd_kappa``, which serve only to compare
    with the files of LLMBar: see :func:`runner.metrics.pairwise_measures.encode_odd_kappa`.
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
            raise ConfigError(f"metric {self.name}: pairs cannot be averaged per {self.per}; set group")
        for key, value, known in (("tie", self.tie, RULES), ("unparsed", self.unparsed, (*RULES[1:], "tie"))):
            if value not in known:
                raise ConfigError(f"metric {self.name}: {key} {value!r}{suggest(str(value), known)}")
        if len(self.positions) != 2:
            raise ConfigError(f"metric {self.name}: expected two positions, got {list(self.positions)}")

    @property
    def row_kind(self) -> RowKind | None:
        return "right"

    def score_rows(self, frame: pl.DataFrame) -> pl.Series:
        """1 if a row's verdict is right in its own order, 0 if not; null without a verdict or a target."""
        said, gold = (get_column(frame, name, self.name) for name in (self.prediction, self.target))
        right = self._find_winners(said, self.tie) == self._find_winners(gold, "keep")
        known = said.is_not_null() & gold.is_not_null()
        return pl.select(pl.when(known).then(right.fill_null(False).cast(pl.Float64))).to_series()

    def _find_winners(self, values: pl.Series, tie: str) -> pl.Series:
        """The winning position in each row by a rule for ties; null if no position wins."""
        known = values.drop_nulls().unique().to_list()
        places = [apply_rules(self._find_place(value), tie, self.unparsed) for value in known]
        found = dict(zip(known, places, strict=True))
        return pl.Series([found.get(value) for value in values.to_list()], dtype=pl.Int64)

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        """One row per pair: ``gold``, ``ab`` and ``ba`` (winners), ``parsed`` and, if set, ``group``."""
        named = {"pair": self.pair, "order": self.order, "said": self.prediction, "gold": self.target}
        rows = pl.DataFrame({new: get_column(frame, old, self.name) for new, old in named.items()})
        self.check_targets(frame, frame[self.target])
        if self.group:
            rows = rows.with_columns(group=get_column(frame, self.group, self.name))
        ab, ba = (self._read_order(frame, rows, order) for order in ORDERS)
        both = ab.join(ba, on="pair", suffix="_ba", maintain_order="left")
        self._warn_incomplete(max(ab.height, ba.height) - both.height)
        self._check_gold(both)
        return both.select(
            "gold",
            pl.col("won").alias("ab"),
            pl.col("won_ba").alias("ba"),
            pl.col("parsed") & pl.col("parsed_ba"),
            *(["group"] if self.group else []),
        )

    def _read_order(self, frame: pl.DataFrame, rows: pl.DataFrame, order: str) -> pl.DataFrame:
        unknown = (~rows["order"].cast(pl.String).is_in(ORDERS)).arg_true().to_list()
        if unknown:
            raise DataError(
                f"metric {self.name}: column {self.order!r} must be ab or ba; it is not in rows "
                f"{name_rows(frame, unknown)}"
            )
        some = rows.filter(pl.col("order").cast(pl.String) == order)
        if twice := some["pair"].is_duplicated().arg_true().to_list():
            raise DataError(
                f"metric {self.name}: pair {some['pair'][twice[0]]!r} occurs twice in order {order}"
            )
        said = [self._find_winner(self._find_place(value), order) for value in some["said"].to_list()]
        gold = [swap_for_order(self._find_place(value), order) for value in some["gold"].to_list()]
        return some.with_columns(
            parsed=pl.col("said").is_not_null(),
            won=pl.Series(said, dtype=pl.Int64),
            gold=pl.Series(gold, dtype=pl.Int64),
        )

    def _find_place(self, value: Any) -> int | None:
        if value is None:
            return None
        return list(self.positions).index(value) if value in self.positions else TIE

    def _find_winner(self, place: int | None, order: str) -> int | None:
        return swap_for_order(apply_rules(place, self.tie, self.unparsed), order)

    def _warn_incomplete(self, incomplete: int) -> None:
        if incomplete:
            log.warning(
                "metric %s: %d pairs are left out because one of their rows is missing", self.name, incomplete
            )

    def _check_gold(self, both: pl.DataFrame) -> None:
        differ = both.filter(pl.col("gold") != pl.col("gold_ba"))["pair"].to_list()
        if differ:
            raise DataError(
                f"metric {self.name}: the targets of the two orders of pair {differ[0]!r} name different "
                f"outputs ({len(differ)} pairs); a target must be a position as shown in its own row"
            )

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return pairs.select("gold", "ab", "ba", "parsed")

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        return average_cells(average_orders(cells), counts)

    def measures(self) -> dict[str, Measure]:
        return PAIR_MEASURES | (ODD_MEASURES if self.odd_kappa else {})


@dataclass(kw_only=True)
class PairwiseRating(Pairwise):
    """The same scores from ratings of single outputs: two rows per pair, one for each output.

    output         column that says which output a row rates, one of ``outputs`` (the first and the second)
    prediction     column of ratings; the higher one wins
    target         column with the better output, one of ``outputs``, the same in both rows; any other value
                   is a tie
    tie, unparsed  as in :class:`Pairwise`; a pair is unparsed if one of its ratings is. The rules name
                   positions, so with ``second`` a tie is won by a different output in each order.
    """

    output: str = "output"
    outputs: Sequence[Any] = field(default_factory=lambda: [1, 2])
    default_name: ClassVar[str] = "pairwise"

    @property
    def row_kind(self) -> RowKind | None:
        """None: a row rates one output, and it takes both rows of a pair to say which output is better."""
        return None

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        named = {"pair": self.pair, "output": self.output, "rating": self.prediction, "gold": self.target}
        rows = pl.DataFrame({new: get_column(frame, old, self.name) for new, old in named.items()})
        self.check_targets(frame, frame[self.target])
        if self.group:
            rows = rows.with_columns(group=get_column(frame, self.group, self.name))
        if not rows["rating"].dtype.is_numeric() and rows["rating"].dtype != pl.Null:
            raise DataError(f"metric {self.name}: ratings in {self.prediction!r} are {rows['rating'].dtype}")
        one, other = (self._read_output(rows, output) for output in self.outputs)
        both = one.join(other, on="pair", suffix="_2", maintain_order="left")
        self._warn_incomplete(max(one.height, other.height) - both.height)
        places = [_compare_ratings(*pair) for pair in both.select("rating", "rating_2").rows()]
        outputs = list(self.outputs)
        return both.select(
            pl.Series(
                "gold",
                [outputs.index(g) if g in outputs else TIE for g in both["gold"].to_list()],
                dtype=pl.Int64,
            ),
            pl.Series("ab", [self._find_winner(place, "ab") for place in places], dtype=pl.Int64),
            pl.Series(
                "ba",
                [self._find_winner(swap_for_order(place, "ba"), "ba") for place in places],
                dtype=pl.Int64,
            ),
            pl.Series("parsed", [place is not None for place in places], dtype=pl.Boolean),
            *(["group"] if self.group else []),
        )

    def _read_output(self, rows: pl.DataFrame, output: Any) -> pl.DataFrame:
        some = rows.filter(pl.col("output") == output)
        if some.is_empty():
            found = rows["output"].unique().to_list()
            raise DataError(
                f"metric {self.name}: column {self.output!r} is never {output!r}, only {found[:5]}"
            )
        if some["pair"].is_duplicated().any():
            raise DataError(f"metric {self.name}: a pair has two rows of output {output!r}")
        return some


def _compare_ratings(one: float | None, other: float | None) -> int | None:
    if one is None or other is None:
        return None
    return TIE if one == other else int(other > one)
