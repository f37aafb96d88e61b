"""The metrics that estimate what people would say of all rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import polars as pl

from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.core.types import Direction, Score
from runner.metrics.base import UNREAD, LabelOption, align_types, get_column, name_rows
from runner.metrics.bootstrap import Floats
from runner.metrics.calibrated.estimates import (
    Estimate,
    Sample,
    average_labels,
    average_verdicts,
    correct_share,
    predict_mean,
    tune_weight,
)

FEWEST = 10
"""With fewer labelled rows than this, no interval means anything."""
About = Literal["population", "rows"]


@dataclass(kw_only=True)
class Calibrated(ABC):
    """What both metrics share."""

    prediction: str = "verdict"
    label: str = "label"
    about: About = "rows"
    group: str | None = None
    confidence: float = 0.95
    direction: Direction = "none"
    name: str = ""
    undirected: ClassVar[Sequence[str]] = ("_weight",)
    rehearsable: ClassVar[bool] = True
    """Rows without answers give the names of all scores, and show what the rows lack."""

    def __post_init__(self) -> None:
        self.name = self.name or self._default_name
        if self.about not in (known := get_args(About)):
            raise ConfigError(f"metric {self.name}: about {self.about!r}{suggest(str(self.about), known)}")
        if not 0 < self.confidence < 1:
            raise ConfigError(f"metric {self.name}: confidence {self.confidence} is not between 0 and 1")

    _default_name: ClassVar[str]
    _is_share: ClassVar[bool]

    def __call__(self, frame: pl.DataFrame) -> dict[str, Score]:
        verdict, label = self._read_columns(frame)
        judge, people = self._number(frame, verdict, label)
        unit = np.arange(frame.height)
        if self.group:
            groups = get_column(frame, self.group, self.name)
            unit = groups.rank("dense").fill_null(0).to_numpy().astype(np.int64)
        sample = Sample(judge, people, unit, self.about == "rows", self._is_share, self.confidence)
        self._check_number(sample)
        found = self._estimate(sample, verdict.null_count())
        counts = {"_human": sample.labelled, "_weight": sample.labelled}
        return {
            self.name + suffix: Score(
                each.value, each.low, each.high, counts.get(suffix, sample.rows), each.reason
            )
            for suffix, each in found.items()
        }

    @abstractmethod
    def _number(self, frame: pl.DataFrame, verdict: pl.Series, label: pl.Series) -> tuple[Floats, Floats]:
        """The judge's and people's values as numbers, of shape (rows,); NaN where a row has no label."""

    def _read_columns(self, frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """Both columns in one type."""
        verdict, label = (get_column(frame, name, self.name) for name in (self.prediction, self.label))
        if label.null_count() == len(label):
            raise DataError(f"metric {self.name}: column {self.label!r} has no label in any row")
        if label.dtype == pl.String and verdict.dtype.is_numeric():
            odd = label.filter(label.cast(pl.Float64, strict=False).is_null() & label.is_not_null())
            first = odd[0] if len(odd) else label.drop_nulls()[0]
            raise DataError(
                f"metric {self.name}: {self.label} {first!r} ({_name_rows(frame, label, first)}) is text, "
                "and the judge's values are numbers; make it a number or null in dataset.steps"
            )
        if label.dtype.is_numeric() and verdict.dtype == pl.String:
            raise DataError(
                f"metric {self.name}: {self.label} holds numbers, and the judge's values are text; give them "
                "their names in dataset.steps"
            )
        return align_types(verdict, label, self.name)

    def _check_number(self, sample: Sample) -> None:
        """Refuse too few labels."""
        if sample.units < FEWEST:
            units = "rows" if not self.group else f"groups (column {self.group!r})"
            raise DataError(
                f"metric {self.name}: column {self.label!r} has labels in {sample.units} {units}; "
                f"an interval needs {FEWEST}, and is narrow from 50 or 100 on"
            )

    def _estimate(self, sample: Sample, unread: int) -> dict[str, Estimate]:
        """All estimates by the suffix of their names; ``unread`` counts the rows without a verdict."""
        human = average_labels(sample)
        if unread == sample.rows:
            none = Estimate(None, reason=UNREAD)
            return {"": none, "_human": human, "_judge": none, "_weight": none}
        weight = tune_weight(sample)
        powered = predict_mean(sample, weight.value or 0.0)
        powered = replace(powered, reason=weight.reason)
        weight = replace(weight, reason="")
        return {"": powered, "_human": human, "_judge": average_verdicts(sample), "_weight": weight}


@dataclass(kw_only=True)
class CalibratedShare(Calibrated):
    """The share of rows to which people would give ``value``: a judge says it of all rows, people of some.

    The rows with a person's label must be a random part of all rows. ``name`` is the prediction-powered
    estimate (PPI++, Angelopoulos et al. 2023): the judge's share, corrected by how it differs from people
    where both spoke, and weighted by how well it tells what people say. It is right on average whatever the
    judge is worth; a better judge makes it narrower. A verdict that was not read is one without the value.
    Beside it stand people's labels alone (``name_human``), and the judge alone over all rows
    (``name_judge``), which may be wrong by any amount. ``name_rogan_gladen`` is the judge's share corrected
    by its sensitivity and specificity (Rogan and Gladen 1978), with Fieller's interval, within 0 to 1; it is
    null if these do not show that the judge tells anything. ``name_weight`` is how much the judge counts: if
    its interval holds 0, the judge may tell nothing, and the ``reason`` of ``name`` says so.

    value        the label that is counted, such as "correct"
    prediction   the column of the judge's values, in every row; null counts as another value
    label        the column of people's labels, of the same kind; null where nobody labelled the row
    about        ``rows``: the interval is for these rows, as if people had labelled them all; ``name_judge``
                 then has none. ``population``: it is for other rows like these, too, as that of other
                 metrics, and wider
    group        column of the unit that varies at random, such as a document; null: the row
    confidence   of the intervals
    direction    whether a ``higher`` or a ``lower`` share is better
    name         of the score
    """

    value: Any
    _default_name: ClassVar[str] = "calibrated_share"
    _is_share: ClassVar[bool] = True

    def named_labels(self) -> list[LabelOption]:
        """The value: one that the judge can give or, where this is not known, that people gave."""
        return [("value", self.value, (self.prediction,), self.label)]

    def check_names(self, frame: pl.DataFrame, names: Sequence[str]) -> None:
        """Refuse people's labels that are none of ``names``, all values that the judge can give."""
        if not names or self.label not in frame.columns:
            return
        label = frame[self.label]
        if label.dtype not in (pl.String, pl.Categorical, pl.Enum):
            return  # the types are compared elsewhere
        if odd := (~label.cast(pl.String).is_in(list(names)) & label.is_not_null()).arg_true().to_list():
            first = str(label[odd[0]])
            raise DataError(
                f"metric {self.name}: {self.label} {first!r} ({name_rows(frame, odd)}) is no value of the "
                f"judge{suggest(first, names)}"
            )

    def _number(self, frame: pl.DataFrame, verdict: pl.Series, label: pl.Series) -> tuple[Floats, Floats]:
        if (label.dtype == pl.String) != isinstance(self.value, str):
            raise DataError(f"metric {self.name}: value {self.value!r}, but the labels are {label.dtype}")
        given, said = label.drop_nulls().unique(), verdict.drop_nulls().unique()
        self._check_spelling(frame, label, {*map(str, said), str(self.value)})
        if len(given) + len(said) > 2 and len(said) and not said.is_in(given.to_list()).any():
            raise DataError(
                f"metric {self.name}: people's labels ({_list_values(given)}) are none of the judge's values "
                f"({_list_values(said)})"
            )
        if len(said) and not (given == self.value).any() and not (said == self.value).any():
            hint = suggest(str(self.value), {*map(str, given), *map(str, said)})
            raise DataError(f"metric {self.name}: nobody gave the value {self.value!r}{hint}")
        has = (verdict == self.value).fill_null(False).cast(pl.Float64)
        return has.to_numpy(), (label == self.value).cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def _check_spelling(self, frame: pl.DataFrame, label: pl.Series, names: set[str]) -> None:
        """Refuse a label that is a known one but for case and spaces; it would count as another."""
        if label.dtype != pl.String:
            return
        folded = {name.strip().casefold(): name for name in names}
        for text in label.drop_nulls().unique().sort():
            known = folded.get(text.strip().casefold())
            if text not in names and (known or not text.strip()):
                rows = _name_rows(frame, label, text)
                fault = f"is written {known!r} elsewhere" if known else "is no label; leave it null"
                raise DataError(f"metric {self.name}: {self.label} {text!r} ({rows}) {fault}")

    def _estimate(self, sample: Sample, unread: int) -> dict[str, Estimate]:
        found = super()._estimate(sample, unread)
        none = Estimate(None, reason=UNREAD)
        corrected = none if unread == sample.rows else correct_share(sample)
        weight = found.pop("_weight")
        return found | {"_rogan_gladen": corrected, "_weight": weight}


@dataclass(kw_only=True)
class CalibratedMean(Calibrated):
    """The mean rating that people would give to all rows: a judge rates all, people some, drawn at random.

    Estimates and names are those of :class:`CalibratedShare`, without ``name_rogan_gladen``. The judge may
    use another scale than people. A verdict that was not read says nothing about its row: it counts as the
    mean of the others, and ``name_judge`` is then not defined.

    prediction   the column of the judge's ratings, in every row
    label        the column of people's ratings, numbers; null where nobody rated the row
    about        ``rows``: the interval is for these rows, as if people had rated them all; ``name_judge``
                 then has none. ``population``: it is for other rows like these, too, as that of other
                 metrics, and wider
    group        column of the unit that varies at random, such as a document; null: the row
    confidence   of the intervals
    direction    whether a ``higher`` or a ``lower`` mean is better
    name         of the score
    """

    _default_name: ClassVar[str] = "calibrated_mean"
    _is_share: ClassVar[bool] = False

    def _number(self, frame: pl.DataFrame, verdict: pl.Series, label: pl.Series) -> tuple[Floats, Floats]:
        for column in (verdict, label):
            if not column.dtype.is_numeric():
                raise DataError(
                    f"metric {self.name}: {column.name} is {column.dtype}, not numbers; calibrated_share "
                    "counts a label, and the parser runner.parse.Number gives numbers"
                )
        verdict, label = verdict.cast(pl.Float64), label.cast(pl.Float64)
        mean = verdict.mean() if verdict.count() else 0.0
        return verdict.fill_null(mean).to_numpy(), label.fill_null(float("nan")).to_numpy()

    def _estimate(self, sample: Sample, unread: int) -> dict[str, Estimate]:
        found = super()._estimate(sample, unread)
        if 0 < unread < sample.rows:
            found["_judge"] = Estimate(None, reason=f"{count_of(unread, 'row')} without a rating to read")
        return found


def _name_rows(frame: pl.DataFrame, label: pl.Series, value: str) -> str:
    return name_rows(frame, (label == value).arg_true().to_list())


def _list_values(values: pl.Series) -> str:
    known = [*map(str, values.sort().to_list())]
    return ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
