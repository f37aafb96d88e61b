"""Scores of rows that are asked several times: per repeat and averaged, or of one answer made of several.

Such a frame has a line for each answer, with the row's ``id`` and the number of the ``repeat`` from 0.
"""

from runner.metrics.repeated.each import check_repeats, measure_each, over_repeats, split_repeats
from runner.metrics.repeated.measures import Consistency, PassAtK, PassHatK
from runner.metrics.repeated.reduce import EACH, reduce_rows
from runner.metrics.repeated.spread import find_spreads

__all__ = [
    "EACH",
    "Consistency",
    "PassAtK",
    "PassHatK",
    "check_repeats",
    "find_spreads",
    "measure_each",
    "over_repeats",
    "reduce_rows",
    "split_repeats",
]
