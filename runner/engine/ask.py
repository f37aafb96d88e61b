"""Run a stage: one coroutine per row, which awaits as many calls as it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from runner.core.errors import RunnerError
from runner.core.provider import Provider
from runner.core.types import Request
from runner.engine.allowance import Allowance
from runner.engine.batch import BatchCaller
from runner.engine.call import Answer, Call, Caller, OnAnswer, ignore_answer
from runner.engine.event_loop import run_in_loop
from runner.engine.ledger import Ledger
from runner.engine.live import LiveCaller

Row = TypeVar("Row")
Result = TypeVar("Result")
Advance = Callable[[int], None]
"""Called with the number of rows that were finished since the last call."""

YIELD_EVERY = 256
"""Rows answered from the ledger never wait; after this many, other tasks of the event loop get a turn."""
REPORT_EVERY_S = 0.05


@dataclass(frozen=True)
class Part(Generic[Row, Result]):
    """The rows that one provider is asked about, with ``work(row, call)`` for each.

    ``work`` awaits ``call(request)`` (:meth:`runner.engine.call.Caller.call`) as often as it needs, one call
    after another or several at once. ``prefetch`` holds the requests that are known beforehand; they are
    looked up in the ledger with one query. ``work`` must then make its calls with the same objects.
    """

    rows: Sequence[Row]
    work: Callable[[Row, Call], Awaitable[Result]]
    provider: Provider
    prefetch: Iterable[Request] = ()
    advance: Advance = lambda count: None
    allowance: Allowance | None = None
    on_answer: OnAnswer = ignore_answer
    leaver: str = ""
    """Who is no longer asked once it cannot be reached, for messages; empty: it is always asked."""

    def open(self, ledger: Ledger) -> Caller:
        """Return who makes the calls, with what the ledger has of them."""
        kind = BatchCaller if self.provider.batch else LiveCaller
        return kind(self.provider, ledger, self.allowance)


def ask_parts(parts: Sequence[Part[Row, Result]], ledger: Ledger) -> list[list[Result]]:
    """Do the work of all rows of all parts at once, and return the results in their order.

    Each provider has its own limits. Blocks until all rows are done. Raises
    :class:`~runner.core.errors.FatalProviderError` as soon as no further call of a part can succeed, which
    ends them all; the answers that came before are in the ledger.
    """
    with ExitStack() as opened:
        runs = []
        for part in parts:
            if part.rows:
                caller = opened.enter_context(part.open(ledger))
                caller.on_answer, caller.leaver = part.on_answer, part.leaver
                caller.look_up(part.prefetch)
                runs.append((part, caller))
        found = iter(run_in_loop(_run_parts(runs)) if runs else ())
        return [next(found) if part.rows else [] for part in parts]


async def _run_parts(runs: Sequence[tuple[Part[Any, Any], Caller]]) -> list[list[Any]]:
    work = [
        _run_rows(part.rows, part.work, caller, _Progress(part.advance, len(part.rows)))
        for part, caller in runs
    ]
    if len(work) == 1:
        return [await work[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


def ask_all(
    requests: Sequence[Request],
    provider: Provider,
    ledger: Ledger,
    *,
    advance: Advance = lambda count: None,
    allowance: Allowance | None = None,
    on_answer: OnAnswer = ignore_answer,
) -> list[Answer]:
    """Return the answers to requests, in their order. Blocks and raises as :func:`ask_parts`."""

    async def ask(request: Request, call: Call) -> Answer:
        return await call(request)

    part = Part(requests, ask, provider, requests, advance, allowance, on_answer)
    return ask_parts([part], ledger)[0]


def collect_calls(
    rows: Iterable[Row],
    work: Callable[[Row, Call], Awaitable[object]],
    guess: Callable[[Request], Answer],
) -> list[list[Request]]:
    """Return the requests that ``work`` would make for each row if ``guess`` answered them. Asks nothing."""

    async def collect(row: Row) -> list[Request]:
        requests: list[Request] = []

        async def call(request: Request) -> Answer:
            requests.append(request)
            return guess(request)

        await work(row, call)
        return requests

    async def collect_all() -> list[list[Request]]:
        return [await collect(row) for row in rows]

    return run_in_loop(collect_all())


async def _run_rows(
    rows: Sequence[Row],
    work: Callable[[Row, Call], Awaitable[Result]],
    caller: Caller,
    progress: _Progress,
) -> list[Result]:
    results: dict[int, Result] = {}
    indices, headway = iter(range(len(rows))), caller.headway
    headway.rows = len(rows)

    async def work_on(call: Call) -> None:
        for index in indices:
            headway.begun += 1
            results[index] = await work(rows[index], call)
            headway.done += 1
            progress.add_row()
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    try:
        async with caller.open_calls(progress.set_share) as call, asyncio.TaskGroup() as group:
            caller.start_more = lambda: group.create_task(work_on(call))
            for _ in range(min(caller.width, len(rows))):
                caller.start_more()
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    finally:
        progress.report()
    if missing := len(rows) - len(results):
        raise RunnerError(f"{missing} of {len(rows)} rows were lost: a call cancelled the task that made it")
    return [results[index] for index in range(len(rows))]


class _Progress:
    """Reports how many more rows are done, no more often than a screen can show."""

    def __init__(self, advance: Advance, rows: int) -> None:
        self._advance, self._rows = advance, rows
        self._done = self._reported = 0
        self._share = 0.0
        self._reported_at = 0.0

    def add_row(self) -> None:
        """Count one finished row."""
        self._done += 1
        now = asyncio.get_running_loop().time()
        if now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            self.report()

    def set_share(self, share: float) -> None:
        """Note the share of the work, from 0 to 1, that the service says is done."""
        self._share = share
        self.report()

    def report(self) -> None:
        """Report the rows that were finished since the last report."""
        done = max(self._done, int(self._share * self._rows))
        if done > self._reported:
            self._advance(done - self._reported)
            self._reported = done
