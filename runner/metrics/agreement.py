"""Agreement beyond chance: Cohen's kappa of two annotators, Krippendorff's alpha of several.

The formula of alpha is implemented here, because intervals need it for a thousand resamples at once. The
package ``krippendorff`` (GPL) is the independent check in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runner.core.errors import ConfigError, DataError, suggest
from runner.core.types import Direction, Score
from runner.metrics.base import Metric, get_column
from runner.metrics.bootstrap import Ends, Floats, bootstrap_intervals, keep_finite, nan_to_none, tally
from runner.metrics.confusion import collect_labels, divide, encode_labels
from runner.metrics.rating import check_scale, find_farthest


@dataclass(kw_only=True)
class CohenKappa(Metric):
    """Cohen's kappa (Cohen 1960), plain or weighted (Cohen 1968); ``sklearn.metrics.cohen_kappa_score``.

    ``weights`` null: labels agree or do not. ``linear`` and ``quadratic``: labels disagree by their
    difference, or by its square. They must then be whole numbers. A rating that nobody gave counts in the
    difference of its neighbours.

    Strict: an unparsed prediction is a label of its own that agrees with nothing. With weights it counts as
    the end of the scale (``minimum``, ``maximum``) that is farther from the target; without a scale there is
    no strict value if any row is unparsed. Undefined (None) if both always give the same label.
    """

    weights: Literal["linear", "quadratic"] | None = None
    minimum: float | None = None
    maximum: float | None = None
    default_name: ClassVar[str] = "kappa"
    ends: ClassVar[Ends] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        if self.weights not in (None, "linear", "quadratic"):
            hint = suggest(str(self.weights), ("linear", "quadratic"))
            raise ConfigError(f"metric {self.name or 'kappa'}: weights {self.weights!r}{hint}")
        if self.weights:
            self.name = self.name or f"kappa_{self.weights}"
        super().__post_init__()
        check_scale(self.name, self.minimum, self.maximum)

    def cells(self, pairs: pl.DataFrame) -> pl.DataFrame:
        parsed = pairs["prediction"].is_not_null()
        if not self.weights:
            return pairs.select("target", "prediction", parsed=parsed)
        if not pairs["target"].dtype.is_numeric() or not _are_whole(pairs):
            raise DataError(f"metric {self.name}: weights need labels that are whole numbers")
        filled = pairs["prediction"].fill_null(find_farthest(pairs["target"], self.minimum, self.maximum))
        return pairs.select(pl.col("target").cast(pl.Int64), prediction=filled.cast(pl.Int64), parsed=parsed)

    def value(self, cells: pl.DataFrame, counts: Floats) -> float | None:
        from sklearn.metrics import cohen_kappa_score

        one, other, labels = self._encode(cells)
        if one is None or len(np.union1d(one, other)) < 2:
            return None
        if len(labels) > 500:  # scikit-learn would make a dense matrix of all labels by all labels
            return super().value(cells, counts)
        kappa = cohen_kappa_score(one, other, labels=labels, weights=self.weights, sample_weight=counts)
        return nan_to_none(float(kappa))

    def values(self, cells: pl.DataFrame, counts: Floats) -> Floats:
        one, other, labels = self._encode(cells)
        if one is None:
            return np.full(len(counts), np.nan)
        return compute_kappas(one, other, counts, len(labels), self.weights)

    def _encode(self, cells: pl.DataFrame) -> tuple[Any, Any, range]:
        """Targets and predictions as codes, and their range; None if there is no strict value."""
        labels = collect_labels(cells)
        if self.weights and cells["prediction"].has_nulls():
            return None, None, range(0)
        if self.weights:
            labels = list(range(labels[0], labels[-1] + 1))
        one, other = encode_labels(labels, cells["target"]), encode_labels(labels, cells["prediction"])
        unparsed = other < 0
        other[unparsed] = len(labels)
        return one, other, range(len(labels) + int(unparsed.any()))


def _are_whole(pairs: pl.DataFrame) -> bool:
    return all((c.drop_nulls() % 1 == 0).all() for c in (pairs["target"], pairs["prediction"]))


def disagreement_weights(size: int, weights: str | None) -> Floats:
    """How much each two of ``size`` labels disagree, by their places: (size, size)."""
    place = np.arange(size, dtype=float)
    distance = np.abs(place[:, None] - place[None, :])
    return {None: (distance > 0).astype(float), "linear": distance, "quadratic": distance**2}[weights]


def compute_kappas(
    one: NDArray[Any], other: NDArray[Any], counts: Floats, size: int, weights: str | None
) -> Floats:
    """Kappa for each resample: 1 - observed / expected disagreement.

    ``one`` and ``other`` are one code below ``size`` per cell; ``counts`` has shape (resamples, cells).
    """
    n = counts.sum(axis=1)
    given, meant = counts @ _one_hot_encode(one, size), counts @ _one_hot_encode(other, size)
    if weights is None:
        observed = counts @ (one != other)
        expected = n * n - (given * meant).sum(axis=1)
    else:
        distance = disagreement_weights(size, weights)
        observed = counts @ distance[one, other]
        expected = ((given @ distance) * meant).sum(axis=1)
    return 1 - divide(observed * n, expected)


def _one_hot_encode(codes: NDArray[Any], size: int) -> Any:
    """Sparse matrix of shape (cells, labels) with a 1 for the label of each cell."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)), shape=(len(codes), size))


LEVELS = ("nominal", "ordinal", "interval")


@dataclass(kw_only=True)
class KrippendorffAlpha:
    """Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    1 - observed / expected disagreement, from the coincidences of values within a row.

    annotators   one column per annotator, or one column of lists; null is a missing value, and rows with
                 fewer than two values do not count. A model's prediction may be one of the columns.
    level        ``nominal``, ``ordinal`` (values have an order) or ``interval`` (values are numbers)
    labels       the order of text values, for ``ordinal``

    Gives one score, ``name``. There is no strict reading, since the formula itself handles missing values.
    Undefined (None) if all values are the same.
    """

    annotators: Sequence[str] | str
    level: Literal["nominal", "ordinal", "interval"] = "nominal"
    labels: Sequence[Any] | None = None
    group: str | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    name: str = "alpha"

    ends: ClassVar[Ends] = (None, 1.0)
    too_few: ClassVar[str] = "no row has two values"

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ConfigError(f"metric {self.name}: level {self.level!r}{suggest(self.level, LEVELS)}")

    @property
    def direction(self) -> Direction:
        """``higher`` if the model is one of the annotators; else it says nothing about the model."""
        return "none" if isinstance(self.annotators, str) or "prediction" not in self.annotators else "higher"

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        ratings = collect_ratings(frame, self.annotators, self.name)
        used = pl.Series(ratings.select(pl.sum_horizontal(pl.all().is_not_null())).to_series() >= 2)
        values = self._list_values(ratings.filter(used))
        groups = get_column(frame, self.group, self.name).filter(used) if self.group else None
        sample = tally(
            ratings.filter(used).select(pl.all().replace_strict(values, range(len(values)))), groups
        )
        if len(values) < 2:
            n = int(sample.counts.sum())
            reason = f"every value is {values[0]!r}" if n else self.too_few
            return {self.name: Score(None, n=n, reason=reason)}
        pairs = count_coincidences(sample.cells, len(values))
        numbers = np.array(values, dtype=float) if self.level == "interval" else None
        bounds = bootstrap_intervals(
            sample,
            [lambda counts: compute_alphas(counts @ pairs, self.level, numbers)],
            self.confidence,
            self.resamples,
            self.seed,
        )[0]
        alpha = float(compute_alphas(sample.counts[None, :] @ pairs, self.level, numbers)[0])
        return {self.name: Score(nan_to_none(alpha), bounds[0], bounds[1], int(sample.counts.sum()))}

    def _list_values(self, ratings: pl.DataFrame) -> list[Any]:
        """The values that occur, in their order."""
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


def collect_ratings(frame: pl.DataFrame, annotators: Sequence[str] | str, metric: str) -> pl.DataFrame:
    """One column per annotator, named by its place from 0 and all of one type.

    They come from several columns or from one column of lists.
    """
    if isinstance(annotators, str):
        lists = get_column(frame, annotators, metric)
        if not isinstance(lists.dtype, pl.List):
            raise DataError(f"metric {metric}: column {annotators!r} is {lists.dtype}, not a list")
        width = max([1, *lists.list.len().drop_nulls().to_list()])  # without any value one empty column
        parts = [lists.list.get(place, null_on_oob=True).alias(str(place)) for place in range(width)]
        return pl.DataFrame(map(keep_finite, parts))
    if len(set(annotators)) < max(2, len(annotators)):
        raise ConfigError(
            f"metric {metric}: annotators {list(annotators)} are not two different columns or more"
        )
    parts = [get_column(frame, name, metric) for name in annotators]
    found = {part.dtype for part in parts if part.dtype != pl.Null}
    if len(found) == 1:
        parts = [part.cast(next(iter(found))) for part in parts]  # a column without any value has none
    if len(found) > 1:
        kinds = ", ".join(f"{part.name} {part.dtype}" for part in parts)
        if not all(part.dtype.is_numeric() for part in parts):
            raise DataError(f"metric {metric}: annotators of different types cannot agree: {kinds}")
        parts = [part.cast(pl.Float64) for part in parts]
    return pl.DataFrame([keep_finite(part).alias(str(place)) for place, part in enumerate(parts)])


def count_coincidences(cells: pl.DataFrame, size: int) -> Any:
    """The coincidence matrix of each cell, flattened: sparse, of shape (cells, size · size).

    It holds the pairs of values within a row; a row with m values has a total weight of m.
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


def compute_alphas(pairs: Floats, level: str, numbers: Floats | None = None) -> Floats:
    """Alpha for flattened coincidence matrices of shape (resamples, size · size)."""
    size = round(pairs.shape[1] ** 0.5)
    pairs = np.asarray(pairs).reshape(-1, size, size)
    totals = pairs.sum(axis=2)
    distance = _square_differences(totals, level, numbers)
    observed = (pairs * distance).sum(axis=(1, 2))
    expected = np.einsum("rc,rck,rk->r", totals, np.broadcast_to(distance, pairs.shape), totals)
    return 1 - divide(observed * (totals.sum(axis=1) - 1), expected)


def _square_differences(totals: Floats, level: str, numbers: Floats | None) -> Floats:
    """The squared difference of each two values; for ordinal it depends on how often values occur."""
    size = totals.shape[1]
    if level == "nominal":
        return disagreement_weights(size, None)[None]
    if level == "interval" and numbers is not None:
        return (numbers[:, None] - numbers[None, :])[None] ** 2
    # ordinal: how often the values from c to k occur; c and k themselves count half
    middle = totals.cumsum(axis=1) - totals / 2
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)
