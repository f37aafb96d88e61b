"""How often an interval holds the true score: ``python -m tests.benchmarks.coverage [--draws 1000]``.

Rows differ in how hard they are: the chance of a right answer is drawn for each from a beta distribution, and
the answers of its repeats with that chance. The true score is the mean chance.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
import polars as pl

from runner.metrics import Accuracy
from runner.metrics.repeated import measure_each

ROWS, REPEATS = (30, 100, 300, 1000), (1, 2, 3, 5, 10)
EASE = (2.0, 1.0)
"""Of the beta distribution: two thirds of the answers are right, and rows differ much."""


def make_frame(random: np.random.Generator, rows: int, repeats: int) -> pl.DataFrame:
    """Answers to rows of different difficulty, right (1) or wrong (0)."""
    chance = random.beta(*EASE, size=rows)
    right = random.random((rows, repeats)) < chance[:, None]
    return pl.DataFrame(
        {
            "id": np.repeat(np.arange(rows), repeats),
            "repeat": np.tile(np.arange(repeats), rows),
            "prediction": right.ravel().astype(np.int64),
        }
    ).with_columns(target=1)


def count_covered(rows: int, repeats: int, draws: int, seed: int) -> tuple[int, float]:
    """In how many of ``draws`` data sets the interval holds the true score, and its mean width."""
    random, truth = np.random.default_rng([seed, rows, repeats]), EASE[0] / sum(EASE)
    covered, widths = 0, []
    for _ in range(draws):
        score = measure_each(Accuracy(), make_frame(random, rows, repeats))["accuracy"]
        covered += score.low <= truth <= score.high
        widths.append(score.high - score.low)
    return covered, float(np.mean(widths))


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.coverage", description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    print(" rows  repeats  covered  width")
    with ProcessPoolExecutor(given.processes) as pool:
        jobs = [
            (rows, repeats, pool.submit(count_covered, rows, repeats, given.draws, given.seed))
            for rows, repeats in product(ROWS, REPEATS)
        ]
        for rows, repeats, job in jobs:
            covered, width = job.result()
            print(f"{rows:5}  {repeats:7}  {covered / given.draws:7.1%}  {width:.3f}", flush=True)


if __name__ == "__main__":
    main()
