"""Agreement of several annotators beyond chance: Krippendorff's alpha.

The formula is written out here: intervals need it for a thousand resamples at once, and the maintained
package for it (``krippendorff``, GPL) serves as the independent check in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError, nearest
from runner.core.types import Score
from runner.metrics.agreement import distances
from runner.metrics.base import column, defined
from runner.metrics.bootstrap import Floats, intervals, tally
from runner.metrics.labels import ratio

LEVELS = ("nominal", "ordinal", "interval")


@dataclass(kw_only=True)
class KrippendorffAlpha:
    """Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    1 minus observed over expected disagreement, from the coincidences of values within a row.

    annotators   columns of one annotator each, or one column of lists; null is a missing value, and rows
                 with fewer than two values do not count. A model's prediction may be one of them.
    level        ``nominal``, ``ordinal`` (values in their order) or ``interval`` (values are numbers)
    labels       the order of text values, for ``ordinal``

    Gives one score, ``name``; there is no strict reading, since missing values are part of the formula.
    Undefined (None) where all values are the same.
    """

    annotators: Sequence[str] | str
    level: Literal["nominal", "ordinal", "interval"] = "nominal"
    labels: Sequence[Any] | None = None
    group: str | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = "alpha"

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ConfigError(f"metric {self.name}: level {self.level!r}{nearest(self.level, LEVELS)}")

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        ratings = ratings_of(frame, self.annotators, self.name)
        used = pl.Series(ratings.select(pl.sum_horizontal(pl.all().is_not_null())).to_series() >= 2)
        values = self._values(ratings.filter(used))
        groups = column(frame, self.group, self.name).filter(used) if self.group else None
        sample = tally(
            ratings.filter(used).select(pl.all().replace_strict(values, range(len(values)))), groups
        )
        if len(values) < 2:
            return {self.name: Score(None, n=int(sample.counts.sum()))}
        pairs = coincidences(sample.cells, len(values))
        numbers = np.array(values, dtype=float) if self.level == "interval" else None
        bounds = intervals(
            sample,
            [lambda counts: alphas(counts @ pairs, self.level, numbers)],
            self.confidence,
            self.resamples,
            self.seed,
        )[0]
        alpha = float(alphas(sample.counts[None, :] @ pairs, self.level, numbers)[0])
        return {self.name: Score(defined(alpha), bounds[0], bounds[1], int(sample.counts.sum()))}

    def _values(self, ratings: pl.DataFrame) -> list[Any]:
        """The values in use, in order."""
        found = pl.concat([c.rename("value") for c in ratings.iter_columns()]).drop_nulls().unique().sort()
        numeric = found.dtype.is_numeric() or found.is_empty()
        if self.level == "interval" and not numeric:
            raise DataError(f"metric {self.name}: level interval needs numbers, not {found.dtype}")
        if self.level == "ordinal" and not numeric and self.labels is None:
            raise ConfigError(f"metric {self.name}: level ordinal of text values needs labels, in order")
        if self.labels is None:
            return found.to_list()
        unknown = set(found.to_list()) - set(self.labels)
        if unknown:
            raise DataError(f"metric {self.name}: values {sorted(map(str, unknown))} are not among labels")
        return [label for label in self.labels if label in set(found.to_list())]


def ratings_of(frame: pl.DataFrame, annotators: Sequence[str] | str, metric: str) -> pl.DataFrame:
    """One column per annotator, all of one type, from columns or from one column of lists."""
    if isinstance(annotators, str):
        lists = column(frame, annotators, metric)
        if not isinstance(lists.dtype, pl.List):
            raise DataError(f"metric {metric}: column {annotators!r} is {lists.dtype}, not a list")
        width = max(lists.list.len().drop_nulls().to_list(), default=0)
        parts = [lists.list.get(place, null_on_oob=True).alias(str(place)) for place in range(width)]
        return pl.DataFrame(parts)
    parts = [column(frame, name, metric) for name in annotators]
    if len({part.dtype for part in parts if part.dtype != pl.Null}) > 1:
        kinds = ", ".join(f"{part.name} {part.dtype}" for part in parts)
        if not all(part.dtype.is_numeric() for part in parts):
            raise DataError(f"metric {metric}: annotators of different types cannot agree: {kinds}")
        parts = [part.cast(pl.Float64) for part in parts]
    return pl.DataFrame(parts)


def coincidences(cells: pl.DataFrame, size: int) -> Any:
    """Per cell the pairs of values within its row, each row weighing as many as it has values.

    Sparse, of shape (cells, size · size): the coincidence matrices flattened.
    """
    from scipy.sparse import csr_array

    codes = np.stack([c.fill_null(-1).to_numpy() for c in cells.iter_columns()], axis=1).astype(np.int64)
    given = (codes >= 0).sum(axis=1)
    places = range(codes.shape[1])
    rows, where, weights = [], [], []
    for first, second in ((a, b) for a in places for b in places if a != b):
        both = np.flatnonzero((codes[:, first] >= 0) & (codes[:, second] >= 0))
        rows.append(both)
        where.append(codes[both, first] * size + codes[both, second])
        weights.append(1 / (given[both] - 1))
    matrix = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(where)))
    return csr_array(matrix, shape=(len(codes), size * size))


def alphas(pairs: Floats, level: str, numbers: Floats | None = None) -> Floats:
    """Alpha for flattened coincidence matrices of shape (resamples, size · size)."""
    size = round(pairs.shape[1] ** 0.5)
    pairs = np.asarray(pairs).reshape(-1, size, size)
    totals = pairs.sum(axis=2)
    apart = _apart(totals, level, numbers)
    observed = (pairs * apart).sum(axis=(1, 2))
    expected = np.einsum("rc,rck,rk->r", totals, np.broadcast_to(apart, pairs.shape), totals)
    return 1 - ratio(observed * (totals.sum(axis=1) - 1), expected)


def _apart(totals: Floats, level: str, numbers: Floats | None) -> Floats:
    """The squared difference of each two values; for ordinal it depends on how often values are used."""
    size = totals.shape[1]
    if level == "nominal":
        return distances(size, None)[None]
    if level == "interval" and numbers is not None:
        return (numbers[:, None] - numbers[None, :])[None] ** 2
    # ordinal: all values from c to k, with c and k themselves counting half
    middle = totals.cumsum(axis=1) - totals / 2
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)
