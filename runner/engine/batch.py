"""Answers through a batch API: for less money, within a day, and the process may go and come back.

    rows ─ claimed for a batch ─ upload ─ create ─ poll ─ results into the ledger ─ released

A row is claimed in the ledger before its batch is created, and released when the batch is collected. Whoever
comes meanwhile, beside it or after a kill, waits for that batch and makes no second one. Results are the
entries that live answers are: the next live run finds them, and a batch asks nothing that was answered live.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any

from runner.core.provider import Batcher, Provider
from runner.core.types import Completion, Request
from runner.engine.batch_jobs import ROW, BatchJobs
from runner.engine.call import KIND, UNASKED, Allowance, Answer, Call, Caller
from runner.engine.ledger import Ledger

ROUNDS = 3  # batches in a row that may end without an answer to a row before its turn passes to the next run
LEFT_OVER = f"{ROUNDS} batches ended before its turn; the next run asks again"
GATHER_S = 0.05
"""So long after the last request a batch is made of those that wait; none comes while all rows wait."""
ALL = 10**9


class BatchCaller(Caller):
    """Gathers the requests of all rows and answers them batch by batch, in a thread that may wait hours."""

    width = ALL

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
    async def answering(self, progress: Callable[[float], None]) -> AsyncIterator[Call]:
        """As everywhere; ``progress`` is told what the service says of the batch that is under way."""
        self._loop, self._progress = asyncio.get_running_loop(), progress
        async with super().answering(progress) as call:
            yield call

    async def _obtain(self, key: str, request: Request) -> Answer:
        coming: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[key] = request, coming
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(GATHER_S, self._submit)
        return await coming

    def _submit(self) -> None:
        """Hand over what waits; what comes meanwhile is handed over when that is done."""
        if self._busy or not self._waiting:
            return
        waiting, self._waiting, self._busy = self._waiting, {}, True
        threading.Thread(target=self._work, args=(waiting,), name="batch", daemon=True).start()

    def _work(self, waiting: Mapping[str, tuple[Request, asyncio.Future[Answer]]]) -> None:
        requests = {key: request for key, (request, _) in waiting.items()}
        try:
            rounds = Rounds(self._provider, self._ledger, self._allowance, self._tell, self._pause)
            answers, failure = rounds.answer(requests), None
        except BaseException as error:
            answers, failure = {}, error
        self._loop.call_soon_threadsafe(self._hand_out, waiting, answers, failure)

    def _hand_out(
        self,
        waiting: Mapping[str, tuple[Request, asyncio.Future[Answer]]],
        answers: Mapping[str, Answer],
        failure: BaseException | None,
    ) -> None:
        self._busy = False
        for key, (_, coming) in waiting.items():
            if coming.done():
                continue
            if failure:
                coming.set_exception(failure)
            else:
                coming.set_result(answers.get(key, UNASKED))
        self._submit()

    def _tell(self, share: float) -> None:
        self._loop.call_soon_threadsafe(self._progress, share)

    def _pause(self, seconds: float) -> None:
        """Sleep, unless whoever waits for the answers has gone."""
        if self._stopped.wait(seconds):
            raise InterruptedError("nobody waits for this batch any more; the next run goes on with it")


class Rounds:
    """Batches, one round after another, until each request has an answer. Blocks."""

    def __init__(
        self,
        provider: Provider,
        ledger: Ledger,
        allowance: Allowance | None,
        tell: Callable[[float], None],
        pause: Callable[[float], None],
    ) -> None:
        self._batcher: Batcher = provider.batcher()
        self._jobs = BatchJobs(provider, self._batcher, ledger, pause)
        self._ledger, self._allowance, self._tell = ledger, allowance, tell
        self._left: dict[str, Request] = {}
        self._all = 0
        self._answers: dict[str, Answer] = {}
        self._reserved: set[str] = set()
        self._passed: Counter[str] = Counter()

    def answer(self, requests: Mapping[str, Request]) -> dict[str, Answer]:
        """The answers to requests by key; without those that the budget left over.

        Raises :class:`~runner.core.errors.FatalProviderError` if a batch is refused as a whole.
        """
        self._left, self._all = dict(requests), len(requests)
        while self._left:
            owners = self._find_owners()
            for batch in dict.fromkeys(owners.values()):
                self._finish(batch, [key for key, owner in owners.items() if owner == batch])
        return self._answers

    def _find_owners(self) -> dict[str, str]:
        """The batch of each request that is left, except those that another run has just answered.

        New batches are made for those that have none.
        """
        self._take(self._ledger.get_many(KIND, self._left), stored=True)
        owners: dict[str, str] = self._ledger.get_many(ROW, self._left)
        free = {key: request for key, request in self._left.items() if key not in owners}
        payable = dict(takewhile(lambda item: self._reserve(*item), free.items()))
        if not owners and not payable:  # and nothing is under way that could leave money
            self._left = {}
        for lines in self._cut(payable):
            owners |= self._jobs.claim(lines)
        return owners

    def _cut(self, requests: Mapping[str, Request]) -> Iterator[dict[str, bytes]]:
        """Lines of input files, as many in each as the service takes."""
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
        """Wait for a batch, collect it, and take what it says of these requests."""
        entry, failure = self._jobs.wait_until_made(batch), None
        if entry and not entry.get("closed"):
            done = self._all - len(self._left)
            status = self._jobs.wait_until_ended(
                entry, lambda share: self._tell((done + share * len(keys)) / self._all)
            )
            entry, failure = self._jobs.collect(batch, entry, status)
        if entry:
            self._learn(entry, keys)
        if failure:
            raise failure

    def _learn(self, entry: Mapping[str, Any], keys: Sequence[str]) -> None:
        """Take a collected batch's answers and failures; what it says nothing of is asked again."""
        self._take(self._ledger.get_many(KIND, keys), stored=not self._jobs.is_mine(entry))
        for key in [key for key in keys if key in self._left]:
            self._passed[key] += 1
            if key in entry["errors"]:
                self._close(key, Answer(error=entry["errors"][key]))
            elif self._passed[key] == ROUNDS:
                self._close(key, Answer(error=LEFT_OVER))
            else:
                self._settle(key, None)

    def _take(self, known: Mapping[str, Any], stored: bool) -> None:
        for key, value in known.items():
            self._close(key, Answer(Completion(**value), stored=stored, key=key))

    def _close(self, key: str, answer: Answer) -> None:
        self._settle(key, None if answer.stored else answer.completion)
        del self._left[key]
        self._answers[key] = answer
        self._tell(1 - len(self._left) / self._all)

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
