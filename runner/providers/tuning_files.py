"""What a fine-tuning service accepts, checked before anything is uploaded, and how it is told a job's key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runner.core.errors import DataError
from runner.core.services import TrainingFile

BYTES_PER_TOKEN = 4  # of English text; other scripts take more bytes, and about as many tokens
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of one service. ``source`` is where it states them."""

    source: str
    least_rows: int
    most_bytes: int
    most_tokens: int
    """Per row; a longer one would be cut at its end, where the answer stands."""


def check(files: Iterable[TrainingFile], rules: Rules) -> None:
    """Raise :class:`DataError` naming file, line and rule for the first thing that would be refused."""
    for file in files:
        if len(file.content) > rules.most_bytes:
            raise DataError(f"{file.name}: {len(file.content):,} bytes, allowed are {rules.most_bytes:,}")
        lines = file.content.rstrip(b"\n").split(b"\n")
        if len(lines) < rules.least_rows:
            raise DataError(f"{file.name}: {len(lines)} rows, at least {rules.least_rows} are needed")
        for number, line in enumerate(lines, start=1):
            if fault := _fault(line, rules):
                raise DataError(f"{file.name}, line {number}: {fault} ({rules.source})")


def _fault(line: bytes, rules: Rules) -> str | None:
    tokens = len(line) // BYTES_PER_TOKEN
    if tokens > rules.most_tokens:
        return f"about {tokens:,} tokens, allowed are {rules.most_tokens:,}"
    try:
        messages = json.loads(line)["messages"]
    except (ValueError, KeyError, TypeError):
        return "not a JSON object with 'messages'"
    return _fault_of(messages) if isinstance(messages, list) and messages else "no messages"


def _fault_of(messages: list[Any]) -> str | None:
    for number, message in enumerate(messages, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            return f"turn {number} has the role {role!r}, known are {', '.join(ROLES)}"
        if role == "system" and number > 1:
            return f"turn {number} is a system turn, which only the first may be"
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return f"turn {number} ({role}) is empty"
    if messages[-1]["role"] != "assistant":
        return f"the last turn is the {messages[-1]['role']}'s, wanted is the assistant's answer"
    return None


def suffix(key: str, wanted: str, *, key_letters: int, letters: int) -> str:
    """A job's key, then what the user wants to read in the model's name; letters, digits and dashes only.

    For services whose jobs carry no metadata: the suffix is what finds the job again.

    >>> suffix("0123456789abcdef", "medical facts", key_letters=8, letters=18)
    '01234567-medical-f'
    """
    words = re.sub(r"[^A-Za-z0-9]+", "-", wanted).strip("-")
    return f"{key[:key_letters]}-{words}"[:letters].rstrip("-")
