"""Winners of judged pairs, and what is measured of them.

A winner is a number: 0 for the pair's first output, 1 for its second, 2 for a tie, null for none; so winners
of both orders compare. Cells are ``gold``, ``ab`` and ``ba``, the winners by the target and in each order.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.metrics.agreement import kappas
from runner.metrics.base import Measure, defined
from runner.metrics.bootstrap import Floats

ORDERS = ("ab", "ba")
TIE = 2


def ruled(place: int | None, tie: str, unparsed: str) -> int | None:
    """The winning position once the rules for missing verdicts and ties have spoken."""
    if place is None:
        place = {"wrong": None, "first": 0, "second": 1, "tie": TIE}[unparsed]
    if place == TIE:
        place = {"keep": TIE, "first": 0, "second": 1, "wrong": None}[tie]
    return place


def swapped(place: int | None, order: str) -> int | None:
    """The output at a position of an order."""
    return place if order == "ab" or place in (None, TIE) else 1 - place


def _right(cells: pl.DataFrame, order: str) -> Floats:
    return (cells[order] == cells["gold"]).fill_null(False).to_numpy().astype(float)


def average(cells: pl.DataFrame) -> Floats:
    return (_right(cells, "ab") + _right(cells, "ba")) / 2


def _both(cells: pl.DataFrame) -> Floats:
    return _right(cells, "ab") * _right(cells, "ba")


def _alike(cells: pl.DataFrame) -> Floats:
    return (cells["ab"] == cells["ba"]).fill_null(False).to_numpy().astype(float)


def share(right: Floats, counts: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(counts @ right / counts.sum(axis=-1))


def _share_measure(right: Any, proportion: bool = True) -> Measure:
    def values(cells: pl.DataFrame, counts: Floats) -> Floats:
        return share(right(cells), counts)

    return Measure(lambda cells, counts: float(values(cells, counts)), values, proportion)


def _kappa_measure(coded: Any) -> Measure:
    """Cohen's kappa of two codings of the cells."""

    def value(cells: pl.DataFrame, counts: Floats) -> float | None:
        from sklearn.metrics import cohen_kappa_score

        one, other = coded(cells)
        if len(np.union1d(one, other)) < 2:
            return None
        return defined(float(cohen_kappa_score(one, other, sample_weight=counts)))

    def values(cells: pl.DataFrame, counts: Floats) -> Floats:
        one, other = coded(cells)
        return kappas(one, other, counts, 5, None)

    return Measure(value, values)


Coded = tuple[NDArray[np.int64], NDArray[np.int64]]


def _codes(cells: pl.DataFrame, one: str, other: str) -> Coded:
    """Winners as codes; a missing one agrees with nothing, not even with another missing one."""
    return cells[one].fill_null(3).to_numpy(), cells[other].fill_null(4).to_numpy()


def odd_kappa_codes(cells: pl.DataFrame, order: str) -> Coded:
    """The codings behind ``kappa_False`` and ``kappa_True`` in LLMBar's published statistics files.

    They are named like an agreement of judge and label but are none. Labels are coded 1 (first output) and 2
    (second output), winners 1 (first output) and 0 (second output, or none), and Cohen's kappa is taken of
    the two codings: a right verdict for the second output counts as disagreement. A flawless judge gets 0.33
    on balanced labels. ``_kappa_ab`` and ``_kappa_ba`` are the agreement that was probably meant.
    """
    return (cells[order] == 0).fill_null(False).to_numpy().astype(np.int64), cells["gold"].to_numpy() + 1


PAIR_MEASURES = {
    "": _share_measure(average, proportion=False),
    "_ab": _share_measure(partial(_right, order="ab")),
    "_ba": _share_measure(partial(_right, order="ba")),
    "_both": _share_measure(_both),
    "_agreement": _share_measure(_alike),
    "_agreement_kappa": _kappa_measure(partial(_codes, one="ab", other="ba")),
    "_kappa_ab": _kappa_measure(partial(_codes, one="gold", other="ab")),
    "_kappa_ba": _kappa_measure(partial(_codes, one="gold", other="ba")),
}


def _mean_of(one: Measure, other: Measure) -> Measure:
    def value(cells: pl.DataFrame, counts: Floats) -> float | None:
        both = one.value(cells, counts), other.value(cells, counts)
        return None if both[0] is None or both[1] is None else (both[0] + both[1]) / 2

    return Measure(value, lambda cells, counts: (one.values(cells, counts) + other.values(cells, counts)) / 2)


_ODD = {order: _kappa_measure(partial(odd_kappa_codes, order=order)) for order in ORDERS}
ODD_MEASURES = {
    "_odd_kappa_ab": _ODD["ab"],
    "_odd_kappa_ba": _ODD["ba"],
    "_odd_kappa": _mean_of(_ODD["ab"], _ODD["ba"]),
}
