"""The money of one stage, and the queue of the calls that wait for it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from runner.core.types import Completion, Request


class Allowance(Protocol):
    """The money that the calls of one stage may spend."""

    def reserve(self, request: Request) -> bool:
        """Set aside the most that a request can cost; return False if there is not enough."""

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Take back what a reserved request did not cost: everything if there is no completion."""


class BudgetQueue:
    """An allowance with a queue: a request that is not covered waits for what calls in flight give back.

    First come, first served: a later request never overtakes, even if its own money is there.
    """

    def __init__(self, allowance: Allowance | None) -> None:
        self._allowance = allowance
        self._in_flight = 0
        self._used_up = False
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def reserve(self, request: Request) -> bool:
        """Set aside what the request can cost; return False if there will not be enough."""
        if self._allowance is None:
            return True
        async with self._turn:
            while not self._used_up and not self._allowance.reserve(request):
                self._used_up = not self._in_flight
                self._changed.clear()
                if not self._used_up:
                    await self._changed.wait()
            self._in_flight += not self._used_up
        return not self._used_up

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Take back what was not spent; what a cancelled call had set aside stays, since it may be billed."""
        if self._allowance is not None:
            self._allowance.settle(request, completion)

    def leave(self) -> None:
        """Count a call as done, however it ended, and let the first waiting request try again."""
        if self._allowance is not None:
            self._in_flight -= 1
            self._changed.set()
