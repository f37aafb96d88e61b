"""The completion engine: many requests, one provider, nothing asked twice, one bad row kills nothing."""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from runner.digest import digest
from runner.errors import FatalProviderError, ProviderError, RetryableError, RunnerError
from runner.ledger import Ledger
from runner.limits import Pacer
from runner.types import Completion, Provider, Request

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


def ask(
    requests: Sequence[Request],
    provider: Provider,
    ledger: Ledger,
    *,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Answer]:
    """Answer requests in order, from the ledger where it has them, else from the provider.

    Equal requests are asked once. ``advance`` is told how many more are done. Raises
    :class:`FatalProviderError` as soon as no call can succeed; what is finished is in the ledger then.
    """
    keys = [request_key(provider, request) for request in requests]
    rows = Counter(keys)
    keep = getattr(provider, "stored", True)
    known = ledger.get_many(KIND, rows) if keep else {}
    answers = {key: Answer(Completion(**value), stored=True) for key, value in known.items()}
    advance(sum(rows[key] for key in answers))
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in answers}
    if missing:
        with _Writer(ledger) as writer:

            def done(key: str, answer: Answer) -> None:
                answers[key] = answer
                if keep and answer.completion:
                    writer.put(key, _to_json(answer.completion))
                advance(rows[key])

            asyncio.run(_drive(missing, provider, done))
    return [answers[key] for key in keys]


def request_key(provider: Provider, request: Request) -> str:
    """The digest of all that determines an answer."""
    content: dict[str, Any] = {"messages": list(request.messages), **_to_json(request.sampling)}
    if not getattr(provider, "stored", True):
        content["row"] = dict(request.row)
    return digest({"provider": dict(provider.identity()), **content})


async def _drive(
    missing: dict[str, Request], provider: Provider, done: Callable[[str, Answer], None]
) -> None:
    pacer = Pacer(
        getattr(provider, "requests_per_minute", None), getattr(provider, "tokens_per_minute", None)
    )
    work = iter(missing.items())
    workers = min(provider.max_concurrency, len(missing))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(_worker(work, provider, pacer, done))
    except* FatalProviderError as errors:
        raise errors.exceptions[0] from None
    finally:
        await provider.aclose()


async def _worker(
    work: Iterator[tuple[str, Request]],
    provider: Provider,
    pacer: Pacer,
    done: Callable[[str, Answer], None],
) -> None:
    for key, request in work:
        try:
            done(key, Answer(await _attempt(request, provider, pacer)))
        except FatalProviderError:
            raise
        except ProviderError as error:
            done(key, Answer(error=str(error) or type(error).__name__))


async def _attempt(request: Request, provider: Provider, pacer: Pacer) -> Completion:
    """One request with retries: waits as the server asks, else exponentially longer with jitter."""
    attempt = 0
    while True:
        await pacer.acquire(_estimated_tokens(request))
        started = time.perf_counter()
        try:
            completion = await provider.complete(request)
            return replace(completion, latency_s=round(time.perf_counter() - started, 4))
        except RetryableError as error:
            attempt += 1
            if attempt >= (LIMITED_ATTEMPTS if error.limited else ATTEMPTS):
                raise
            wait = error.retry_after
            if wait is None:
                wait = min(LONGEST_WAIT_S, 0.5 * 2 ** min(attempt, 8)) * random.uniform(0.5, 1)
            if error.limited:
                pacer.pause(wait)
            log.debug("attempt %d failed (%s), next in %.1f s", attempt, error, wait)
            await asyncio.sleep(wait)


def _estimated_tokens(request: Request) -> int:
    characters = sum(len(message["content"]) for message in request.messages)
    return characters // 4 + (request.sampling.max_tokens or 0)


def _to_json(value: Any) -> dict[str, Any]:
    return {name: item for name, item in asdict(value).items() if item is not None}


class _Writer:
    """Commits finished answers in a thread of its own, as fast as the database takes them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-writer")

    def __enter__(self) -> _Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error:
            raise RunnerError(f"the ledger cannot be written: {self._error}") from self._error

    def put(self, key: str, value: Any) -> None:
        """Hand over one answer; raises if the database has failed, so that no money is spent in vain."""
        if self._error:
            raise RunnerError(f"the ledger cannot be written: {self._error}") from self._error
        self._queue.put((key, value))

    def _run(self) -> None:
        open_ = True
        while open_:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            open_ = None not in batch
            try:
                if not self._error:
                    self._ledger.put_many(KIND, dict(item for item in batch if item))
            except Exception as error:  # handed to the asking thread, which stops
                self._error = error
