"""The probability of a label, from the log-probabilities of the tokens that begin it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from runner import parse
from runner.core.types import Parser

_MARKS = " \t\n\"'“‘`*([{"


def compute_label_probability(
    tokens: Sequence[Mapping[str, Any]], place: int, names: Mapping[str, Sequence[str]], positive: str
) -> float | None:
    """Return the probability of ``positive`` among the labels, at the token where the answer names a label.

    tokens  those of the answer, each with ``token``, ``logprob`` and its alternatives ``top``
    place   the first character of the label in the text that the tokens make
    names   per label, the names that the parser reads as this label

    Alternatives that begin no label are left out, and the rest is scaled to 1. Returns None if no alternative
    begins a label, or if one may begin ``positive`` or another label.

    >>> top = [{"token": "yes", "logprob": math.log(0.6)}, {"token": "no", "logprob": math.log(0.2)}]
    >>> said = [{"token": "yes", "logprob": math.log(0.6), "top": top}]
    >>> round(compute_label_probability(said, 0, {"yes": ["yes"], "no": ["no"]}, "yes"), 3)
    0.75
    """
    begin = 0
    for token in tokens:
        end = begin + len(token["token"])
        if begin <= place < end:
            return _compute_share(token, place - begin, names, positive)
        begin = end
    return None


def _compute_share(
    token: Mapping[str, Any], skip: int, names: Mapping[str, Sequence[str]], positive: str
) -> float | None:
    """Return the share of ``positive`` among the alternatives that begin a label."""
    before = token["token"][:skip].lstrip(_MARKS)
    of_positive = total = 0.0
    for option in token.get("top") or []:
        said = option["token"].lstrip(_MARKS)
        if not said.startswith(before):
            continue
        said = said[len(before) :].lstrip(_MARKS).casefold()
        begun = {label for label, each in names.items() if said and any(_begins(said, name) for name in each)}
        if positive in begun and len(begun) > 1:
            return None
        mass = math.exp(option["logprob"]) if begun else 0.0
        total += mass
        of_positive += mass if positive in begun else 0.0
    return of_positive / total if total > 0 else None


def _begins(said: str, name: str) -> bool:
    """Whether a token is the beginning of a name, or the name and no longer word ("nothing" is not "no")."""
    name = name.casefold()
    return name.startswith(said) or (said.startswith(name) and not said[len(name) :][:1].isalnum())


def add_probability(frame: pl.DataFrame, parser: Parser, positive: Any) -> pl.DataFrame:
    """Add the column ``probability`` (of the label ``positive``) if the completions have ``logprobs``.

    It is taken at the place that the parser read, and null where that place is not known: a row without a
    prediction, a parser without ``read``, tokens that do not make the completion.
    """
    names = parse.list_names(parser)
    label = str(positive).lower() if isinstance(positive, bool) else str(positive)
    if "logprobs" not in frame.columns or positive is None or label not in names:
        return frame
    texts = frame["completion"]
    _, readings = parse.read_column(parser, texts)
    values: list[float | None] = []
    for text, reading, written in zip(texts.to_list(), readings, frame["logprobs"], strict=True):
        tokens = json.loads(written) if written else None
        if not tokens or reading is None or reading.value is None or reading.start is None:
            values.append(None)
            continue
        # the tokens also hold what was taken out of the answer before it, such as its thinking
        offset = "".join(token["token"] for token in tokens).rfind(text)
        place = offset + reading.start
        values.append(None if offset < 0 else compute_label_probability(tokens, place, names, label))
    return frame.with_columns(pl.Series("probability", values, dtype=pl.Float64))
