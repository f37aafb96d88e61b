"""The rule for failed calls: how often they are repeated, and how long to wait before each; and pauses."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from runner.core.errors import ProviderError, RetryableError, WaitError

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_WAIT_S = 1.0
FAR_S = 1e9  # a longer wait is shown as this one
LONGEST_LOOK_S = 60.0
OUTAGE_S = 3 * 3600.0
CREATES = 5


@dataclass(frozen=True)
class Retry:
    """Up to ``tries`` calls with growing pauses, at most ``longest_s`` seconds each.

    ``limited_tries`` counts instead where the server refused for its rate limit: the call is not at fault.
    A server may ask for a pause of up to ``max_wait_s`` seconds.
    """

    tries: int = 6
    longest_s: float = 30.0
    limited_tries: int = 6
    max_wait_s: float = 300.0

    def wait_s(self, error: RetryableError, attempt: int) -> float:
        """Return the seconds to wait after call number ``attempt``, from 1; raise ``error`` after the last.

        Waits as long as the server asks, or else exponentially longer: 50 to 100% of 1, 2, 4 … seconds.
        Raises :class:`WaitError` if the server asks for more than ``max_wait_s``.
        """
        self.refuse_long_wait(error)
        if attempt >= (self.limited_tries if error.limited else self.tries):
            raise error
        if error.retry_after is not None:
            return error.retry_after
        longest = min(self.longest_s, FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
        return longest * random.uniform(0.5, 1)

    def refuse_long_wait(self, error: RetryableError) -> None:
        """Raise :class:`WaitError`, with the server's words, for a wait of more than ``max_wait_s``."""
        asked = error.retry_after
        if asked is None or asked <= self.max_wait_s:
            return
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + min(asked, FAR_S)))
        raise WaitError(
            f"{error}; the server asks to wait {asked:,.0f} s, until {until}, which is longer than"
            f" provider.max_wait_s={self.max_wait_s:g}; finished answers are kept"
        ) from error

    def call(self, work: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
        """Return the result of ``work``; repeat it only after :class:`RetryableError`."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return work()
            except RetryableError as error:
                sleep(self.wait_s(error, attempt))


class Patience:
    """Sits out an outage of hours in calls about a job, a batch or a file that may be paid for already.

    A failed call is made again after 1, 2, 4 … seconds, at most ``poll_s`` and a minute, until the pauses add
    up to about three hours. ``sleep`` pauses. The log says so now and then.
    """

    def __init__(self, poll_s: float, sleep: Callable[[float], None]) -> None:
        self._longest_s = min(LONGEST_LOOK_S, poll_s)
        self._sleep = sleep

    def call(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, which changes nothing; repeat it after :class:`RetryableError`."""
        tries, attempt = 1 + OUTAGE_S / max(self._longest_s, 1.0), 0
        while True:
            attempt += 1
            try:
                return work()
            except ProviderError as error:
                if not _may_pass(error) or attempt >= tries:
                    raise
                pause = min(self._longest_s, FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
                if attempt & (attempt - 1) == 0:  # after 1, 2, 4, 8 … failures
                    log.warning("%s; trying again in %.0f s (failure %d)", error, pause, attempt)
                self._sleep(pause)

    def make(self, find: Callable[[], T | None], create: Callable[[], T]) -> T:
        """Return what ``create`` makes. After a try that may have been heard ``find`` looks for its result.

        Raises what ``create`` raised first if a later try is refused: the first one may have been heard.
        """
        unsure: RetryableError | None = None
        for attempt in range(1, CREATES + 1):
            try:
                return create()
            except RetryableError as error:
                unsure = unsure or error
                if attempt == CREATES:
                    raise
                log.warning("%s; looking whether it was heard", error)
            except ProviderError as error:
                raise unsure or error from error.__cause__
            self._sleep(min(self._longest_s, FIRST_WAIT_S * 2.0 ** (attempt - 1)))
            if (found := self.call(find)) is not None:
                return found
        raise AssertionError


def _may_pass(error: ProviderError) -> bool:
    """Whether the same call may succeed later, also where a shorter patience has turned it into a refusal."""
    return isinstance(error, RetryableError) or isinstance(error.__cause__, RetryableError)


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
