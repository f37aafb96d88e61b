"""Answers through a batch API: for less money, within a day, and the process may go and come back.

    rows ─ claimed for a batch ─ upload ─ create ─ poll ─ results into the ledger ─ released

A row is claimed in the ledger before its batch is created, and released when the batch is collected. Whoever
comes meanwhile, beside it or after a kill, waits for that batch and makes no second one. Results are the
entries that live answers are: the next live run finds them, and a batch asks nothing that was answered live.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from runner.core.provider import Batcher, Provider
from runner.core.types import Completion, Request
from runner.engine.ask import KIND, UNASKED, Answer, Purse, request_keys
from runner.engine.batch_jobs import ROW, Jobs
from runner.engine.ledger import Ledger

ROUNDS = 3  # batches in a row that may end without an answer to a row before its turn passes to the next run
LEFT_OVER = f"{ROUNDS} batches ended before its turn; the next run asks again"


def ask(
    requests: Sequence[Request],
    provider: Provider,
    ledger: Ledger,
    *,
    advance: Callable[[int], None] = lambda count: None,
    purse: Purse | None = None,
) -> list[Answer]:
    """What :func:`runner.engine.ask.ask` does, through batches. Blocks until they have ended.

    Raises :class:`FatalProviderError` if a batch is refused as a whole.
    """
    keys = request_keys(provider, requests)
    batcher: Batcher = provider.batcher()
    jobs = Jobs(provider, batcher, ledger, float(getattr(provider, "batch_poll_s", 30.0)))
    desk = _Desk(jobs, batcher, ledger, advance, purse)
    return desk.answer(dict(zip(keys, requests, strict=True)), Counter(keys), keys)


class _Desk:
    """One call of :func:`ask`. ``left`` are the requests that have no answer yet."""

    def __init__(
        self,
        jobs: Jobs,
        batcher: Batcher,
        ledger: Ledger,
        advance: Callable[[int], None],
        purse: Purse | None,
    ) -> None:
        self._jobs, self._batcher, self._ledger = jobs, batcher, ledger
        self._advance, self._purse = advance, purse
        self._left: dict[str, Request] = {}
        self._rows: Counter[str] = Counter()
        self._answers: dict[str, Answer] = {}
        self._reserved: set[str] = set()
        self._passed: Counter[str] = Counter()
        self._done = self._told = 0

    def answer(self, requests: dict[str, Request], rows: Counter[str], keys: Sequence[str]) -> list[Answer]:
        """The answers to requests by key, each standing for so many rows, in the order of ``keys``."""
        self._left, self._rows = requests, rows
        while self._left:
            owners = self._owners()
            for batch in dict.fromkeys(owners.values()):
                self._finish(batch, [key for key, owner in owners.items() if owner == batch])
        return [self._answers.get(key, UNASKED) for key in keys]

    def _owners(self) -> dict[str, str]:
        """The batch of each row that is left, except those that another run has just answered.

        New batches are made for those that have none.
        """
        self._take(self._ledger.get_many(KIND, self._left), stored=True)
        owners = self._ledger.get_many(ROW, self._left)
        free = {key: request for key, request in self._left.items() if key not in owners}
        payable = dict(takewhile(lambda item: self._reserve(*item), free.items()))
        if not owners and not payable:  # and nothing is under way that could leave money
            self._left = {}
        for lines in self._parts(payable):
            owners |= self._jobs.claim(lines)
        return owners

    def _parts(self, requests: Mapping[str, Request]) -> Iterator[dict[str, bytes]]:
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
        """Wait for a batch, collect it, and take what it says of these rows."""
        entry, failure = self._jobs.made(batch), None
        if entry and not entry.get("closed"):
            rows = sum(self._rows[key] for key in keys)
            status = self._jobs.ended(entry, lambda share: self._tell(self._done + int(share * rows)))
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
        self._done += self._rows[key]
        self._tell(self._done)

    def _tell(self, rows: int) -> None:
        if rows > self._told:
            self._advance(rows - self._told)
            self._told = rows

    def _reserve(self, key: str, request: Request) -> bool:
        if self._purse is None or key in self._reserved:
            return True
        if not self._purse.reserve(request):
            return False
        self._reserved.add(key)
        return True

    def _settle(self, key: str, completion: Completion | None) -> None:
        if self._purse and key in self._reserved:
            self._reserved.remove(key)
            self._purse.settle(self._left[key], completion)
