"""The completion engine: many requests, one provider, nothing asked twice, one bad row kills nothing.

All calls of a process run in one event loop, so that concurrent points of a sweep share connections, gates
and paces.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from runner.core.digest import digest
from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.core.provider import Provider
from runner.core.types import Completion, Request
from runner.engine import event_loop
from runner.engine.ledger import Ledger
from runner.engine.ledger_writer import Writer
from runner.engine.limits import Gate, Pace

log = logging.getLogger(__name__)

KIND = "completion"
ATTEMPTS = 6  # for faults; a rate limit is not the request's fault and gets more
LIMITED_ATTEMPTS = 30
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request: a completion, or the reason why there is none."""

    completion: Completion | None = None
    error: str | None = None
    stored: bool = False
    """True if it was in the ledger and cost nothing now."""
    key: str | None = None
    """Where the ledger keeps it; None for a provider whose answers are not kept."""


UNASKED = Answer()
"""Neither: the money ran out before its turn."""


class Purse(Protocol):
    """What calls are paid from."""

    def reserve(self, request: Request) -> bool:
        """Set the most aside that a request can cost; False if that is not there.

        It is tried again after each answer that is still under way, and is not asked in the end if none
        leaves enough.
        """

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Take back what a reserved request did not cost: all of it if there is no answer."""


Done = Callable[[str, Answer], None]


def ask(
    requests: Sequence[Request],
    provider: Provider,
    ledger: Ledger,
    *,
    advance: Callable[[int], None] = lambda count: None,
    purse: Purse | None = None,
) -> list[Answer]:
    """Answer requests in order, from the ledger where it has them, else from the provider.

    Equal requests are asked once. ``advance`` is told how many more are done. What ``purse`` cannot pay is
    :data:`UNASKED`. Raises :class:`FatalProviderError` as soon as no call can succeed; what is finished is
    in the ledger then.
    """
    keys = request_keys(provider, requests)
    rows = Counter(keys)
    keep = getattr(provider, "stored", True)
    known = ledger.get_many(KIND, rows) if keep else {}
    answers = {key: Answer(Completion(**value), stored=True, key=key) for key, value in known.items()}
    advance(sum(rows[key] for key in answers))
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in answers}
    if missing:
        with Writer(ledger, KIND) as writer:

            def done(key: str, answer: Answer) -> None:
                answers[key] = replace(answer, key=key if keep else None)
                if keep and answer.completion:
                    writer.put(key, given(answer.completion))
                advance(rows[key])

            event_loop.run_in_loop(_drive(missing, provider, ledger, done, purse))
    return [answers.get(key, UNASKED) for key in keys]


def request_keys(provider: Provider, requests: Sequence[Request]) -> list[str]:
    """The digests of all that determines each answer."""
    identity = dict(provider.identity())
    by_row = not getattr(provider, "stored", True)
    keys = []
    for request in requests:
        content = {"provider": identity, "messages": request.messages, **given(request.sampling)}
        keys.append(digest(content | {"row": request.row} if by_row else content))
    return keys


def given(value: Any) -> dict[str, Any]:
    """The fields of a flat dataclass that are not None."""
    pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {name: item for name, item in pairs if item is not None}


@dataclass
class Lane:
    """What all requests to one account share in this process."""

    gate: Gate
    pace: Pace
    users: int = 0


_lanes: dict[str, Lane] = {}


def _lane(provider: Provider, ledger: Ledger) -> Lane:
    """The lane of a provider's account: same service, endpoint, model, limits and ledger."""
    limits = [getattr(provider, f"{unit}_per_minute", None) for unit in ("requests", "tokens")]
    account = digest([dict(provider.identity()), provider.max_concurrency, limits])
    key = f"{account} {ledger.url}"
    if key not in _lanes:
        _lanes[key] = Lane(Gate(provider.max_concurrency), Pace(ledger, account, *limits))
    return _lanes[key]


async def _drive(
    missing: dict[str, Request], provider: Provider, ledger: Ledger, done: Done, purse: Purse | None
) -> None:
    lane = _lane(provider, ledger)
    work = deque(missing.items())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(provider.max_concurrency, len(missing))):
                group.create_task(_worker(work, provider, lane, done, purse))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await provider.aclose()


async def _worker(
    work: deque[tuple[str, Request]], provider: Provider, lane: Lane, done: Done, purse: Purse | None
) -> None:
    while work:
        key, request = work.popleft()
        if purse and not purse.reserve(request):
            work.appendleft((key, request))  # for those under way, who may leave enough
            return
        try:
            answer = Answer(await _attempt(request, provider, lane))
        except FatalProviderError:
            raise
        except ProviderError as error:
            answer = Answer(error=str(error) or type(error).__name__)
        done(key, answer)
        if purse:
            purse.settle(request, answer.completion)


async def _attempt(request: Request, provider: Provider, lane: Lane) -> Completion:
    """One request with retries: waits as the server asks, else exponentially longer with jitter."""
    attempt = 0
    while True:
        await lane.pace.acquire(_estimated_tokens(request))
        try:
            async with lane.gate:
                started = time.perf_counter()
                completion = await provider.complete(request)
            lane.gate.succeeded()
            lane.pace.answered(provider.rate_limits())
            return replace(completion, latency_s=round(time.perf_counter() - started, 4))
        except RetryableError as error:
            attempt += 1
            if error.limited:
                lane.pace.refused(error.retry_after)
            else:
                lane.gate.failed()
            if attempt >= (LIMITED_ATTEMPTS if error.limited else ATTEMPTS):
                raise
            log.debug("attempt %d failed: %s", attempt, error)
            await asyncio.sleep(_wait(error, attempt))


def _wait(error: RetryableError, attempt: int) -> float:
    if error.retry_after is not None:
        return error.retry_after
    longest: float = min(LONGEST_WAIT_S, 0.5 * 2.0 ** min(attempt, 8))
    return longest * random.uniform(0.5, 1)


def _estimated_tokens(request: Request) -> int:
    characters = sum(len(message["content"]) for message in request.messages)
    return characters // 4 + (request.sampling.max_tokens or 0)
