"""How often the difference that ``runner estimate`` names is found: ``python -m tests.benchmarks.power``.

In each draw two models answer the same rows, and differ by just that much on average. They are compared by
the test of the report; a difference counts as found if p, corrected if there are several comparisons, is
below 5 %. It should be found in 80 % of the draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from runner.metrics import Accuracy, MeanAbsoluteError
from runner.metrics.base import Metric
from runner.metrics.repeated.spread import list_values
from runner.metrics.statistics import compare, holm
from runner.metrics.statistics.power import (
    DISCORDANT,
    SHARE,
    Variance,
    bound_difference,
    find_detectable,
    is_share,
    measure_difference,
)

Draw = Callable[[np.random.Generator, int, int, float], tuple[Any, Any]]
"""From a generator, rows, repeats and the difference to the scores of both models, (rows, repeats)."""
PILOT = 20_000
"""Rows of the two past runs from which a variance is measured."""


def draw_shares(discordant: float, random: np.random.Generator, n: int, k: int, difference: float) -> Any:
    """Models of which only one is right on a share of the rows; on the others both are."""
    either = random.random((n, 1))
    one = either >= (discordant - difference) / 2
    return one, ~one | (either >= discordant)


def draw_unrelated(random: np.random.Generator, n: int, k: int, difference: float) -> Any:
    """Models that are right on half of the rows, whatever the other says."""
    one, other = random.random((2, n, k))
    return one < 0.5 + difference / 2, other < 0.5 - difference / 2


def draw_hard_rows(random: np.random.Generator, n: int, k: int, difference: float) -> Any:
    """Models that find the same rows hard: the chance of a right answer is from a beta distribution."""
    ease = random.beta(2, 1, (n, 1)) * (1 - difference)
    return random.random((n, k)) < ease + difference, random.random((n, k)) < ease


def draw_documents(random: np.random.Generator, n: int, k: int, difference: float) -> Any:
    """Five rows of a document are equally hard, but for each model in its own way."""
    ease = [np.repeat(random.beta(2, 2, (n // 5, 1)), 5, axis=0) * (1 - difference) for _ in range(2)]
    return random.random((n, k)) < ease[0] + difference, random.random((n, k)) < ease[1]


def draw_ratings(random: np.random.Generator, n: int, k: int, difference: float) -> Any:
    """Distances of ratings, half of which is the row's."""
    hard = random.gamma(2, 0.3, (n, 1))
    return hard + random.gamma(2, 0.3, (n, k)) + difference, hard + random.gamma(2, 0.3, (n, k))


@dataclass(frozen=True)
class Setting:
    """Rows and repeats of a simulation; ``bound`` is the variance that is assumed, None: it is measured."""

    name: str
    draw: Draw
    rows: int
    repeats: int = 1
    bound: float | None = None
    group: str | None = None
    are_ratings: bool = False
    comparisons: int = 1

    @property
    def metric(self) -> Metric:
        """What is measured."""
        if self.are_ratings:
            return MeanAbsoluteError(resamples=2)
        return Accuracy(resamples=2, group=self.group)

    def find_difference(self) -> float:
        """The difference that would be named before the run."""
        detect = partial(
            find_detectable,
            n=self.rows,
            repeats=self.repeats,
            comparisons=self.comparisons,
            are_right=is_share(self.metric) and not self.metric.group,
        )
        if self.bound is not None:
            frame = make_frame(np.zeros((self.rows, 1)))
            pairs = frame.select(group="document") if self.metric.group else frame
            return detect(bound_difference(pairs, self.bound)) or 0.0
        difference = 0.0
        for _ in range(3):  # the past runs differ by as much
            difference = detect(self.measure_variance(difference)) or 0.0
        return difference

    def measure_variance(self, difference: float) -> Variance:
        """The variance that two long past runs show."""
        scores = self.draw(np.random.default_rng(0), PILOT, 3, difference)
        measure = self.metric.measures()[""]
        one, other = (list_values(self.metric, measure, make_frame(side)) for side in scores)
        return measure_difference(one, other)


SETTINGS = [
    *(Setting("unrelated models, bound", draw_unrelated, n, bound=SHARE) for n in (50, 200, 1000)),
    *(
        Setting("one of five rows, bound", partial(draw_shares, DISCORDANT), n, bound=DISCORDANT)
        for n in (100, 300, 1000)
    ),
    Setting("hard rows, past runs", draw_hard_rows, 200),
    Setting("hard rows, past runs", draw_hard_rows, 60, 3),
    Setting("hard rows, past runs", draw_hard_rows, 200, 3),
    Setting("hard rows, past runs", draw_hard_rows, 200, 10),
    Setting("hard rows, past runs, 3 points", draw_hard_rows, 200, 3, comparisons=3),
    Setting("documents, past runs", draw_documents, 300, 1, group="document"),
    Setting("documents, past runs", draw_documents, 100, 3, group="document"),
    Setting("documents, past runs", draw_documents, 50, 3, group="document"),
    Setting("ratings, past runs", draw_ratings, 50, 1, are_ratings=True),
    Setting("ratings, past runs", draw_ratings, 200, 3, are_ratings=True),
]


def make_frame(scores: Any) -> pl.DataFrame:
    """Answers whose scores these are, of shape (rows, repeats)."""
    n, k = scores.shape
    right = scores.dtype == np.bool_
    return pl.DataFrame(
        {
            "id": np.repeat(np.arange(n), k),
            "repeat": np.tile(np.arange(k), n),
            "document": np.repeat(np.arange(n) // 5, k),
            "prediction": scores.ravel().astype(np.int64 if right else np.float64),
        }
    ).with_columns(target=1 if right else 0.0)


def count_found(setting: Setting, draws: int, seed: int) -> tuple[float, int]:
    """The difference that is named, and in how many of ``draws`` pairs of runs it is found."""
    difference = setting.find_difference()
    random, found = np.random.default_rng([seed, setting.rows, setting.repeats]), 0
    for _ in range(draws):
        scores = setting.draw(random, setting.rows, setting.repeats, difference)
        one, other = map(make_frame, scores)
        if setting.repeats == 1:
            one, other = one.drop("repeat"), other.drop("repeat")
        (comparison,) = compare(setting.metric, one, other).values()
        others = [1.0] * (setting.comparisons - 1)
        found += holm([comparison.p or 0.0, *others])[0] < 0.05
    return difference, found


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.power", description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    print(f"{'setting':32} rows  repeats  difference  found")
    with ProcessPoolExecutor(given.processes) as pool:
        jobs = [pool.submit(count_found, setting, given.draws, given.seed) for setting in SETTINGS]
        for setting, job in zip(SETTINGS, jobs, strict=True):
            difference, found = job.result()
            print(
                f"{setting.name:32} {setting.rows:4}  {setting.repeats:7}  {difference:10.3f}"
                f"  {found / given.draws:5.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
