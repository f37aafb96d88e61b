"""The probability of a label, from the log-probabilities of the tokens that begin it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl


def compute_label_probability(
    tokens: Sequence[dict[str, Any]], labels: Sequence[str], positive: str
) -> float | None:
    """Return the probability of ``positive`` among ``labels``, at the token where the answer chooses a label.

    ``tokens`` are those of the completion, each with ``token``, ``logprob`` and its alternatives ``top``.
    Alternatives that begin no label, or more than one, are left out, and the rest is scaled to 1. Returns
    None if the text contains no label or no alternative begins one.

    >>> top = [{"token": "yes", "logprob": math.log(0.6)}, {"token": "no", "logprob": math.log(0.2)}]
    >>> said = [{"token": "yes", "logprob": math.log(0.6), "top": top}]
    >>> round(compute_label_probability(said, ["yes", "no"], "yes"), 3)
    0.75
    """
    text = "".join(token["token"] for token in tokens).lower()
    starts = [position for label in labels if (position := text.rfind(label.lower())) >= 0]
    if not starts:
        return None
    begin = 0
    for token in tokens:
        end = begin + len(token["token"])
        if begin <= min(starts) < end:
            return _compute_share(token, min(starts) - begin, labels, positive)
        begin = end
    return None


def _compute_share(token: dict[str, Any], skip: int, labels: Sequence[str], positive: str) -> float | None:
    """Return the share of ``positive`` among the alternatives that begin exactly one label."""
    mass = dict.fromkeys(labels, 0.0)
    for option in token.get("top") or []:
        said = option["token"][skip:].lower() if skip else option["token"].lstrip(' "').lower()
        matches = [label for label in labels if said and _begins(said, label.lower())]
        if len(matches) == 1:
            mass[matches[0]] += math.exp(option["logprob"])
    total = sum(mass.values())
    return mass[positive] / total if total > 0 and positive in mass else None


def _begins(said: str, label: str) -> bool:
    return label.startswith(said) or said.startswith(label)


def add_probability(frame: pl.DataFrame, labels: Sequence[str], positive: str | None) -> pl.DataFrame:
    """Add the column ``probability`` (of ``positive``) if the completions have ``logprobs``."""
    if "logprobs" not in frame.columns or positive not in labels:
        return frame
    values = [
        compute_label_probability(json.loads(tokens), labels, str(positive)) if tokens else None
        for tokens in frame["logprobs"]
    ]
    return frame.with_columns(pl.Series("probability", values, dtype=pl.Float64))
