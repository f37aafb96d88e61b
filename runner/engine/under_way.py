"""Requests under way in this process: the points of a sweep ask each question once, not once each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

KEEP_S = 5.0
"""How long an answer can be had here after it came: longer than the ledger's writer needs."""


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
