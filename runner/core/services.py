"""The values of fine-tuning and batches; the protocols that use them are in :mod:`runner.core.provider`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """A prepared JSONL file: one ``{"messages": [...]}`` per line, the last turn the assistant's."""

    name: str
    content: bytes
    rows: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TuningJob:
    """What determines a fine-tuned model. ``key`` is the digest of all of it; a job is found by it."""

    key: str
    training: tuple[tuple[str, float], ...]
    """Uploaded file ids with their weights."""
    validation: str | None = None
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_multiplier: float | None = None
    training_steps: int | None = None
    seed: int | None = None
    suffix: str = ""
    integrations: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """What only one provider knows, such as ``lora_rank`` of the local trainer."""


TuningState = Literal["queued", "running", "succeeded", "failed", "cancelled", "paused"]


@dataclass(frozen=True, slots=True)
class TuningStatus:
    """Where a job stands. ``state`` is ours; ``detail`` is the provider's own word or reason."""

    state: TuningState
    detail: str = ""
    model: str | None = None
    """The finished model's id, once there is one."""
    progress: float | None = None
    """Share done, from 0 to 1, where the provider says."""
    trained_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved state of a training; ``number`` counts from 1, the last one is the finished model."""

    number: int
    step: int
    model: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """Where a batch stands: ``running``, ``ended`` (with results) or ``refused`` as a whole."""

    state: Literal["running", "ended", "refused"]
    detail: str = ""
    """The service's own word or reason."""
    done: int = 0
    """Requests done so far, failed ones included."""
    total: int = 0
