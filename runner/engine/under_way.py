"""Requests under way: what several stages or processes want at the same time is asked once.

Stages of one process, such as the points of a sweep, share the calls themselves. Processes on one ledger
share by claims: a stage claims the next keys in blocks, one transaction each, and leaves out what another
process has claimed. At its end it waits for the other's answers, or asks after all if there is none.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from runner.core.errors import RunnerError
from runner.engine.ledger import Ledger
from runner.engine.ledger.claims import is_alive, is_mine, make_claim

log = logging.getLogger(__name__)
T = TypeVar("T")

ASKING = "asking"
KEEP_S = 5.0
"""How long an answer can be had here after it came: longer than the ledger's writer needs."""
POLL_S = 0.5
QUICK_S = 1.0
"""The next block is twice as large if the last one was used up within this time."""
ALIVE_S = 5.0
"""How long another process is taken to live after it was seen to."""


class UnderWay:
    """The requests that stages of this process make on one ledger. Used in the event loop only."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._stages: list[Callable[[str, Any], None]] = []

    @contextmanager
    def join(self, learn: Callable[[str, Any], None]) -> Iterator[None]:
        """Count as a stage within the block; ``learn(key, answer)`` is called with what other stages get."""
        self._stages.append(learn)
        try:
            yield
        finally:
            self._stages.remove(learn)

    async def get(
        self, key: str, ask: Callable[[], Awaitable[T]], is_good: Callable[[T], bool]
    ) -> tuple[T, bool]:
        """Return the answer to a request, and whether another stage asked. If it got none, ask.

        Only answers that ``is_good`` accepts are passed on.
        """
        while (other := self._answers.get(key)) is not None:
            answer = await asyncio.shield(other)
            if answer is not None:
                return answer, True
        future = self._answers[key] = asyncio.get_running_loop().create_future()
        good = None
        try:
            answer = await ask()
            good = answer if is_good(answer) else None
            return answer, False
        finally:
            future.set_result(good)
            if good is None:
                del self._answers[key]
            else:
                asyncio.get_running_loop().call_later(KEEP_S, self._answers.pop, key)
                for learn in self._stages:
                    learn(key, good)


_by_ledger: dict[str, UnderWay] = {}


def find_under_way(ledger_url: str) -> UnderWay:
    """Return what is under way on a ledger."""
    return _by_ledger.setdefault(ledger_url, UnderWay())


class Claims:
    """The keys that this process has claimed to ask. All methods block and may be called in any thread.

    The ledger is opened for the first claim: a stage that has all answers makes none.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: tuple[Ledger, dict[str, Any]] | None = None
        self._closed = False
        self._turn = threading.Lock()
        self._seen: dict[str, float] = {}
        self._users = 0

    def add(self, keys: Sequence[str]) -> set[str]:
        """Claim the keys that nobody has claimed who lives; return those that are this process's now."""
        ledger, own = self._open()
        owners = ledger.add_many(ASKING, dict.fromkeys(keys, own))
        dead = {claim["owner"]: claim for claim in owners.values() if not self._is_alive(ledger, claim)}
        if dead:
            for claim in dead.values():
                ledger.remove_equal(ASKING, claim)
            owners = ledger.add_many(ASKING, dict.fromkeys(keys, own))
        return {key for key, claim in owners.items() if is_mine(ledger, claim)}

    def drop(self, key: str) -> None:
        """Give up one claim, for which there is no answer."""
        if self._opened:
            self._opened[0].remove(ASKING, key)

    def close(self) -> None:
        """Give up all claims."""
        with self._turn:
            self._closed = True
            if self._opened:
                ledger, own = self._opened
                ledger.remove_equal(ASKING, own)
                ledger.close()

    def _open(self) -> tuple[Ledger, dict[str, Any]]:
        with self._turn:
            if self._closed:
                raise RunnerError("the claims are given up")
            if self._opened is None:
                ledger = Ledger(self._url)
                self._opened = ledger, make_claim(ledger)
            return self._opened

    def _is_alive(self, ledger: Ledger, claim: dict[str, Any]) -> bool:
        owner = str(claim["owner"])
        if time.monotonic() - self._seen.get(owner, -ALIVE_S) < ALIVE_S:
            return True
        if is_alive(ledger, claim):
            self._seen[owner] = time.monotonic()
            return True
        return False


class Blocks:
    """The keys that one stage has to ask, claimed in blocks ahead of its calls. Used in the event loop.

    ``look_up`` returns what the ledger has under keys; it may block. ``start_more`` is called when a row has
    to wait for another process, so that the stage may begin with another row.
    """

    def __init__(
        self,
        claims: Claims,
        keys: Sequence[str],
        size: int,
        look_up: Callable[[Sequence[str]], Mapping[str, Any]],
        start_more: Callable[[], None],
    ) -> None:
        self._claims, self._keys, self._size, self._look_up = claims, keys, size, look_up
        self._places = {key: place for place, key in enumerate(keys)}
        self._claimed: dict[str, asyncio.Future[bool]] = {}
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._polls, self._claimed_at = False, -QUICK_S
        self._start_more = start_more

    async def settle(self, key: str) -> Any | None:
        """Return what another process got for a key, or None as soon as this one is to ask."""
        if key not in self._places:
            return None
        if key not in self._claimed:
            self._start(self._claim(self._take_block(key)))
        if await asyncio.shield(self._claimed[key]):
            return None
        self._start_more()
        return await asyncio.shield(self._waiting[key])

    async def close(self) -> None:
        """Stop what is left."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _take_block(self, key: str) -> list[str]:
        now = time.monotonic()
        if now - self._claimed_at < QUICK_S:
            self._size *= 2
        self._claimed_at = now
        rest = islice(self._keys, self._places[key], None)
        block = list(islice((key for key in rest if key not in self._claimed), self._size))
        self._claimed |= {key: asyncio.get_running_loop().create_future() for key in block}
        return block

    async def _claim(self, block: list[str]) -> None:
        mine, found = await asyncio.to_thread(self._try, block)
        for key in block:
            if key not in mine or key in found:
                self._waiting[key] = asyncio.get_running_loop().create_future()
            self._claimed[key].set_result(key in mine and key not in found)
        self._hand_out(mine, found)
        if not self._polls:
            self._polls = True
            self._start(self._poll())

    async def _poll(self) -> None:
        while left := [key for key, future in self._waiting.items() if not future.done()]:
            await asyncio.sleep(POLL_S)
            self._hand_out(*await asyncio.to_thread(self._try, left))
        self._polls = False

    def _try(self, keys: list[str]) -> tuple[set[str], Mapping[str, Any]]:
        """Claim keys, then look for answers: whoever gives up a claim has written its answer before."""
        try:
            return self._claims.add(keys), self._look_up(keys)
        except Exception as error:  # claims only save money; a database that is gone is told by its writer
            log.debug("keys were not claimed: %r", error)
            return set(keys), {}

    def _hand_out(self, mine: set[str], found: Mapping[str, Any]) -> None:
        for key, future in self._waiting.items():
            if not future.done() and (key in found or key in mine):
                future.set_result(found.get(key))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_claims: dict[str, Claims] = {}
_turn = threading.Lock()


@contextmanager
def use_claims(ledger_url: str) -> Iterator[Claims]:
    """Yield the claims of this process on a ledger, which are given up when no stage uses them any more."""
    with _turn:
        claims = _claims.get(ledger_url) or _claims.setdefault(ledger_url, Claims(ledger_url))
        claims._users += 1
    try:
        yield claims
    finally:
        with _turn:
            claims._users -= 1
            if not claims._users:
                del _claims[ledger_url]
                claims.close()
