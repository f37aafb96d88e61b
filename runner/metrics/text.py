"""Metrics over free text. A target may be a list of acceptable answers; the best match counts."""

from __future__ import annotations

import re
import string
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from runner.core.errors import ConfigError, DataError, suggest
from runner.metrics.bootstrap import SHARE, Ends
from runner.metrics.rows import RowMetric
from runner.parse.words import NO_SPACES

# the wide letters and digits of Chinese and Japanese texts ("２０")
_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: " "}
_JOINERS = "\u200c\u200d"
_ARTICLES = re.compile(r"(?<!\S)(?:a|an|the)(?!\S)")
# marks without which a value is another one: 1.5, 12:30, 8,5 (but 1,000 is 1000), .5, -5, p < 5, C++, A-
_MEANINGFUL = re.compile(
    r"(?<=\d)[^\w\s,](?=\d)|(?<=\d),(?=\d)(?!\d{3}(?!\d))|(?<![\w.])\.(?=\d)|(?<!\w)-(?=\.?\d)|[<>](?=\s?[\d.-])|(?<=\w)[+#]+(?!\w)|(?<=\w)-$"
)


def split_words(text: str) -> list[str]:
    """The words of a text in any script, in lower case, without punctuation.

    Letters and digits with their combining marks make words. Of scripts that put no space between words
    (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each letter with its marks is a word. For ASCII the words
    are those of the tokenizer of ``rouge-score``. Of a text without any, the words are what spaces separate.

    >>> split_words("Don't, Привет 你好!")
    ['don', 't', 'привет', '你', '好']
    """
    words: list[str] = []
    inside = False
    for character in unicodedata.normalize("NFC", text).translate(_WIDE).lower():
        if character.isalnum():
            alone = NO_SPACES.match(character) is not None
            if inside and not alone:
                words[-1] += character
            else:
                words.append(character)
            inside = not alone
        elif unicodedata.category(character)[0] == "M" and words and (inside or NO_SPACES.match(words[-1])):
            words[-1] += character
        elif character not in _JOINERS:
            inside = False
    return words or text.lower().split()


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces; for all scripts.

    After the evaluation script of SQuAD v1.1 (:func:`normalise_squad`), with these differences: punctuation
    of all scripts counts, and letters of scripts without spaces stand alone. Marks that tell values apart
    stay (``1.5``, ``-5``, ``12:30``, ``C++``), and so does a text that consists of marks only.

    >>> normalise("The  Eiffel-Tower!")
    'eiffeltower'
    """
    return " ".join(_ARTICLES.sub(" ", _strip_marks(text)).split())


def _strip_marks(text: str) -> str:
    plain = " ".join(unicodedata.normalize("NFC", text).translate(_WIDE).lower().replace("−", "-").split())
    kept = {place for match in _MEANINGFUL.finditer(plain) for place in range(*match.span())}
    bare = ""
    for place, character in enumerate(plain):
        if place in kept:
            bare += character
        elif character in string.punctuation or character in "’‘ʼ" + _JOINERS:
            continue
        elif unicodedata.category(character)[0] == "P":
            bare += " "
        else:
            bare += f" {character}" if NO_SPACES.match(character) or NO_SPACES.match(bare[-1:]) else character
    return " ".join(_attach_marks(bare).split()) or plain


def _attach_marks(text: str) -> str:
    """The text without spaces before combining marks."""
    return re.sub(r" (.)", lambda m: m[1] if unicodedata.category(m[1])[0] == "M" else m[0], text)


def normalise_squad(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces. Made for English words, not for numbers.

    Source: the evaluation script of SQuAD v1.1 (Rajpurkar et al. 2016), ``normalize_answer``.

    >>> normalise_squad("1.5"), normalise_squad("15")
    ('15', '15')
    """
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", bare).split())


NORMALISERS = {"all_scripts": normalise, "squad": normalise_squad}
Normaliser = Literal["all_scripts", "squad"]


def _check_option(metric: str, option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"metric {metric}: {option} {value!r}{suggest(str(value), known)}")


@dataclass(kw_only=True)
class _TextMetric(RowMetric):
    """Mean over rows of the similarity of two texts, from 0 to 1."""

    best: ClassVar[float | None] = 1.0
    ends: ClassVar[Ends] = SHARE
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
class _NormalisedMetric(_TextMetric):
    """Both texts are normalised: ``all_scripts`` is :func:`normalise`, ``squad`` :func:`normalise_squad`."""

    normaliser: Normaliser = "all_scripts"  # all_scripts keeps 1.5 and C++; squad is the English original

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_option(self.name, "normaliser", self.normaliser, tuple(NORMALISERS))


@dataclass(kw_only=True)
class ExactMatch(_NormalisedMetric):
    """Share of rows whose text equals the target, both normalised after SQuAD (see :func:`normalise`)."""

    normalised: bool = True  # false: only white space around the texts is ignored
    default_name: ClassVar[str] = "exact_match"
    proportion: ClassVar[bool] = True

    def get_similarity(self) -> Callable[[str, str], float]:
        if not self.normalised:
            return lambda text, gold: float(text.strip() == gold.strip())
        if self.normaliser == "squad":
            return lambda text, gold: float(normalise_squad(text) == normalise_squad(gold))
        return lambda text, gold: float(_clean(text) == _clean(gold))


def _clean(text: str) -> str:
    """The normalised text, or that with its articles if it has nothing else."""
    return normalise(text) or _strip_marks(text)


@dataclass(kw_only=True)
class TokenF1(_NormalisedMetric):
    """Mean F1 of the words shared with the target, both normalised after SQuAD (see :func:`normalise`)."""

    default_name: ClassVar[str] = "token_f1"

    def get_similarity(self) -> Callable[[str, str], float]:
        clean = NORMALISERS[self.normaliser]
        return lambda text, gold: token_f1(text, gold, clean)


def token_f1(text: str, gold: str, clean: Callable[[str], str] = normalise) -> float:
    """2 · shared words / (words of one + words of the other), counting repeats.

    Source: the evaluation scripts of SQuAD (``f1_score``). As in version 2.0, two texts without words score
    1; if only one has no words the score is 0.

    >>> token_f1("the cat sat", "a cat sat down")
    0.8
    """
    words, gold_words = clean(text).split(), clean(gold).split()
    if not words or not gold_words:
        return float(words == gold_words)
    shared = (Counter(words) & Counter(gold_words)).total()
    return 2 * shared / (len(words) + len(gold_words))


@dataclass(kw_only=True)
class RougeL(_TextMetric):
    """Mean ROUGE-L F-measure (Lin 2004), by the ``rouge-score`` package.

    tokenizer  ``all_scripts`` (:func:`split_words`), or ``rouge_score``: that of the package, which knows
               only the letters a to z and digits, so that equal texts in other scripts score 0
    stem       strip English word endings (Porter) first, as many summarisation papers do
    """

    stem: bool = False
    tokenizer: Literal["all_scripts", "rouge_score"] = "all_scripts"
    default_name: ClassVar[str] = "rouge_l"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_option(self.name, "tokenizer", self.tokenizer, ("all_scripts", "rouge_score"))

    def get_similarity(self) -> Callable[[str, str], float]:
        from rouge_score.rouge_scorer import RougeScorer

        words = None if self.tokenizer == "rouge_score" else _Tokenizer(self.stem)
        scorer = RougeScorer(["rougeL"], use_stemmer=self.stem, tokenizer=words)
        return lambda text, gold: float(scorer.score(gold, text)["rougeL"].fmeasure)


class _Tokenizer:
    """:func:`split_words` in the form that ``rouge-score`` wants. Stems are those of that package."""

    def __init__(self, stem: bool) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self.stemmer = DefaultTokenizer(use_stemmer=True) if stem else None

    def tokenize(self, text: str) -> list[str]:
        words = split_words(text)
        if self.stemmer is None:
            return words
        return [" ".join(self.stemmer.tokenize(word)) if word.isascii() else word for word in words]
