"""A stage: one coroutine for each row, over the calls that it makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from runner.core.provider import Provider
from runner.core.types import Request
from runner.engine.batch import BatchCaller
from runner.engine.call import Allowance, Answer, Call, Caller, LiveCaller
from runner.engine.event_loop import run_in_loop
from runner.engine.ledger import Ledger

Row = TypeVar("Row")
Result = TypeVar("Result")
Advance = Callable[[int], None]
"""Is told how many more rows are done."""

YIELD_EVERY = 256
"""Rows from the ledger need no waiting; after so many of them others have their turn in the event loop."""
TELL_EVERY_S = 0.05


def ask_rows(
    rows: Sequence[Row],
    work: Callable[[Row, Call], Awaitable[Result]],
    provider: Provider,
    ledger: Ledger,
    *,
    coming: Iterable[Request] = (),
    advance: Advance = lambda count: None,
    allowance: Allowance | None = None,
) -> list[Result]:
    """Run ``work(row, call)`` for every row and return the results in the order of the rows.

    ``work`` awaits ``call(request)`` as often as it needs (:meth:`runner.engine.call.Caller.call`): one after
    another, or several at once. ``coming`` are requests that it will make, as far as they are known: the same
    objects, which are then looked up in the ledger all at once. Blocks. Raises
    :class:`~runner.core.errors.FatalProviderError` as soon as no call can succeed; what is finished is in the
    ledger then.
    """
    if not rows:
        return []
    kind = BatchCaller if provider.batch else LiveCaller
    with kind(provider, ledger, allowance) as caller:
        caller.look_up(coming)
        return run_in_loop(_run_rows(rows, work, caller, _Progress(advance, len(rows))))


def ask_all(
    requests: Sequence[Request],
    provider: Provider,
    ledger: Ledger,
    *,
    advance: Advance = lambda count: None,
    allowance: Allowance | None = None,
) -> list[Answer]:
    """The answers to requests, in their order."""

    async def ask(request: Request, call: Call) -> Answer:
        return await call(request)

    return ask_rows(requests, ask, provider, ledger, coming=requests, advance=advance, allowance=allowance)


def collect_calls(
    rows: Iterable[Row],
    work: Callable[[Row, Call], Awaitable[object]],
    guess: Callable[[Request], Answer],
) -> list[list[Request]]:
    """The requests that each row would make, if the answers were as guessed. Asks nothing."""

    async def collect(row: Row) -> list[Request]:
        made: list[Request] = []

        async def call(request: Request) -> Answer:
            made.append(request)
            return guess(request)

        await work(row, call)
        return made

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
    places = iter(range(len(rows)))

    async def work_on(call: Call) -> None:
        for place in places:
            results[place] = await work(rows[place], call)
            progress.add_row()
            if place % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    try:
        async with caller.answering(progress.set_share) as call, asyncio.TaskGroup() as group:
            for _ in range(min(caller.width, len(rows))):
                group.create_task(work_on(call))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        progress.tell()
    return [results[place] for place in range(len(rows))]


class _Progress:
    """Tells how many more rows are done, not more often than a screen can show."""

    def __init__(self, advance: Advance, rows: int) -> None:
        self._advance, self._rows = advance, rows
        self._done = self._told = 0
        self._share = 0.0
        self._told_at = 0.0

    def add_row(self) -> None:
        """A row is done."""
        self._done += 1
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            self.tell()

    def set_share(self, share: float) -> None:
        """So much of what is under way is done, as the service says."""
        self._share = share
        self.tell()

    def tell(self) -> None:
        """Tell what has not been told."""
        done = max(self._done, int(self._share * self._rows))
        if done > self._told:
            self._advance(done - self._told)
            self._told = done
