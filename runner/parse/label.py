"""Find a label of a closed set in a reply."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from runner.core.errors import ConfigError

_WORD = re.compile(r"(?<!\w)[-+]\d+|[^\W_]+")
# between the words of a label: brackets, dashes, stars, but not the end of a sentence or a line
_BETWEEN = r"(?:[^\w\n.!?;]|_|\.(?!\s)){1,6}?"
# negates the word after it, with at most one word in between ("not entirely correct")
_NEGATION = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|without|cannot)|n['’]t)\s+(?:\w+\s+)?[*_\"'(]*$", re.I
)


class Label:
    """One of a closed set of labels, named anywhere in a reply.

    ``labels`` is a list, or a mapping from each label to other names of it. Labels are all text or all whole
    numbers. Case, punctuation and mark-up do not matter. Only whole words count ("inconsistent" does not
    name "consistent"), and the longest of overlapping names counts ("partially correct").

    >>> Label({1: ["consistent"], 0: ["inconsistent"]})("**Inconsistent.**")
    0

    A reply that names two labels gives None, and so does one that negates a label ("not consistent"), unless
    that is a name itself. In a longer reply, a label of one letter counts only in its own case. "A" and "I"
    are also words, so they count only before punctuation or at the end.
    """

    def __init__(self, labels: Sequence[str | int] | Mapping[str | int, Any]) -> None:
        names = {label: _list_names(label, others) for label, others in _to_pairs(labels)}
        if not names:
            raise ConfigError("parser Label: labels is empty")
        kinds = {type(label) for label in names}
        if kinds not in ({str}, {int}):
            raise ConfigError(
                f"parser Label: labels {list(names)} are neither all text nor all whole numbers; "
                "put quotes around 'yes', 'no', 'true' and 'on', which YAML reads as truth values"
            )
        self.labels = list(names)
        self.dtype: pl.DataType = pl.String() if kinds == {str} else pl.Int64()
        self._exact = _index_names(names)
        spoken = sorted(
            (n for ns in names.values() for n in ns if _split_words(n)), key=lambda n: (-len(n), n)
        )
        self._mentions = re.compile(
            "|".join(f"(?:{_make_pattern(n)})" for n in spoken) or r"(?!)", re.IGNORECASE
        )

    def __call__(self, text: str) -> str | int | None:
        whole = self._exact.get(_normalize(text))
        if whole is not None:
            return whole
        found = list(self._mentions.finditer(text))
        labels = {self._exact[_normalize(match[0])] for match in found}
        if len(labels) != 1 or any(
            _NEGATION.search(text[max(0, match.start() - 60) : match.start()]) for match in found
        ):
            return None
        return labels.pop()


def _to_pairs(labels: Sequence[str | int] | Mapping[str | int, Any]) -> list[tuple[str | int, Any]]:
    if isinstance(labels, Mapping):
        return [(label, labels[label]) for label in labels]
    if isinstance(labels, str):
        raise ConfigError(f"parser Label: expected labels as a list or a mapping, got the text {labels!r}")
    return [(label, None) for label in labels]


def _list_names(label: str | int, others: Any) -> list[str]:
    more = [] if others is None else [others] if isinstance(others, str | int) else list(others)
    return [str(name) for name in (label, *more)]


def _split_words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _normalize(text: str) -> str:
    """A text without case, punctuation and mark-up."""
    return " ".join(_split_words(text)) or text.strip()


def _index_names(names: Mapping[str | int, list[str]]) -> dict[str, str | int]:
    exact: dict[str, str | int] = {}
    for label, spellings in names.items():
        for name in spellings:
            if exact.setdefault(_normalize(name), label) != label:
                raise ConfigError(
                    f"parser Label: {name!r} names both {exact[_normalize(name)]!r} and {label!r} "
                    "(case and punctuation do not count)"
                )
    return exact


def _make_pattern(name: str) -> str:
    """The pattern that finds a name as whole words."""
    words = [re.escape(word) for word in _WORD.findall(name)]
    body = _BETWEEN.join(words)
    if len(name.strip()) == 1 and name.strip().isalpha():
        body = f"(?-i:{body})" + (r"(?!\s+\w|['’]\w)" if name.strip() in "AaIi" else "")
    if words[0].lstrip("\\")[0] in "+-":
        return rf"(?<!\w){body}(?![^\W_])"
    before = r"(?<!(?<!\w)-)(?<!\d\.)" if words[0][0].isdigit() else ""
    after = r"(?!\.\d)" if words[-1][-1].isdigit() else ""
    return rf"(?<![^\W_])(?<!\w-){before}{body}(?![^\W_]){after}"
