"""The winners of judged pairs, and what is measured of them.

A winner is a number: 0 for the pair's first output, 1 for its second, 2 for a tie, null for none. It does not
depend on the order in which the outputs were shown. Cells have the winners by the target (``gold``) and in
each order (``ab`` and ``ba``).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.metrics.agreement import compute_kappas
from runner.metrics.bootstrap import SHARE, Floats, Measure, nan_to_none

ORDERS = ("ab", "ba")
TIE = 2
OUTPUTS = ("first_output", "second_output")
"""Rules for a missing verdict that name an output, and not the position at which it is shown."""


def apply_rules(place: int | None, tie: str, unparsed: str) -> int | None:
    """The winning position by the rules for missing verdicts and ties; None if no position wins."""
    if place is None:
        place = {"wrong": None, "first": 0, "second": 1, "tie": TIE}[unparsed]
    if place == TIE:
        place = {"keep": TIE, "first": 0, "second": 1, "wrong": None}[tie]
    return place


def find_winner(place: int | None, order: str, tie: str, unparsed: str) -> int | None:
    """The output that wins by the rules of :func:`apply_rules`, or by one of :data:`OUTPUTS`."""
    if place is None and unparsed in OUTPUTS:
        return OUTPUTS.index(unparsed)
    return swap_for_order(apply_rules(place, tie, unparsed), order)


def swap_for_order(place: int | None, order: str) -> int | None:
    """The output that stands at a position in this order, and the other way round."""
    return place if order == "ab" or place in (None, TIE) else 1 - place


def _score_order(cells: pl.DataFrame, order: str) -> Floats:
    return (cells[order] == cells["gold"]).fill_null(False).to_numpy().astype(float)


def average_orders(cells: pl.DataFrame) -> Floats:
    """The share of the two orders in which each cell is right."""
    return (_score_order(cells, "ab") + _score_order(cells, "ba")) / 2


def _score_both_orders(cells: pl.DataFrame) -> Floats:
    return _score_order(cells, "ab") * _score_order(cells, "ba")


def _score_agreement(cells: pl.DataFrame) -> Floats:
    return (cells["ab"] == cells["ba"]).fill_null(False).to_numpy().astype(float)


def average_cells(right: Floats, counts: Floats) -> Floats:
    """The mean over rows of a value per cell."""
    with np.errstate(invalid="ignore"):
        return np.asarray(counts @ right / counts.sum(axis=-1))


def _make_mean_measure(right: Any, proportion: bool = True) -> Measure:
    def values(cells: pl.DataFrame, counts: Floats) -> Floats:
        return average_cells(right(cells), counts)

    return Measure(lambda cells, counts: float(values(cells, counts)), values, proportion, SHARE)


def _make_kappa_measure(coded: Any) -> Measure:
    """Cohen's kappa of the two arrays of codes that ``coded(cells)`` gives."""

    def value(cells: pl.DataFrame, counts: Floats) -> float | None:
        from sklearn.metrics import cohen_kappa_score

        one, other = coded(cells)
        if len(np.union1d(one, other)) < 2:
            return None
        return nan_to_none(float(cohen_kappa_score(one, other, sample_weight=counts)))

    def values(cells: pl.DataFrame, counts: Floats) -> Floats:
        one, other = coded(cells)
        return compute_kappas(one, other, counts, 5, None)

    return Measure(value, values, ends=(-1.0, 1.0))


CodePair = tuple[NDArray[np.int64], NDArray[np.int64]]


def _encode_winners(cells: pl.DataFrame, one: str, other: str) -> CodePair:
    """Winners as codes. A missing winner agrees with nothing, not even with another missing one."""
    return cells[one].fill_null(3).to_numpy(), cells[other].fill_null(4).to_numpy()


def encode_odd_kappa(cells: pl.DataFrame, order: str) -> CodePair:
    """The codes behind ``kappa_False`` and ``kappa_True`` in LLMBar's published statistics files.

    Their names suggest an agreement of judge and label, which they are not. Labels are coded 1 (first output)
    and 2 (second output), winners 1 (first output) and 0 (second output, or none). Cohen's kappa of these
    codes counts a right verdict for the second output as disagreement, so a flawless judge gets 0.33 on
    balanced labels. ``_kappa_ab`` and ``_kappa_ba`` are the agreement that was probably meant.
    """
    return _encode_first(cells, order), cells["gold"].to_numpy() + 1


def _encode_odd_agreement(cells: pl.DataFrame) -> CodePair:
    """The codes behind LLMBar's ``kappa_agreement``: in each order 1 for the first output, else 0."""
    return _encode_first(cells, "ab"), _encode_first(cells, "ba")


def _encode_first(cells: pl.DataFrame, order: str) -> NDArray[np.int64]:
    return (cells[order] == 0).fill_null(False).to_numpy().astype(np.int64)


PAIR_MEASURES = {
    "": _make_mean_measure(average_orders, proportion=False),
    "_ab": _make_mean_measure(partial(_score_order, order="ab")),
    "_ba": _make_mean_measure(partial(_score_order, order="ba")),
    "_both": _make_mean_measure(_score_both_orders),
    "_agreement": _make_mean_measure(_score_agreement),
    "_agreement_kappa": _make_kappa_measure(partial(_encode_winners, one="ab", other="ba")),
    "_kappa_ab": _make_kappa_measure(partial(_encode_winners, one="gold", other="ab")),
    "_kappa_ba": _make_kappa_measure(partial(_encode_winners, one="gold", other="ba")),
}


def _average_measures(one: Measure, other: Measure) -> Measure:
    def value(cells: pl.DataFrame, counts: Floats) -> float | None:
        both = one.value(cells, counts), other.value(cells, counts)
        return None if both[0] is None or both[1] is None else (both[0] + both[1]) / 2

    return Measure(value, lambda cells, counts: (one.values(cells, counts) + other.values(cells, counts)) / 2)


_ODD = {order: _make_kappa_measure(partial(encode_odd_kappa, order=order)) for order in ORDERS}
ODD_MEASURES = {
    "_odd_kappa_ab": _ODD["ab"],
    "_odd_kappa_ba": _ODD["ba"],
    "_odd_kappa": _average_measures(_ODD["ab"], _ODD["ba"]),
    "_odd_agreement_kappa": _make_kappa_measure(_encode_odd_agreement),
}
