"""What a run has come to while it is under way: rows, errors, dollars. Other threads may read it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.core.services import TuningStatus
from runner.engine.ask import Advance
from runner.engine.call import Answer, OnAnswer
from runner.pipeline.answer import Responder, compute_costs
from runner.records.progress import ANSWERS, TRAINING, Progress

WINDOW_S = 10.0


class Stage:
    """The rows of one stage, and the answers that nobody has counted yet."""

    def __init__(self, name: str, responder: Responder, rows: int) -> None:
        self.name, self.rows, self.done = name, rows, 0
        self._new: deque[tuple[Responder, Answer]] = deque()
        self.note = self.note_for(responder)
        self._recent = deque([(time.monotonic(), 0)])
        self._ended_at: float | None = None

    def note_for(self, responder: Responder) -> OnAnswer:
        """Return a function that notes an answer; what follows from it is worked out by who reads."""
        return lambda answer: self._new.append((responder, answer))

    def advance(self, rows: int) -> None:
        """Count rows that were finished."""
        now = time.monotonic()
        self.done += rows
        self._recent.append((now, self.done))
        while self._recent[0][0] < now - WINDOW_S:
            self._recent.popleft()

    def end(self) -> None:
        """Note that all rows are done; the rate stays what it was."""
        self._ended_at = time.monotonic()

    def find_rate(self) -> float | None:
        """Return the rows a second over the last ten seconds; None if none was finished then."""
        since, before = self._recent[0]
        seconds = (self._ended_at or time.monotonic()) - since
        return (self.done - before) / seconds if self.done > before and seconds > 0 else None

    def count_new(self) -> tuple[int, float | None]:
        """Return the errors and the dollars of the answers since the last call; None if one is unknown."""
        new = [self._new.popleft() for _ in range(len(self._new))]
        bought = [(responder, answer) for responder, answer in new if not answer.stored]
        costs = [cost for responder, answer in bought for cost in compute_costs([answer], responder)]
        known = [cost for cost in costs if cost is not None]
        return sum(answer.error is not None for _, answer in new), (
            sum(known) if len(known) == len(costs) else None
        )


class Tally:
    """Counts what happens in the stages of a run.

    ``on_begin`` is called whenever the run starts to wait for a service, and ``on_pause`` whenever it goes on
    by itself.
    """

    def __init__(
        self, on_begin: Callable[[], None] = lambda: None, on_pause: Callable[[], None] = lambda: None
    ) -> None:
        self._on_begin, self._on_pause = on_begin, on_pause
        self._stages: list[Stage] = []
        self._training: TuningStatus | None = None
        self._errors, self._usd = 0, 0.0
        self._usd_is_known = True
        self._turn = threading.Lock()

    @contextmanager
    def open_stage(self, responder: Responder, rows: int, name: str = ANSWERS) -> Iterator[Stage]:
        """Yield the counter of a stage of ``rows`` rows, whose questions the responder answers."""
        self._stages.append(Stage(name, responder, rows))
        self._on_begin()
        try:
            yield self._stages[-1]
        finally:
            self._stages[-1].end()
            self._on_pause()

    def note_training(self, status: TuningStatus) -> None:
        """Note where a fine-tuning job stands."""
        self._training = status
        self._on_begin()

    def read(self) -> Progress:
        """Return how far the run is."""
        now = time.time()
        with self._turn:
            for stage in self._stages:
                self._count_new(stage)
        if not self._stages:
            share = self._training.progress if self._training else None
            return Progress(now, TRAINING if self._training else ANSWERS, share=share)
        *earlier, stage = self._stages
        return Progress(
            now,
            stage.name,
            stage.done,
            stage.rows,
            sum(one.done for one in earlier),
            stage.find_rate(),
            self._errors,
            self._usd if self._usd_is_known else None,
        )

    def _count_new(self, stage: Stage) -> None:
        errors, usd = stage.count_new()
        self._errors += errors
        self._usd += usd or 0.0
        self._usd_is_known &= usd is not None


def follow(advance: Advance, stage: Stage) -> Advance:
    """Return a function that moves a bar and the counter of a stage."""

    def advance_both(rows: int) -> None:
        stage.advance(rows)
        advance(rows)

    return advance_both
