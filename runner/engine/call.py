"""One call: a request becomes an answer, with ledger, limits, retries and budget inside.

    request ─ ledger? ─ budget ─ pace (requests, tokens a minute) ─ gate (how many at once) ─ provider
            ─ ledger

Equal requests are asked once. A call that fails becomes the error of its row. Only an error that would make
every further call fail, such as a wrong key, stops the run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from runner.core.digest import digest
from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.core.provider import Provider
from runner.core.retry import Retry
from runner.core.types import Completion, Request
from runner.engine.lanes import Lane, use_lane
from runner.engine.ledger import Ledger
from runner.engine.ledger_writer import LedgerWriter

log = logging.getLogger(__name__)

KIND = "completion"
RETRY = Retry(tries=6, limited_tries=30, longest_s=60.0)
TELL_EVERY_S = 10.0
_told_at = [-TELL_EVERY_S]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one request: a completion, or the reason why there is none."""

    completion: Completion | None = None
    error: str | None = None
    stored: bool = False
    """Whether the completion was already in the ledger."""
    key: str | None = None
    """The key of the completion in the ledger; None for a provider whose answers are not kept."""
    repeated: bool = False
    """Whether an earlier row of the same stage made the same request, and so paid for it."""


UNASKED = Answer()
"""The answer to a request that was not made because the budget was used up."""

Call = Callable[[Request], Awaitable[Answer]]


class Allowance(Protocol):
    """The money that the calls of one stage may spend."""

    def reserve(self, request: Request) -> bool:
        """Set aside the most that a request can cost; return False if there is not enough."""

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Take back what a reserved request did not cost: everything if there is no completion."""


class Caller(ABC):
    """Answers the requests of one stage.

    A context manager that is entered outside the event loop. :meth:`open_calls` gives another one, which is
    entered inside it.
    """

    width: int
    """How many rows to work on at once."""

    def __init__(self, provider: Provider, ledger: Ledger) -> None:
        self._provider, self._ledger = provider, ledger
        self._make_key = _make_key_function(provider)
        self._keys: dict[int, tuple[Request, str]] = {}
        self._looked_up: dict[str, Any] = {}
        self._answers: dict[str, Answer | asyncio.Future[Answer]] = {}

    def __enter__(self) -> Caller:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Release threads and files."""

    @asynccontextmanager
    async def open_calls(self, progress: Callable[[float], None]) -> AsyncIterator[Call]:
        """Yield :meth:`call`; at the end close the provider's connections.

        ``progress`` is called with the share of unfinished work, from 0 to 1, that a service says is done.
        """
        try:
            yield self.call
        finally:
            await self._provider.aclose()

    def look_up(self, requests: Iterable[Request]) -> None:
        """Look up requests that will be made in the ledger, with one query. Blocks."""
        for request in requests:
            self._keys[id(request)] = request, self._make_key(request)
        keys = [key for _, key in self._keys.values()]
        found = self._ledger.get_many(KIND, keys) if self._provider.stored else {}
        self._looked_up = {key: found.get(key) for key in keys}

    async def call(self, request: Request) -> Answer:
        """Return the answer from the ledger, or else from the provider.

        Returns :data:`UNASKED` if the budget does not cover the call. Raises :class:`FatalProviderError` if
        no further call can succeed; any other failure becomes the ``error`` of the answer.
        """
        known = self._keys.get(id(request))
        key = known[1] if known else self._make_key(request)
        if (earlier := self._answers.get(key)) is not None:
            answer = earlier if isinstance(earlier, Answer) else await asyncio.shield(earlier)
            return answer if answer is UNASKED else replace(answer, repeated=True)
        future = self._answers[key] = asyncio.get_running_loop().create_future()
        try:
            answer = self._answers[key] = await self._read_stored(key) or await self._obtain(key, request)
        except BaseException:
            future.cancel()
            raise
        future.set_result(answer)
        return answer

    @abstractmethod
    async def _obtain(self, key: str, request: Request) -> Answer:
        """Return the answer to a request that is not in the ledger."""

    async def _read_stored(self, key: str) -> Answer | None:
        if not self._provider.stored:
            return None
        if key in self._looked_up:
            found = self._looked_up[key]
        else:
            found = await asyncio.to_thread(self._ledger.get, KIND, key)
        return Answer(Completion(**found), stored=True, key=key) if found else None


class LiveCaller(Caller):
    """Makes each call at once, one request per call."""

    def __init__(self, provider: Provider, ledger: Ledger, allowance: Allowance | None = None) -> None:
        super().__init__(provider, ledger)
        self.width = provider.max_concurrency
        self._budget = _BudgetQueue(allowance)
        self._writer = LedgerWriter(ledger, KIND)

    def __enter__(self) -> Caller:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    @asynccontextmanager
    async def open_calls(self, progress: Callable[[float], None]) -> AsyncIterator[Call]:
        """Yield :meth:`call`, paced within the limits of the provider's account."""
        with use_lane(self._provider, self._ledger) as self._lane:
            async with super().open_calls(progress) as call:
                yield call

    async def _obtain(self, key: str, request: Request) -> Answer:
        if not await self._budget.reserve(request):
            return UNASKED
        completion, error = None, None
        try:
            completion = await ask_with_retries(request, self._provider, self._lane)
        except FatalProviderError:
            raise
        except ProviderError as failed:
            error = str(failed) or type(failed).__name__
        except Exception as failed:  # a fault in a user's provider, or an answer of an unexpected shape
            log.debug("a call failed", exc_info=True)
            error = f"{type(failed).__name__}: {failed}"
        if completion and self._provider.stored:
            self._writer.put(key, drop_nulls(completion))
        self._budget.settle(request, completion)
        return Answer(completion, error, key=key if self._provider.stored else None)


async def ask_with_retries(request: Request, provider: Provider, lane: Lane) -> Completion:
    """Make one call within the account's limits; repeat it after a failure that may pass."""
    attempt = 0
    while True:
        attempt += 1
        await lane.wait_turn(request)
        try:
            async with lane.gate:
                started = time.perf_counter()
                completion = await provider.complete(request)
        except RetryableError as error:
            lane.note_failure(error)
            wait_s = RETRY.wait_s(error, attempt)
            log.debug("attempt %d failed: %s", attempt, error)
            if attempt == 1:
                _tell_of_retry(error, wait_s)
            await asyncio.sleep(wait_s)
            continue
        if not isinstance(completion, Completion):
            raise ProviderError(f"{provider.name}: expected a Completion, got {type(completion).__name__}")
        if completion.text is None:  # from a user's provider
            raise ProviderError("the provider returned no text")
        lane.note_answer(request, completion, provider.rate_limits())
        return replace(completion, latency_s=round(time.perf_counter() - started, 4))


def _tell_of_retry(error: RetryableError, wait_s: float) -> None:
    """Log that a call will be repeated, but not for every call: a fault mostly hits many at once."""
    now = time.monotonic()
    if now - _told_at[0] >= TELL_EVERY_S:
        _told_at[0] = now
        retries = (RETRY.limited_tries if error.limited else RETRY.tries) - 1
        log.warning("waiting %.1f s after: %s; retry 1 of %d", wait_s, error, retries)


class _BudgetQueue:
    """An allowance with a queue: a request that is not covered waits for what calls in flight give back."""

    def __init__(self, allowance: Allowance | None) -> None:
        self._allowance = allowance
        self._in_flight = 0
        self._used_up = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self, request: Request) -> bool:
        """Set aside what the request can cost; return False if there will not be enough."""
        if self._allowance is None:
            return True
        while not self._used_up and not self._allowance.reserve(request):
            if not self._in_flight:
                self._used_up = True
                break
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._in_flight += not self._used_up
        self._wake()
        return not self._used_up

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Take back what was not spent, and let a waiting request try again."""
        if self._allowance is not None:
            self._allowance.settle(request, completion)
            self._in_flight -= 1
            self._wake()

    def _wake(self) -> None:
        """Let the next waiting request try; if it succeeds, it lets the one after it try."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


def make_keys(provider: Provider, requests: Iterable[Request]) -> list[str]:
    """Return the ledger key of each request: a digest of all that determines its answer."""
    return list(map(_make_key_function(provider), requests))


def _make_key_function(provider: Provider) -> Callable[[Request], str]:
    identity, by_row = dict(provider.identity()), not provider.stored

    def make_key(request: Request) -> str:
        content = {"provider": identity, "messages": request.messages, **drop_nulls(request.sampling)}
        return digest(content | {"row": request.row} if by_row else content)

    return make_key


def drop_nulls(value: Any) -> dict[str, Any]:
    """Return the fields of a flat dataclass that are not None, by name."""
    pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {name: item for name, item in pairs if item is not None}
