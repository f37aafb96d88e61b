"""How many tokens will be read and written: of chats whose answers are still to come, and of a training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from runner.core import tokens
from runner.core.services import TrainingFile
from runner.core.types import Message

MARK = "\x02answer\x03"
"""Stands in a prompt where an answer will stand that does not exist yet."""
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("completion", "prediction"), MARK),
    **dict.fromkeys(("answered_by", "finish_reason"), ""),
    **dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "latency_s"), 0),
    "error": None,
    "probability": 0.5,
}


def mark_answers(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the columns that answers will add, :data:`MARK` where their text will be."""
    return frame.with_columns(pl.lit(value).alias(name) for name, value in COLUMNS.items())


def estimate_tokens(
    messages: Sequence[Message], answer: float = 0, count: Callable[[str], int] = tokens.count
) -> float:
    """Estimated tokens of a chat in which every :data:`MARK` is an answer of so many tokens."""
    marks = sum(message["content"].count(MARK) for message in messages)
    texts = (message["content"].replace(MARK, "") for message in messages)
    return tokens.count_chat(texts, count) + marks * answer


def estimate_training_tokens(files: Sequence[TrainingFile], epochs: int) -> float:
    """Estimated tokens that a training bills: those of its rows, as often as they are seen."""
    return float(epochs * sum(tokens.count_chat(turns) for file in files for turns in _chats(file)))


def _chats(file: TrainingFile) -> Iterable[list[str]]:
    chats = (json.loads(line)["messages"] for line in file.content.splitlines())
    return ([message["content"] for message in chat] for chat in chats)
