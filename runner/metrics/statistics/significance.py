"""Significance tests, corrections for many tests, and which differences a number of rows can show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import polars as pl

from runner.metrics.bootstrap import Floats, Measure, Tally

POWER = 0.8
_MAX_DRAWS = 20_000_000
"""How many random numbers a permutation test may draw."""


def mcnemar(only_one: int, only_other: int) -> float:
    """The exact (binomial) p-value of McNemar's test (McNemar 1947).

    It is given the numbers of rows that only one run has right, and that only the other has.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import, which every sweep would pay

    discordant = only_one + only_other
    return min(1.0, 2 * float(bdtr(min(only_one, only_other), discordant, 0.5)))


def permutation_test(
    measure: Measure,
    one: Sequence[pl.DataFrame],
    other: Sequence[pl.DataFrame],
    sample: Tally,
    difference: float,
    seed: int = 0,
) -> float:
    """Two-sided p-value of a paired permutation test, which swaps the runs of each row (or group) at random.

    ``one`` and ``other`` are the cells of each run, one frame for each repeat of its rows; a row is swapped
    with all its repeats, and values are means over repeats.
    The observed arrangement counts as one of the permutations, so p is never 0 (Phipson and Smyth 2010).
    """
    random = np.random.default_rng(seed)
    size = len(sample.counts)
    times = int(
        np.clip(_MAX_DRAWS // max(size, sample.units if sample.groups is not None else size), 999, 9999)
    )
    pairs = zip(one, other, strict=True) if len(one) == len(other) else product(one, other)
    cells = [pl.concat(pair) for pair in pairs]
    extreme = total = 0
    block = max(1, 2_000_000 // size)
    for start in range(0, times, block):
        swapped = _draw_swaps(random, sample, min(block, times - start))
        kept = sample.counts - swapped
        first, second = (
            np.mean([measure.values(each, np.concatenate(parts, axis=1)) for each in cells], axis=0)
            for parts in ((kept, swapped), (swapped, kept))
        )
        total += int(np.isfinite(first - second).sum())
        extreme += int((np.abs(first - second) >= abs(difference) - 1e-12).sum())
    return (1 + extreme) / (1 + total)


def _draw_swaps(random: np.random.Generator, sample: Tally, times: int) -> Floats:
    """How many rows of each cell are swapped in each permutation: (times, cells)."""
    if sample.groups is None:
        counts = sample.counts.astype(np.int64)
        return random.binomial(counts, 0.5, size=(times, len(counts))).astype(np.float64)
    return np.asarray(random.integers(0, 2, (times, sample.units)).astype(np.float64) @ sample.groups)


def detectable_difference(error: float, alpha: float = 0.05, power: float = POWER) -> float | None:
    """The smallest true difference that a two-sided test finds with this power.

    ``error`` is the standard error of the difference. The formula is (z(1 - alpha/2) + z(power)) · error
    (Bloom 1995, "Minimum Detectable Effects"). None if the error is 0 or not known.
    """
    from scipy.special import ndtri

    if not np.isfinite(error) or error <= 0:
        return None
    return float((ndtri(1 - alpha / 2) + ndtri(power)) * error)


def detectable_rate(n: int, discordant: float = 0.2) -> float | None:
    """The smallest difference in accuracy that n rows can show, before anything is run.

    ``discordant`` is the share of rows expected to be right in one run only; the variance of the
    difference is at most discordant / n.
    """
    return detectable_difference(float(np.sqrt(discordant / n))) if n > 0 else None


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's step-down method (Holm 1979), for the chance of any false finding."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(stepped, 1)
    return [float(value) for value in result]


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """P-values corrected by Benjamini and Hochberg 1995 (SciPy), for the share of false findings."""
    from scipy.stats import false_discovery_control

    return [float(value) for value in false_discovery_control(p)] if len(p) else []
