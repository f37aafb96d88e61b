"""Training data: rows through the prompt of inference, the gold turn appended, one JSON line each."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from runner.core.errors import DataError
from runner.core.services import TrainingFile
from runner.core.types import Message


def training_file(name: str, chats: Iterable[Sequence[Message]], weight: float = 1.0) -> TrainingFile:
    """Chats as a JSONL file; its name ends in a digest of the content, so equal files have equal names."""
    lines = [json.dumps({"messages": list(chat)}, ensure_ascii=False) for chat in chats]
    if not lines:
        raise DataError(f"training data {name}: no rows")
    content = ("\n".join(lines) + "\n").encode()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    digest = hashlib.sha256(content).hexdigest()[:16]
    return TrainingFile(f"{stem}-{digest}.jsonl", content, len(lines), weight)
