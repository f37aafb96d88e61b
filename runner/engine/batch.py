"""Answers through a batch API: they cost less and arrive within a day, and the process need not stay.

    rows ─ claimed for a batch ─ upload ─ create ─ poll ─ results into the ledger ─ released

A row is claimed in the ledger before its batch is created, and released when the batch is collected. Another
process that needs the row in the meantime waits for that batch and makes no second one. So does the next run
after this process was killed. Batch answers and live answers are the same ledger entries: a live run finds
what a batch answered, and a batch does not ask what was answered live.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any

from runner.core.errors import FatalProviderError, ProviderError, describe_failure
from runner.core.provider import Batcher, Provider
from runner.core.types import Completion, Request
from runner.engine.allowance import Allowance
from runner.engine.batch_jobs import ROW, BatchJobs
from runner.engine.call import UNASKED, Answer, Call, Caller, read_answers
from runner.engine.ledger import Ledger

ROUNDS = 3  # batches that may end without an answer to a row before the row is left to the next run
LEFT_OVER = f"{ROUNDS} batches ended without an answer to this row; the next run asks again"
GATHER_S = 0.05
"""A batch is made this long after the last request: by then every row waits for an answer."""
UNLIMITED = 10**9


class BatchCaller(Caller):
    """Gathers the requests of all rows and answers them in batches, in a thread that may wait for hours."""

    width = UNLIMITED

    def __init__(self, provider: Provider, ledger: Ledger, allowance: Allowance | None = None) -> None:
        super().__init__(provider, ledger)
        self._allowance = allowance
        self._stopped = threading.Event()
        self._waiting: dict[str, tuple[Request, asyncio.Future[Answer]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    @asynccontextmanager
    async def open_calls(self, progress: Callable[[float], None]) -> AsyncIterator[Call]:
        """Yield :meth:`call`; ``progress`` is called with the share of the current batch that is done."""
        self._loop, self._progress = asyncio.get_running_loop(), progress
        async with super().open_calls(progress) as call:
            yield call

    async def _obtain(self, key: str, request: Request) -> Answer:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[key] = request, future
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(GATHER_S, self._submit)
        return await future

    def _submit(self) -> None:
        """Start to answer the waiting requests; later ones wait until these are answered."""
        if self._busy or not self._waiting:
            return
        waiting, self._waiting, self._busy = self._waiting, {}, True
        threading.Thread(target=self._work, args=(waiting,), name="batch", daemon=True).start()

    def _work(self, waiting: Mapping[str, tuple[Request, asyncio.Future[Answer]]]) -> None:
        requests = {key: request for key, (request, _) in waiting.items()}
        try:
            stored = sum(answer is not None for answer in self._looked_up.values())
            rounds = Rounds(self._provider, self._ledger, self._allowance, self._report, self._pause, stored)
            answers, failure = rounds.answer(requests), None
        except BaseException as error:
            answers, failure = {}, self._make_raisable(error)
        self._loop.call_soon_threadsafe(self._hand_out, waiting, answers, failure)

    def _make_raisable(self, error: BaseException) -> BaseException:
        """Return an error that can be raised in a task: some would end it, or the program, without a word."""
        if isinstance(error, KeyboardInterrupt | Exception) and not isinstance(error, StopIteration):
            return error
        wrapped = ProviderError(f"{self._provider.name}: the batch failed: {describe_failure(error)}")
        wrapped.__cause__ = error
        return wrapped

    def _hand_out(
        self,
        waiting: Mapping[str, tuple[Request, asyncio.Future[Answer]]],
        answers: Mapping[str, Answer],
        failure: BaseException | None,
    ) -> None:
        self._busy = False
        for key, (_, future) in waiting.items():
            if future.done():
                continue
            if failure:
                future.set_exception(failure)
            else:
                future.set_result(answers.get(key, UNASKED))
        self._submit()

    def _report(self, share: float) -> None:
        self._loop.call_soon_threadsafe(self._progress, share)

    def _pause(self, seconds: float) -> None:
        """Sleep; raise ``InterruptedError`` once nobody waits for the answers."""
        if self._stopped.wait(seconds):
            raise InterruptedError("nobody waits for this batch any more; the next run collects it")


class Rounds:
    """Makes batches, one round after another, until each request has an answer. Blocks."""

    def __init__(
        self,
        provider: Provider,
        ledger: Ledger,
        allowance: Allowance | None,
        report: Callable[[float], None],
        pause: Callable[[float], None],
        stored: int = 0,
    ) -> None:
        self._stored = stored
        self._batcher: Batcher = provider.batcher()
        self._jobs = BatchJobs(provider, self._batcher, ledger, pause)
        self._ledger, self._allowance, self._report = ledger, allowance, report
        self._left: dict[str, Request] = {}
        self._total = 0
        self._answers: dict[str, Answer] = {}
        self._reserved: set[str] = set()
        self._rounds: Counter[str] = Counter()

    def answer(self, requests: Mapping[str, Request]) -> dict[str, Answer]:
        """Return the answers by key; requests that the budget does not cover have none.

        Raises :class:`~runner.core.errors.FatalProviderError` if the service refuses a whole batch.
        """
        self._left, self._total = dict(requests), len(requests)
        while self._left:
            owners = self._find_owners()
            for batch in dict.fromkeys(owners.values()):
                self._finish(batch, [key for key, owner in owners.items() if owner == batch])
        return self._answers

    def _find_owners(self) -> dict[str, str]:
        """Return the batch of each request that has no answer yet; make batches for requests that have none.

        Requests that another run has answered since are taken from the ledger and left out.
        """
        self._take_answers(read_answers(self._ledger, self._left), stored=True)
        owners: dict[str, str] = self._ledger.get_many(ROW, self._left)
        unclaimed = {key: request for key, request in self._left.items() if key not in owners}
        affordable = dict(takewhile(lambda item: self._reserve(*item), unclaimed.items()))
        if not owners and not affordable:  # no batch is under way that could give money back
            self._left = {}
        for lines in self._cut(affordable):
            owners |= self._jobs.claim(lines)
        return owners

    def _cut(self, requests: Mapping[str, Request]) -> Iterator[dict[str, bytes]]:
        """Yield the lines of each input file, by key: as many as the service takes in one file."""
        part: dict[str, bytes] = {}
        size = 0
        for key, request in requests.items():
            line = self._batcher.line(key, request)
            size += len(line) + 1
            if part and (len(part) == self._batcher.most_requests or size > self._batcher.most_bytes):
                yield part
                part, size = {}, len(line) + 1
            part[key] = line
        if part:
            yield part

    def _finish(self, batch: str, keys: Sequence[str]) -> None:
        """Wait for a batch, collect it, and take its answers and failures for these requests."""
        entry, failure = self._jobs.wait_until_made(batch), None
        if entry and not entry.get("closed"):
            done = self._total - len(self._left)
            status = self._jobs.wait_until_ended(
                entry, lambda share: self._report((done + share * len(keys)) / self._total)
            )
            entry, failure = self._jobs.collect(batch, entry, status)
        if entry:
            self._read_outcome(entry, keys)
        if failure and not self._is_of_rows(failure, len(keys)):
            raise failure

    def _is_of_rows(self, failure: ProviderError, refused: int) -> bool:
        """Whether it is a refusal (403), and answers of earlier runs show that the key is good.

        The rule is that of :class:`runner.engine.guard.Calls`.
        """
        return isinstance(failure, FatalProviderError) and failure.refused and self._stored >= refused

    def _read_outcome(self, entry: Mapping[str, Any], keys: Sequence[str]) -> None:
        """Take the answers and failures of a collected batch; requests with neither are asked again."""
        self._take_answers(read_answers(self._ledger, keys), stored=not self._jobs.is_mine(entry))
        for key in [key for key in keys if key in self._left]:
            self._rounds[key] += 1
            if key in entry["errors"]:
                self._close(key, Answer(error=entry["errors"][key]))
            elif self._rounds[key] == ROUNDS:
                self._close(key, Answer(error=LEFT_OVER))
            else:
                self._settle(key, None)

    def _take_answers(self, answers: Mapping[str, Completion], stored: bool) -> None:
        for key, completion in answers.items():
            self._close(key, Answer(completion, stored=stored, key=key))

    def _close(self, key: str, answer: Answer) -> None:
        self._settle(key, None if answer.stored else answer.completion)
        del self._left[key]
        self._answers[key] = answer
        self._report(1 - len(self._left) / self._total)

    def _reserve(self, key: str, request: Request) -> bool:
        if self._allowance is None or key in self._reserved:
            return True
        if not self._allowance.reserve(request):
            return False
        self._reserved.add(key)
        return True

    def _settle(self, key: str, completion: Completion | None) -> None:
        if self._allowance and key in self._reserved:
            self._reserved.remove(key)
            self._allowance.settle(self._left[key], completion)
