"""Metrics over free text. A target may be a list of acceptable answers; the best match counts."""

from __future__ import annotations

import re
import string
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from runner.core.errors import DataError
from runner.metrics.rows import RowMetric


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces.

    Source: the evaluation script of SQuAD v1.1 (Rajpurkar et al. 2016), ``normalize_answer``.

    >>> normalise("The  Eiffel-Tower!")
    'eiffeltower'
    """
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", bare).split())


@dataclass(kw_only=True)
class _TextMetric(RowMetric):
    """Mean over rows of the similarity of two texts, from 0 to 1."""

    best: ClassVar[float | None] = 1.0
    worst: ClassVar[float | None] = 0.0
    _last: tuple[pl.DataFrame, pl.Series] | None = field(default=None, init=False, repr=False, compare=False)
    """The last texts and their scores. Texts are compared one by one, and a run asks for them twice."""

    @abstractmethod
    def get_similarity(self) -> Callable[[str, str], float]:
        """A function of (prediction, target) to a number from 0 to 1."""

    def scores(self, pairs: pl.DataFrame) -> pl.Series:
        texts = pairs.select("prediction", "target")
        if self._last is None or self._last[0].schema != texts.schema or not self._last[0].equals(texts):
            self._last = texts, self._compare(texts)
        return self._last[1]

    def _compare(self, texts: pl.DataFrame) -> pl.Series:
        similarity = self.get_similarity()
        best = [
            max(similarity(text, gold) for gold in _list_golds(target)) for text, target in texts.iter_rows()
        ]
        return pl.Series(best, dtype=pl.Float64)

    def align_types(self, prediction: pl.Series, target: pl.Series) -> tuple[pl.Series, pl.Series]:
        for column in (prediction, target):
            kind = column.dtype.inner if isinstance(column.dtype, pl.List) else column.dtype
            if kind not in (pl.String, pl.Null):
                raise DataError(f"metric {self.name}: column {column.name!r} is {column.dtype}, not text")
        if isinstance(target.dtype, pl.List) and (target.list.len() == 0).any():
            raise DataError(f"metric {self.name}: column {target.name!r} has rows with an empty list")
        return prediction, target


def _list_golds(target: Any) -> list[str]:
    return [target] if isinstance(target, str) else [gold for gold in target if gold is not None]


@dataclass(kw_only=True)
class ExactMatch(_TextMetric):
    """Share of rows whose text equals the target, both normalised as in SQuAD (see :func:`normalise`).

    With ``normalised: false`` only white space around the texts is ignored.
    """

    normalised: bool = True
    default_name: ClassVar[str] = "exact_match"
    proportion: ClassVar[bool] = True

    def get_similarity(self) -> Callable[[str, str], float]:
        clean = normalise if self.normalised else str.strip
        return lambda text, gold: float(clean(text) == clean(gold))


@dataclass(kw_only=True)
class TokenF1(_TextMetric):
    """Mean F1 of the words shared with the target, both normalised as in SQuAD."""

    default_name: ClassVar[str] = "token_f1"

    def get_similarity(self) -> Callable[[str, str], float]:
        return token_f1


def token_f1(text: str, gold: str) -> float:
    """2 · shared words / (words of one + words of the other), counting repeats.

    Source: the evaluation scripts of SQuAD (``f1_score``). As in version 2.0, two texts without words score
    1; if only one has no words the score is 0.

    >>> token_f1("the cat sat", "a cat sat down")
    0.8
    """
    words, gold_words = normalise(text).split(), normalise(gold).split()
    if not words or not gold_words:
        return float(words == gold_words)
    shared = (Counter(words) & Counter(gold_words)).total()
    return 2 * shared / (len(words) + len(gold_words))


@dataclass(kw_only=True)
class RougeL(_TextMetric):
    """Mean ROUGE-L F-measure (Lin 2004), by the ``rouge-score`` package.

    ``stem`` strips English word endings (Porter) first, as many summarisation papers do.
    """

    stem: bool = False
    default_name: ClassVar[str] = "rouge_l"

    def get_similarity(self) -> Callable[[str, str], float]:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"], use_stemmer=self.stem)
        return lambda text, gold: float(scorer.score(gold, text)["rougeL"].fmeasure)
