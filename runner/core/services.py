"""The values of fine-tuning and batches; the protocols that use them are in :mod:`runner.core.provider`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
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
class Schedule:
    """What tells the epoch of a step: the rows of an epoch, the rows of a step, the epochs; None: unknown."""

    rows: int | None = None
    batch_size: int | None = None
    n_epochs: int | None = None

    def fill(self, batch_size: object, n_epochs: object) -> Schedule:
        """Return it with what a job itself reports, which is taken first where it is a number."""
        return Schedule(
            self.rows, _read_count(batch_size) or self.batch_size, _read_count(n_epochs) or self.n_epochs
        )

    def number(self, steps: Sequence[int], complete: bool = True) -> list[int] | None:
        """Return the epochs after which states were kept, from their steps in order; None if unknown.

        The epoch is step × batch / rows. Where a service ends each epoch with a smaller batch, or leaves that
        one out, an epoch has a whole number of steps. Without a batch size the last state is that of the last
        epoch if the list is ``complete``, and otherwise states are one epoch apart.

        >>> Schedule(125, 1, 5).number([375, 500, 625]), Schedule(10, 4, 3).number([3, 6, 9])
        ([3, 4, 5], [1, 2, 3])
        >>> Schedule(n_epochs=5).number([375, 500, 625]), Schedule().number([10, 20])
        ([3, 4, 5], None)
        """
        found = [
            numbers for rule in self._list_rules(steps, complete) if (numbers := self._count(steps, *rule))
        ]
        ending = [numbers for numbers in found if complete and numbers[-1] == self.n_epochs]
        return next(iter(ending + found), None)

    def _list_rules(self, steps: Sequence[int], complete: bool) -> Iterator[tuple[float, float]]:
        """Steps of an epoch as far as they may be known, with how far an epoch may be from a whole number."""
        per_epoch = self.rows / self.batch_size if self.rows and self.batch_size else 0.0
        yield from ((length, 0.1) for length in (per_epoch, math.ceil(per_epoch), math.floor(per_epoch)))
        if self.n_epochs and steps and complete:
            yield steps[-1] / self.n_epochs, 0.1
        elif self.n_epochs and len(steps) > 1:
            yield min(after - before for before, after in pairwise(steps)), 0.0
        yield per_epoch, 0.5

    def _count(self, steps: Sequence[int], length: float, within: float) -> list[int] | None:
        epochs = [step / length for step in steps] if length > 0 else []
        numbers = [round(epoch) for epoch in epochs]
        whole = all(abs(epoch - number) <= within for epoch, number in zip(epochs, numbers, strict=True))
        if not numbers or not whole or len(set(numbers)) < len(numbers):
            return None
        return numbers if numbers[0] >= 1 and numbers[-1] <= (self.n_epochs or numbers[-1]) else None


UNKNOWN = Schedule()


def _read_count(value: object) -> int | None:
    """A whole number of at least 1, or None; services also report ``auto``, and numbers as text."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and int(text) else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved state of a training; the last one is the finished model.

    ``number`` is the epoch where the step tells it, else it counts the states from 1.
    """

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
