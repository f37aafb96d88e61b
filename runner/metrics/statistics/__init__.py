"""Is one run better than another? Paired tests over the same rows, corrections for many, detectable effects.

Runs are compared row by row (by ``id``), which takes out what the rows have in common. Runs on different
rows are refused: the difference would say as much about the rows as about the runs.
"""

from runner.metrics.statistics.compare import Comparison, adjusted, aligned, compare, compare_runs
from runner.metrics.statistics.significance import (
    McNemar,
    benjamini_hochberg,
    detectable,
    detectable_rate,
    holm,
    mcnemar,
    permutation,
)

__all__ = [
    "Comparison",
    "McNemar",
    "adjusted",
    "aligned",
    "benjamini_hochberg",
    "compare",
    "compare_runs",
    "detectable",
    "detectable_rate",
    "holm",
    "mcnemar",
    "permutation",
]
