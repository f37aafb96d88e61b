"""One call: a request becomes an answer, with ledger, limits, retries and budget inside.

    request ─ ledger? ─ budget ─ pace (requests, tokens a minute) ─ gate (how many at once) ─ provider
            ─ ledger

Equal requests are asked once. A call that fails becomes the error of its row, whatever it raised. Only an
error that would make every further call fail, such as a wrong key, stops the run, and so does Ctrl-C. A
stored answer that cannot be read is asked for again and replaced.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from runner.core.adapt import check_completion
from runner.core.errors import ProviderError, count_of
from runner.core.identity import digest, read_identity
from runner.core.provider import Provider
from runner.core.types import Completion, Request
from runner.engine.guard import close_provider
from runner.engine.ledger import COMPLETION, Ledger

log = logging.getLogger(__name__)

KIND = COMPLETION
_unread: set[str] = set()  # keys of stored answers that a warning was about


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
OnAnswer = Callable[[Answer], object]
"""Called with each answer as it comes, in the event loop, so it must be quick."""


def ignore_answer(answer: Answer) -> None:
    """Do nothing; an :data:`OnAnswer`."""


@dataclass
class Headway:
    """How far a stage is: how many ``rows`` it has, and how many of them were ``begun`` and are ``done``."""

    rows: int = 0
    begun: int = 0
    done: int = 0

    @property
    def has_more(self) -> bool:
        """Whether there are rows that were not begun yet."""
        return self.begun < self.rows

    @property
    def is_nearly_done(self) -> bool:
        """Whether nine of ten rows are done, and the others begun."""
        return self.begun == self.rows and self.done >= 0.9 * self.rows


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
        self._looked_up: dict[str, Completion | None] = {}
        self._answers: dict[str, Answer | asyncio.Future[Answer]] = {}
        self.start_more: Callable[[], object] = lambda: None
        """Called when a row waits for others, so that another row may be begun."""
        self.on_answer: OnAnswer = ignore_answer
        self.leaver = ""
        """Who leaves the stage once it cannot be reached; see :class:`runner.engine.live.LiveCaller`."""
        self.headway = Headway()
        self._callers: set[asyncio.Task[Any] | None] = set()

    def __enter__(self) -> Caller:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Release threads and files."""

    @asynccontextmanager
    async def open_calls(self, progress: Callable[[float], None]) -> AsyncIterator[Call]:
        """Yield :meth:`call`; at the end stop the calls left behind and close the provider's connections.

        ``progress`` is called with the share of unfinished work, from 0 to 1, that a service says is done.
        """
        try:
            yield self.call
        finally:
            await self._stop_calls()
            await close_provider(self._provider)

    def look_up(self, requests: Iterable[Request]) -> None:
        """Look up requests that will be made in the ledger, with one query. Blocks."""
        for request in requests:
            self._keys[id(request)] = request, self._make_key(request)
        keys = [key for _, key in self._keys.values()]
        found = read_answers(self._ledger, keys) if self._provider.stored else {}
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
        task = asyncio.current_task()
        self._callers.add(task)
        try:
            answer = self._answers[key] = await self._read_stored(key) or await self._obtain(key, request)
        except BaseException:
            future.cancel()
            raise
        finally:
            self._callers.discard(task)
        future.set_result(answer)
        self.on_answer(answer)
        return answer

    @abstractmethod
    async def _obtain(self, key: str, request: Request) -> Answer:
        """Return the answer to a request that is not in the ledger."""

    async def _stop_calls(self) -> None:
        """Cancel the calls that a row made at once with one that stopped the stage, as those of others."""
        left = [task for task in self._callers if task]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _read_stored(self, key: str) -> Answer | None:
        if not self._provider.stored:
            return None
        if key in self._looked_up:
            completion = self._looked_up[key]
        else:
            completion = (await asyncio.to_thread(read_answers, self._ledger, [key])).get(key)
        return Answer(completion, stored=True, key=key) if completion else None


def make_keys(provider: Provider, requests: Iterable[Request]) -> list[str]:
    """Return the ledger key of each request: a digest of all that determines its answer.

    Repeats are told apart by their seeds; where none is sent, by their numbers.
    """
    return list(map(_make_key_function(provider), requests))


def _make_key_function(provider: Provider) -> Callable[[Request], str]:
    identity, by_row = read_identity(provider), not provider.stored

    def make_key(request: Request) -> str:
        content = {"provider": identity, "messages": request.messages, **drop_nulls(request.sampling)}
        if request.fresh is not None:
            content["fresh"] = request.fresh
        if request.repeat and (by_row or request.sampling.seed is None):
            content["repeat"] = request.repeat  # the first has the key of a question that is asked once
        return digest(content | {"row": request.row} if by_row else content)

    return make_key


def read_answers(ledger: Ledger, keys: Iterable[str]) -> dict[str, Completion]:
    """Return the stored answers to those keys that have one, with a warning if some cannot be read."""
    found = ledger.get_many(KIND, keys)
    answers = {key: answer for key, value in found.items() if (answer := read_completion(value))}
    if lost := found.keys() - answers.keys() - _unread:
        _unread.update(lost)
        log.warning(
            "ledger: %s cannot be read (such as %s), so the model is asked again",
            count_of(len(lost), "stored answer"),
            min(lost),
        )
    return answers


def read_completion(stored: Any) -> Completion | None:
    """Return a completion from the ledger; None if it cannot be read, so that it is asked for again."""
    try:
        return check_completion(Completion(**stored), "ledger")
    except (TypeError, ProviderError):
        return None


def drop_nulls(value: Any) -> dict[str, Any]:
    """Return the fields of a flat dataclass with slots that are not None, by name."""
    return {name: item for name in value.__slots__ if (item := getattr(value, name)) is not None}
