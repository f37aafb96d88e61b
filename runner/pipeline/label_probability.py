"""How sure a model was of a label: from the log-probabilities of the tokens that begin it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl


def compute_label_probability(
    tokens: Sequence[dict[str, Any]], labels: Sequence[str], positive: str
) -> float | None:
    """Probability of ``positive`` among ``labels``, at the token where the answer chose between them.

    ``tokens`` are the completion's, each with ``token``, ``logprob`` and its alternatives ``top``. Mass on
    tokens that begin no label, or more than one, is left out, and the rest is scaled to 1. None where no
    label stands in the text or no alternative begins one.

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
            return _share(token, min(starts) - begin, labels, positive)
        begin = end
    return None


def _share(token: dict[str, Any], skip: int, labels: Sequence[str], positive: str) -> float | None:
    """The positive label's share of the mass on tokens that begin exactly one label."""
    mass = dict.fromkeys(labels, 0.0)
    for option in token.get("top") or []:
        said = option["token"][skip:].lower() if skip else option["token"].lstrip(' "').lower()
        begun = [label for label in labels if said and _begins(said, label.lower())]
        if len(begun) == 1:
            mass[begun[0]] += math.exp(option["logprob"])
    total = sum(mass.values())
    return mass[positive] / total if total > 0 and positive in mass else None


def _begins(said: str, label: str) -> bool:
    return label.startswith(said) or said.startswith(label)


def add_probability(frame: pl.DataFrame, labels: Sequence[str], positive: str | None) -> pl.DataFrame:
    """Add the column ``probability`` (of ``positive``) where completions came with ``logprobs``."""
    if "logprobs" not in frame.columns or positive not in labels:
        return frame
    values = [
        compute_label_probability(json.loads(tokens), labels, str(positive)) if tokens else None
        for tokens in frame["logprobs"]
    ]
    return frame.with_columns(pl.Series("probability", values, dtype=pl.Float64))
