"""Calls made at once, one request each: budget, pace, gate, retries, and what others have under way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

from runner.core.adapt import check_completion, wait_for_answer
from runner.core.errors import (
    FatalProviderError,
    ProviderError,
    RetryableError,
    WaitError,
    describe_failure,
    find_code_line,
)
from runner.core.provider import Provider
from runner.core.retry import Retry
from runner.core.types import Completion, Request
from runner.engine.allowance import Allowance, BudgetQueue
from runner.engine.call import KIND, UNASKED, Answer, Call, Caller, drop_nulls, read_answers
from runner.engine.guard import GONE_AFTER, Calls, is_interrupt, read_limits, tell_of_retry
from runner.engine.lanes import use_lane
from runner.engine.ledger import Ledger
from runner.engine.ledger.writer import LedgerWriter
from runner.engine.under_way import Blocks, find_under_way, use_claims

log = logging.getLogger(__name__)

RETRY = Retry(tries=6, limited_tries=30, longest_s=60.0)
NOT_ASKED = "is not asked any more in this run"
HOLD_S = 15.0  # between two looks whether a server that is gone is back


class LiveCaller(Caller):
    """Makes each call at once, one request per call.

    A ``leaver`` whose server could not be reached for :data:`~runner.engine.guard.GONE_AFTER` calls in a row
    is not asked any more. Until it has answered once, no more than so many calls are made at once.
    """

    def __init__(self, provider: Provider, ledger: Ledger, allowance: Allowance | None = None) -> None:
        super().__init__(provider, ledger)
        self.width = provider.max_concurrency
        self._budget = BudgetQueue(allowance)
        self._writer = LedgerWriter(ledger, KIND)
        self._held = ExitStack()
        self._retry = replace(RETRY, max_wait_s=provider.max_wait_s)
        self._logged: set[tuple[type, str]] = set()

    def __enter__(self) -> Caller:
        self._claims = self._held.enter_context(use_claims(self._ledger.url))
        self._writer.start()
        self._held.callback(self._writer.close)  # before the claims are given up
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @asynccontextmanager
    async def open_calls(self, progress: Callable[[float], None]) -> AsyncIterator[Call]:
        """Yield :meth:`call`, paced within the limits of the provider's account."""
        missing = [key for key, found in self._looked_up.items() if not found]
        self._blocks = Blocks(self._claims, missing, max(16, 2 * self.width), self._find, self._begin_more)
        self._under_way = find_under_way(self._ledger.url)
        self._calls = Calls(stored=sum(answer is not None for answer in self._looked_up.values()))
        self._begun, self._goes_on = 0, asyncio.Event()
        with use_lane(self._provider, self._ledger) as self._lane, self._under_way.join(self._learn):
            if not self.leaver and (self._lane.was_answered or any(self._looked_up.values())):
                self._goes_on.set()
            async with super().open_calls(progress) as call:
                try:
                    yield call
                finally:
                    await self._blocks.close()

    def _find(self, keys: Sequence[str]) -> Mapping[str, Completion]:
        return read_answers(self._ledger, keys)

    def _begin_more(self) -> None:
        self.start_more()

    async def _obtain(self, key: str, request: Request) -> Answer:
        if not self._provider.stored:
            return await self._buy(key, request)
        answer, was_shared = await self._under_way.get(
            key, lambda: self._settle(key, request), lambda answer: answer.completion is not None
        )
        return replace(answer, stored=True) if was_shared else answer

    def _learn(self, key: str, answer: Answer) -> None:
        """Note an answer that another stage got after this one had looked into the ledger."""
        if key in self._looked_up:
            self._looked_up[key] = answer.completion

    async def _settle(self, key: str, request: Request) -> Answer:
        """Return the answer that another process got, or else buy it."""
        if completion := await self._blocks.settle(key):
            return Answer(completion, stored=True, key=key)
        answer = await self._buy(key, request)
        if answer.error:
            await asyncio.to_thread(self._claims.drop, key)
        return answer

    async def _buy(self, key: str, request: Request) -> Answer:
        if not await self._budget.reserve(request):
            return UNASKED
        try:
            completion, error = await self._ask(request)
            if completion and self._provider.stored:
                self._writer.put(key, drop_nulls(completion))
            self._budget.settle(request, completion)
        finally:
            self._budget.leave()
        return Answer(completion, error, key=key if self._provider.stored else None)

    async def _ask(self, request: Request) -> tuple[Completion | None, str | None]:
        """Return the completion, or the error of the row; raise only what stops the stage.

        The first call to an account is alone until the server has said something: a mistake that every call
        would meet is met by one.
        """
        if self._begun >= (GONE_AFTER if self.leaver else 1):
            await self._goes_on.wait()
        self._begun += 1
        if self.leaver and self._calls.is_gone:
            return None, f"{self.leaver} {NOT_ASKED}, since its server could not be reached"
        try:
            with self._calls.follow() as mark:
                completion = await self._ask_with_retries(request, mark)
            self._goes_on.set()
            return completion, None
        except WaitError as error:
            await self._calls.stop(error)
            raise
        except FatalProviderError as error:
            if error.refused and error.status in (None, 403):
                self._goes_on.set()  # others may show that it is the row's
            if not (error.refused and await self._calls.concern_rows(error)):
                raise
            return None, describe_failure(error)
        except BaseException as error:  # such as a fault in a user's provider, or its call of sys.exit
            if is_interrupt(error):
                self._goes_on.set()
                raise
            if self.leaver and isinstance(error, RetryableError) and not error.limited:
                self._note_unreached()
            else:
                self._goes_on.set()
            if isinstance(error, ProviderError) and (error.status or 500) < 500:
                self._calls.note_life()
            return None, self._describe(error)

    def _note_unreached(self) -> None:
        """Count a call that the server of a leaver did not answer, and say so when it leaves."""
        if self._calls.note_unreached():
            log.warning(
                "%s %s: its server could not be reached for %d questions in a row; the same command asks it",
                self.leaver,
                NOT_ASKED,
                GONE_AFTER,
            )
        if self._calls.is_gone or self._calls.has_answers:
            self._goes_on.set()

    async def _ask_with_retries(self, request: Request, mark: object) -> Completion:
        """Make one call within the account's limits; repeat it after a failure that may pass."""
        provider, lane, attempt, failed_at = self._provider, self._lane, 0, time.monotonic()
        while True:
            attempt += 1
            await lane.wait_turn(request)
            try:
                async with lane.gate:
                    with self._calls.send(mark):
                        started = time.perf_counter()
                        completion = await wait_for_answer(provider.complete(request), provider.name)
            except RetryableError as error:
                self._retry.refuse_long_wait(error)
                if error.limited or not self.leaver:
                    self._goes_on.set()
                elif self._calls.is_gone:
                    raise
                lane.note_failure(error)
                wait_s = self._find_wait(error, attempt, failed_at)
                failed_at = time.monotonic()
                log.debug("attempt %d failed: %s", attempt, error)
                tell_of_retry(error, wait_s, attempt, self._retry)
                await asyncio.sleep(wait_s)
                continue
            completion = check_completion(completion, provider.name)
            lane.note_answer(request, completion, read_limits(provider))
            return replace(completion, latency_s=round(time.perf_counter() - started, 4))

    def _find_wait(self, error: RetryableError, attempt: int, failed_at: float) -> float:
        """Return the seconds to wait before the next attempt; raise if there is none.

        The last attempt of a row is the last one only if others were answered since the one before, at
        ``failed_at``. Otherwise the server is gone: another row is begun, and both wait for the server.
        After a long silence the run stops, unless it is nearly done: then the rows that are left fail.
        """
        rows = self.headway
        may_wait = self._calls.has_answers or not self.leaver
        waits = (
            may_wait
            and not self._calls.was_alive_since(failed_at)
            and (rows.has_more or (self._calls.has_answers and rows.rows - rows.done > 1))
        )
        silence = self._calls.find_silence(error, self._retry.max_wait_s) if waits and attempt > 1 else None
        fails = silence and rows.is_nearly_done
        if silence and not fails and not error.limited:
            raise silence from error
        try:
            return self._retry.wait_s(error, attempt)
        except RetryableError:
            if fails or not waits:
                raise
        if silence:
            raise silence from error
        self.start_more()
        return min(self._retry.longest_s, HOLD_S)

    def _describe(self, error: BaseException) -> str:
        """Return a fault as the error of its row; log the traceback of the first of each kind and place."""
        if isinstance(error, ProviderError):
            return describe_failure(error)
        place = find_code_line(error)
        if (kind := (type(error), place)) not in self._logged:
            self._logged.add(kind)
            log.info("a call failed", exc_info=error)
        return f"{describe_failure(error)}{place}"
