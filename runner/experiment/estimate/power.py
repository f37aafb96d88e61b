"""Which difference a run could show, told before it costs anything: by past runs or by a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import polars as pl

from runner.core.identity import digest
from runner.core.types import REPEAT
from runner.experiment.plan import Plan
from runner.metrics.base import Metric
from runner.metrics.repeated import EACH
from runner.metrics.repeated.spread import Values, list_values
from runner.metrics.rows import RowMetric
from runner.metrics.statistics.compare import count_pairs
from runner.metrics.statistics.power import (
    DISCORDANT,
    Variance,
    bound_difference,
    find_detectable,
    find_half_width,
    is_share,
    measure_difference,
    measure_single,
)
from runner.records.folder import PREDICTIONS, RECORD, find_runs
from runner.records.record import Record, read_records, read_scored

FEWEST = 30
"""Past runs that share fewer rows (or pairs) with a plan say too little about the variance."""
MOST_RECORDS, MOST_RUNS = 200, 5
"""How many of the newest records are read, and how many different runs are compared with each other."""


@dataclass(frozen=True)
class Power:
    """What a plan could show by its first score, ``metric``.

    ``n`` units (``unit``: rows or pairs) are asked ``repeats`` times each. ``difference`` is the variance of
    a difference from another model, ``single`` that of the score itself, ``usual`` a smaller one that is not
    sure; ``basis`` says where they are from. Without a ``difference`` it says why there is none.
    """

    metric: str
    n: int
    repeats: int
    basis: str
    difference: Variance | None = None
    single: Variance | None = None
    usual: Variance | None = None
    unit: str = "rows"
    is_share: bool = False
    are_right: bool = False
    """Whether each unit is right or wrong and varies on its own."""
    rows: str = ""
    """A digest of the rows and of the metric; points with the same are compared."""
    are_means: bool = True
    """Whether the metric is a mean over rows."""
    comparisons: int = 1

    def detect(self, variance: Variance | None, times: int = 1) -> float | None:
        """The difference that would be found four times of five with ``times`` as many units, or None."""
        if variance is None:
            return None
        found = find_detectable(variance, times * self.n, self.repeats, self.comparisons, self.are_right)
        return None if self.is_share and found is not None and found > 1 else found

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % interval of the score."""
        return None if self.single is None else find_half_width(self.single, self.n, self.repeats)


def find_power(plan: Plan, frame: pl.DataFrame, repeats: int, outputs: Path) -> Power | None:
    """The power of a plan by its first metric that can compare runs; None if it has none.

    ``frame`` has the rows without answers, each once. Past runs are looked for in the folder ``outputs``.
    """
    known = [(key, each) for key, each in plan.metrics.items() if isinstance(each, Metric) and not each.per]
    if not known:
        return None
    key, metric = known[0]
    suffix = next(iter(metric.measures()))
    pairs = metric.pairs(frame)
    rows = frame.select(name for name in ("id", "target") if name in frame.columns)
    power = Power(
        metric=f"{key}{suffix}",
        n=pairs.height,
        repeats=repeats,
        basis="",
        unit="rows" if pairs.height == frame.height else "pairs",
        is_share=is_share(metric),
        are_right=getattr(metric, "proportion", False) and not metric.group,
        rows=digest([rows.rows(), repr([plan.config.metric.get(key), plan.config.scoring.steps])]),
        are_means=isinstance(metric, RowMetric),
    )
    rule = plan.config.scoring.reduce.value
    is_reduced = repeats > 1 and rule != EACH
    past = [] if is_reduced else _list_past_values(metric, suffix, rows, power.n, plan, outputs)
    measured = _measure_past(power, past) if past else power
    if measured.difference and measured.difference.of(repeats) > 0:
        return measured
    if not power.is_share:
        why = f"no past run has {min(FEWEST, power.n)} of these rows"
        if is_reduced or past:
            why = f"scoring.reduce={rule}" if is_reduced else "past runs of these rows show none"
        return replace(power, basis=f"it depends on a variance that is not known ({why})")
    return replace(
        power,
        basis=f"this is the worst case: unrelated models, each right on half of the {power.unit}",
        difference=bound_difference(pairs),
        single=bound_difference(pairs, 0.25),
        usual=bound_difference(pairs, DISCORDANT),
    )


def _measure_past(power: Power, past: Sequence[Values]) -> Power:
    singles = [measure_single(values) for values in past]
    widest = max(singles, key=lambda one: one.of(power.repeats))
    if len(past) == 1:
        basis = "taken from a past run of these rows, as if another model were right on other ones"
        return replace(power, basis=basis, difference=widest.double(), single=widest)
    differences = [measure_difference(one, other) for one, other in combinations(past, 2)]
    differ = max(differences, key=lambda one: one.of(power.repeats))
    which = "two past runs of these rows differ"
    if len(past) > 2:
        which = f"the two most different of {len(past)} past runs of these rows differ"
    basis = f"taken from how {which}"
    return replace(power, basis=basis, difference=differ, single=widest)


def _list_past_values(
    metric: Metric, suffix: str, rows: pl.DataFrame, n: int, plan: Plan, outputs: Path
) -> list[Values]:
    """What each row added to the score in past runs: of these rows, by different models or settings.

    Other judges make another run only of a metric of verdicts; to any other one the answers are the same.
    """
    known: dict[str, pl.DataFrame] = {}
    shared = rows
    read = repr([metric, plan.config.scoring.steps])
    are_judged = "verdict" in read or "judge_" in read
    for record, folder in _list_records(outputs, plan.config.dataset.name):
        hyper = {**record.config.get("hyperparameter", {}), "repeats": None, "seed": None}
        who = {name: one for name, one in record.identities.items() if are_judged or name[:5] != "judge"}
        key = digest([who, record.params.get("prompt_digest"), repr(hyper)])
        if key in known or len(known) == MOST_RUNS:
            continue
        try:
            past = read_scored(folder)
            both = shared.join(past.filter(_is_first(past)), on=rows.columns, how="semi", nulls_equal=True)
            kept = past.filter(pl.col("id").is_in(both["id"].to_list()))
            if kept[metric.prediction].is_null().all():  # nothing was read, so rows do not vary
                continue
            if list_values(metric, metric.measures()[suffix], kept).each.shape[0] < min(FEWEST, n):
                continue
        except Exception:  # a past run of other columns or types says nothing about this one
            continue
        known[key], shared = past, both
    frames = [
        frame.filter(pl.col("id").is_in(shared["id"].to_list())).sort("id", maintain_order=True)
        for frame in known.values()
    ]
    return [list_values(metric, metric.measures()[suffix], frame) for frame in frames]


def _is_first(frame: pl.DataFrame) -> pl.Expr:
    return pl.col(REPEAT) == 0 if REPEAT in frame.columns else pl.lit(True)


def _list_records(outputs: Path, dataset: str) -> Iterator[tuple[Record, Path]]:
    """The newest finished runs of a data set, the newest first."""
    places = [*outputs.glob("runs/*"), *outputs.glob("sweeps/*")]
    folders = [folder for place in places for folder in find_runs(place) if (folder / PREDICTIONS).exists()]
    newest = sorted(folders, key=lambda folder: (folder / RECORD).stat().st_mtime, reverse=True)
    for folder in newest[:MOST_RECORDS]:
        record = read_records([folder]).get(folder)
        data = record.inputs[0] if record and record.inputs else {}
        if record and record.status == "finished" and data.get("name") == dataset:
            yield record, folder


def count_comparisons(powers: Iterable[Power | None]) -> list[Power | None]:
    """The powers of a sweep's points, each with the number of comparisons that are corrected for."""
    given = list(powers)
    sizes = Counter(one.rows for one in given if one)
    return [
        replace(one, comparisons=max(1, count_pairs(sizes[one.rows], one.are_means))) if one else None
        for one in given
    ]
