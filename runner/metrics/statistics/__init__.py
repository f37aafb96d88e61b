"""Is one run better than another? Paired tests on the same rows, corrections for many, detectable effects.

Runs are compared row by row (by ``id``), so that easy and hard rows do not blur the difference. Runs on
different rows are refused: their difference would say as much about the rows as about the runs.
"""

from runner.metrics.statistics.compare import Comparison, adjust_p_values, align_rows, compare, compare_runs
from runner.metrics.statistics.significance import (
    benjamini_hochberg,
    detectable_difference,
    detectable_rate,
    holm,
    mcnemar,
    permutation_test,
)

__all__ = [
    "Comparison",
    "adjust_p_values",
    "align_rows",
    "benjamini_hochberg",
    "compare",
    "compare_runs",
    "detectable_difference",
    "detectable_rate",
    "holm",
    "mcnemar",
    "permutation_test",
]
