"""The rule for failed calls: how often they are repeated, and how long to wait before each; and pauses."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from runner.core.errors import RetryableError

T = TypeVar("T")
FIRST_WAIT_S = 1.0


@dataclass(frozen=True)
class Retry:
    """Up to ``tries`` calls with growing pauses, at most ``longest_s`` seconds each.

    ``limited_tries`` counts instead where the server refused for its rate limit: the call is not at fault.
    """

    tries: int = 6
    longest_s: float = 30.0
    limited_tries: int = 6

    def wait_s(self, error: RetryableError, attempt: int) -> float:
        """Return the seconds to wait after call number ``attempt``, from 1; raise ``error`` after the last.

        Waits as long as the server asks, or else exponentially longer: 50 to 100% of 1, 2, 4 … seconds.
        """
        if attempt >= (self.limited_tries if error.limited else self.tries):
            raise error
        if error.retry_after is not None:
            return error.retry_after
        longest = min(self.longest_s, FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
        return longest * random.uniform(0.5, 1)

    def call(self, work: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
        """Return the result of ``work``; repeat it only after :class:`RetryableError`."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return work()
            except RetryableError as error:
                sleep(min(self.wait_s(error, attempt), self.longest_s))


class Interrupt:
    """Ends the pauses of threads, since Ctrl-C and other signals reach only the main thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = 0
        self._here = threading.local()

    def ask(self) -> None:
        """Raise ``KeyboardInterrupt`` once in the present or next :func:`pause` of each listening thread."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Make this thread listen within the block."""
        token = _interrupt.set(self)
        try:
            yield
        finally:
            _interrupt.reset(token)

    def note_heard(self) -> None:
        """Note that this thread was interrupted in another way, so that its next pause is a pause."""
        self._here.heard = self._asked

    def wait(self, seconds: float) -> None:
        """Sleep; see :func:`pause`."""
        with self._changed:
            heard = getattr(self._here, "heard", 0)
            if not self._changed.wait_for(lambda: self._asked > heard, seconds):
                return
            self.note_heard()
        raise KeyboardInterrupt


_interrupt: ContextVar[Interrupt | None] = ContextVar("interrupt", default=None)


def pause(seconds: float) -> None:
    """Sleep. Raises ``KeyboardInterrupt`` where the sweep shall end of which this thread is a point."""
    if interrupt := _interrupt.get():
        interrupt.wait(seconds)
    else:
        time.sleep(seconds)


def note_heard() -> None:
    """Note that this thread was interrupted in another way, so that its next :func:`pause` is a pause."""
    if interrupt := _interrupt.get():
        interrupt.note_heard()
