"""Estimates of tokens: of chats that hold answers which do not exist yet, and of a training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from runner.core import tokens
from runner.core.services import TrainingFile
from runner.core.types import Message

PLACEHOLDER = "\x02answer\x03"
"""Takes the place of an answer that does not exist yet, in a prompt that quotes it."""
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("completion", "prediction"), PLACEHOLDER),
    **dict.fromkeys(("answered_by", "finish_reason"), ""),
    **dict.fromkeys(("input_tokens", "output_tokens", "reasoning_tokens"), 0),
    **dict.fromkeys(("cached_tokens", "cache_write_tokens", "latency_s"), 0),
    "error": None,
    "reasoning": None,
    "probability": 0.5,
}


def add_placeholders(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns that answers will add, with :data:`PLACEHOLDER` as their text."""
    return frame.with_columns(pl.lit(value).alias(name) for name, value in COLUMNS.items())


def estimate_tokens(
    messages: Sequence[Message], answer: float = 0, count: Callable[[str], int] = tokens.count
) -> float:
    """Estimate the tokens of a chat; every :data:`PLACEHOLDER` in it counts as ``answer`` tokens."""
    placeholders = sum(message["content"].count(PLACEHOLDER) for message in messages)
    texts = (message["content"].replace(PLACEHOLDER, "") for message in messages)
    return tokens.count_chat(texts, count) + placeholders * answer


def estimate_training_tokens(files: Sequence[TrainingFile], epochs: int) -> float:
    """Estimate the tokens that a training bills: those of all rows, once per epoch."""
    return float(epochs * sum(tokens.count_chat(turns) for file in files for turns in _read_chats(file)))


def _read_chats(file: TrainingFile) -> Iterable[list[str]]:
    chats = (json.loads(line)["messages"] for line in file.content.splitlines())
    return ([message["content"] for message in chat] for chat in chats)
