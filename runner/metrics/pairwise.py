"""Which of two outputs is better, judged in both orders.

Order ``ab`` shows the pair as given, ``ba`` shows it swapped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.metrics.base import Metric, RowKind, get_column, name_rows
from runner.metrics.bootstrap import Floats, Measure
from runner.metrics.pairwise_measures import (
    ODD_MEASURES,
    ORDERS,
    OUTPUTS,
    PAIR_MEASURES,
    TIE,
    apply_rules,
    average_cells,
    average_orders,
    find_winner,
    swap_for_order,
)
from runner.parse.sides import find_family, make_family, spell

log = logging.getLogger(__name__)

RULES = ("keep", "first", "second", "wrong")


@dataclass(kw_only=True)
class Pairwise(Metric):
    """Verdicts on pairs: two rows per pair, one in each order.

    pair                 column of the id that the two rows of a pair share
    order                column of the order, ``ab`` or ``ba``
    prediction, target   columns of the better position as shown in that row, or of a tie
    positions            the values for the first and the second position. By default they are found from the
                         target: a and b, 1 and 2, or first and second, in capitals or brackets too
    ties                 the values for a tie; by default ``tie``, ``draw``, ``equal``, and c beside a and b
    tie                  what a predicted tie means: ``keep`` (right if the target is a tie too), the output
                         shown ``first`` or ``second`` wins, or ``wrong``
    unparsed             what a missing prediction means: ``wrong``, ``tie``, the output shown ``first`` or
                         ``second`` wins, or in both orders the one that ``ab`` shows first or second
                         (``first_output``, ``second_output``)

    Scores: ``name`` (accuracy, mean of both orders), ``_ab`` and ``_ba`` (accuracy per order), ``_both``
    (right in both), ``_agreement`` (the same output wins in both), ``_agreement_kappa`` (Cohen's kappa
    between the orders), ``_kappa_ab`` and ``_kappa_ba`` (Cohen's kappa with the target). The parsed reading
    takes pairs with a prediction in both orders; n counts pairs. A pair with only one order is left out with
    a warning. A predicted value that is neither a position nor a tie is no prediction. Such a target is a
    :class:`DataError` that names its rows, and so is a target without any position.

    ``odd_kappa`` adds ``_odd_kappa_ab``, ``_odd_kappa_ba``, ``_odd_kappa`` and ``_odd_agreement_kappa``, only
    to compare with LLMBar's files: see :func:`runner.metrics.pairwise_measures.encode_odd_kappa`.
    """

    pair: str = "pair"
    order: str = "order"
    positions: Sequence[Any] | None = None
    ties: Sequence[Any] | None = None
    tie: Literal["keep", "first", "second", "wrong"] = "keep"
    unparsed: Literal["wrong", "first", "second", "first_output", "second_output", "tie"] = "wrong"
    odd_kappa: bool = False
    default_name: ClassVar[str] = "pairwise"
    undirected: ClassVar[Sequence[str]] = tuple(ODD_MEASURES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per:
            raise ConfigError(f"metric {self.name}: pairs cannot be averaged per {self.per}; set group")
        for key, value, known in (
            ("tie", self.tie, RULES),
            ("unparsed", self.unparsed, (*RULES[1:], *OUTPUTS, "tie")),
        ):
            if value not in known:
                raise ConfigError(f"metric {self.name}: {key} {value!r}{suggest(str(value), known)}")
        for which, chosen in self._list_positions().items():
            if isinstance(chosen, str) or len({spell(value) for value in chosen}) != 2 or len(chosen) != 2:
                raise ConfigError(f"metric {self.name}: expected two {which}, got {chosen}")

    def _list_positions(self) -> dict[str, Any]:
        """The options that name two outputs, by their name."""
        return {"positions": self.positions} if self.positions is not None else {}

    @property
    def row_kind(self) -> RowKind | None:
        return "right"

    def score_rows(self, frame: pl.DataFrame) -> pl.Series:
        """1 if a row's verdict is right in its own order, 0 if not; null without a verdict or a target."""
        said, gold = (get_column(frame, name, self.name) for name in (self.prediction, self.target))
        places = self._read_places(frame)
        wanted = _gather(gold, places)
        rules = [apply_rules(place, self.tie, "wrong") for place in _gather(said, places)]
        won = pl.Series(rules, dtype=pl.Int64)
        right = won == pl.Series(wanted, dtype=pl.Int64)
        known = pl.Series([place is not None for place in _gather(said, places)], dtype=pl.Boolean)
        known &= gold.is_not_null()
        return pl.select(pl.when(known).then(right.fill_null(False).cast(pl.Float64))).to_series()

    def _read_places(self, frame: pl.DataFrame) -> dict[str, int]:
        """The place of each value: 0 and 1 for the positions, 2 for a tie. Every target must have one."""
        target = get_column(frame, self.target, self.name)
        golds = target.drop_nulls().unique().sort().to_list()
        said = frame[self.prediction].drop_nulls().unique().to_list() if self._compares_labels else []
        places = self._place_values(golds, said)
        shown = ", ".join(map(str, golds[:5])) + (", …" if len(golds) > 5 else "")
        if golds and not any(places.get(str(gold)) in (0, 1) for gold in golds):
            raise DataError(
                f"metric {self.name}: no value of column {self.target!r} is a position ({shown}); "
                f"{self._explain_positions()}"
            )
        unknown = [row for row, gold in enumerate(target) if gold is not None and str(gold) not in places]
        if unknown:
            raise DataError(
                f"metric {self.name}: column {self.target!r} is neither a position nor a tie in rows "
                f"{name_rows(frame, unknown)}, such as {target[unknown[0]]!r}; {self._explain_positions()}"
            )
        return places

    def check_names(self, frame: pl.DataFrame, names: Sequence[str]) -> None:
        """Refuse a closed set of predictions in which a position or the meaning of a name is missing."""
        if not names or not self._compares_labels:
            return
        golds = get_column(frame, self.target, self.name).drop_nulls().unique().sort().to_list()
        places = self._place_values(golds, names)
        unknown = [name for name in names if name not in places]
        if not {0, 1} <= {places.get(name) for name in names} or (unknown and self.positions is None):
            raise ConfigError(
                f"metric {self.name}: prompt.parser gives {', '.join(names)}, so it is not known which label "
                f"names which position; {self._explain_positions()}"
            )

    _compares_labels: ClassVar[bool] = True
    """Whether predictions are positions."""

    def _explain_positions(self) -> str:
        ((option, given),) = (self._list_positions() or {"positions": ("a", "b")}).items()
        return f"{option} are {' and '.join(map(str, given))}: set {option}, and ties if there are any"

    def _place_values(self, golds: Sequence[Any], said: Sequence[Any]) -> dict[str, int]:
        family = find_family(golds) if self.positions is None else make_family(self.positions)
        if self.ties is not None:
            family = {name: place for name, place in family.items() if place != TIE}
            family |= {spell(value): TIE for value in self.ties}
        places = {str(value): family.get(spell(value)) for value in [*golds, *said]}
        return {value: place for value, place in places.items() if place is not None}

    def pairs(self, frame: pl.DataFrame) -> pl.DataFrame:
        """One row per pair: ``gold``, ``ab`` and ``ba`` (winners), ``parsed`` and, if set, ``group``."""
        named = {"pair": self.pair, "order": self.order, "said": self.prediction, "gold": self.target}
        rows = pl.DataFrame({new: get_column(frame, old, self.name) for new, old in named.items()})
        self.check_targets(frame, frame[self.target])
        if self.group:
            rows = rows.with_columns(group=get_column(frame, self.group, self.name))
        places = self._read_places(frame)
        rows = rows.with_columns(
            said=pl.Series(_gather(rows["said"], places), dtype=pl.Int64),
            gold=pl.Series(_gather(rows["gold"], places), dtype=pl.Int64),
        )
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
        said = [self._find_winner(place, order) for place in some["said"].to_list()]
        gold = [swap_for_order(place, order) for place in some["gold"].to_list()]
        return some.with_columns(
            parsed=pl.col("said").is_not_null(),
            won=pl.Series(said, dtype=pl.Int64),
            gold=pl.Series(gold, dtype=pl.Int64),
        )

    def _find_winner(self, place: int | None, order: str) -> int | None:
        return find_winner(place, order, self.tie, self.unparsed)

    def _warn_incomplete(self, incomplete: int) -> None:
        if incomplete:
            said = f"left out {count_of(incomplete, 'pair')}, of which one of the two rows is missing"
            log.warning("metric %s: %s", self.name, said)

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


def _gather(values: pl.Series, places: Mapping[str, int]) -> list[int | None]:
    """The place of each value; None for a null and for a value without a place."""
    return [None if value is None else places.get(str(value)) for value in values.to_list()]


@dataclass(kw_only=True)
class PairwiseRating(Pairwise):
    """The same scores from ratings of single outputs: two rows per pair, one for each output.

    output         column that says which output a row rates, one of ``outputs`` (the first and the second)
    prediction     column of ratings; the higher one wins
    target         column with the better output, one of ``outputs`` or of ``ties``, the same in both rows
    tie, unparsed  as in :class:`Pairwise`; a pair is unparsed if one of its ratings is. The rules name
                   positions, so with ``second`` a tie is won by a different output in each order.
    """

    output: str = "output"
    outputs: Sequence[Any] = field(default_factory=lambda: [1, 2])
    default_name: ClassVar[str] = "pairwise"
    _compares_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.positions = self.outputs
        super().__post_init__()

    def _list_positions(self) -> dict[str, Any]:
        return {"outputs": self.outputs}

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
        golds = self._read_places(frame)
        return both.select(
            pl.Series("gold", _gather(both["gold"], golds), dtype=pl.Int64),
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
