"""Guards the engine against a provider's faults, so that no run hangs and no paid answer is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from runner.core.errors import FatalProviderError, RetryableError, WaitError, describe_failure
from runner.core.provider import Provider, RateLimits
from runner.core.retry import Retry

log = logging.getLogger(__name__)
_warned_names: set[str] = set()

CLOSE_S = 10.0
FIRST_ANSWER_S = 60.0
GONE_AFTER = 3
"""Calls in a row, each repeated, without an answer; then who may leave a stage leaves it."""
TELL_EVERY_S = 10.0
_told = [-TELL_EVERY_S, 0.0]  # when a wait was told last, and when that wait ends


class Calls:
    """The calls of one stage, to tell what concerns one row from what concerns the whole run.

    A refusal (403) concerns the run if nothing else was answered. ``stored`` is the number of answers that
    earlier runs got. They show that the key is good, too, unless more rows are refused than were answered:
    then the key has lost its right. A fault concerns the run if nothing else is answered in the meantime.
    """

    def __init__(self, stored: int = 0) -> None:
        self._stored = stored
        self._refused = 0
        self._answered = False
        self._alive_at = time.monotonic()
        self._unreached = 0
        self._stop: WaitError | None = None
        self._undecided: set[object] = set()
        self._sent: set[object] = set()
        self._changed = asyncio.Event()

    @contextmanager
    def follow(self) -> Iterator[object]:
        """Yield a mark for one call, with which its requests are sent (:meth:`send`)."""
        mark = object()
        try:
            yield mark
            self._answered = True
            self.note_life()
        finally:
            self._undecided.discard(mark)
            self._changed.set()

    @contextmanager
    def send(self, mark: object) -> Iterator[None]:
        """Enter while a request is under way. Raises what :meth:`stop` was given: nothing more is sent."""
        if self._stop:
            raise self._stop
        self._undecided.add(mark)
        self._sent.add(mark)
        try:
            yield
        finally:
            self._sent.discard(mark)
            self._changed.set()

    @property
    def has_answers(self) -> bool:
        """Whether a call of this stage was answered."""
        return self._answered

    def note_life(self) -> None:
        """Note that the server answered, or refused one row for what is in it."""
        self._alive_at = time.monotonic()
        self._unreached = 0

    def note_unreached(self) -> bool:
        """Note that a call failed though it was repeated; True for the one with which the server is gone."""
        self._unreached += 1
        return self._unreached == GONE_AFTER

    @property
    def is_gone(self) -> bool:
        """Whether so many calls in a row could not be answered that a judge of a panel leaves it."""
        return self._unreached >= GONE_AFTER

    def was_alive_since(self, start: float) -> bool:
        """Whether the server has answered since a time of the monotonic clock."""
        return self._alive_at > start

    def find_silence(self, error: RetryableError, max_wait_s: float) -> WaitError | None:
        """Return what stops the run if the server has answered nothing for ``max_wait_s`` seconds.

        Where it has not answered at all, a minute is enough.
        """
        longest = max_wait_s if self._answered else min(max_wait_s, FIRST_ANSWER_S)
        silent = time.monotonic() - self._alive_at
        if silent <= longest:
            return None
        return WaitError(f"nothing was answered for {silent:.0f} s: {error}; finished answers are kept")

    async def concern_rows(self, error: FatalProviderError) -> bool:
        """Whether the refusal of a call concerns its row only; waits until another call shows that.

        It does once others were answered. A run whose calls were all refused has to stop. A parameter that is
        refused (400) stops it at once if nothing was answered yet.
        """
        self._refused += 1
        while self._undecided and not self._answered and error.status in (None, 403):
            await self._wait_for_change()
        return self._answered or self._stored >= self._refused

    async def stop(self, error: WaitError) -> None:
        """Send nothing more, and wait for the answers to what is under way: they are paid."""
        self._stop = error
        while self._sent:
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def tell_of_retry(error: RetryableError, wait_s: float, attempt: int, retry: Retry) -> None:
    """Log that a call will be repeated, but not for every call: a fault mostly hits many at once.

    A long wait is told at once, and when it is much longer than the one told last.
    """
    now = time.monotonic()
    is_news = attempt == 1 and now - _told[0] >= TELL_EVERY_S
    if is_news or now + wait_s >= max(now, _told[1]) + TELL_EVERY_S:
        _told[:] = [now, now + wait_s]
        retries = (retry.limited_tries if error.limited else retry.tries) - 1
        which = f"retry {attempt} of {retries}" if attempt <= retries else "nothing was answered since"
        log.warning("waiting %.1f s after: %s; %s", wait_s, error, which)


def is_interrupt(error: BaseException) -> bool:
    """Whether an error stops the task in which a provider's code raised it: Ctrl-C, or its cancellation.

    ``CancelledError`` also comes from tasks of the provider's own; then this task is not being cancelled.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt)


def read_limits(provider: Provider) -> RateLimits | None:
    """Return the account's limits as the last answer says them; None, with one warning, if that fails."""
    try:
        limits = provider.rate_limits()
        _check_limits(limits)
        return limits
    except (Exception, SystemExit) as error:
        if provider.name not in _warned_names:
            _warned_names.add(provider.name)
            log.warning("%s: its rate limits are unknown: %s", provider.name, describe_failure(error))
        return None


def _check_limits(limits: RateLimits | None) -> None:
    if limits is None:
        return
    for number in (limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens):
        if number is not None and not number >= 0:
            raise ValueError(f"expected numbers or None, got {limits}")


async def close_provider(provider: Provider) -> None:
    """Release a provider's connections within :data:`CLOSE_S`; a failure is only a warning."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await provider.aclose()
    except BaseException as error:
        if is_interrupt(error):
            raise
        log.warning("%s: its connections were not closed: %s", provider.name, describe_failure(error))
