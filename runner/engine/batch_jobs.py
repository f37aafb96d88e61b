"""One batch after another at a service: made once, whatever happens, and found again.

A batch has an entry in the ledger: who makes it, its input file, its id, and at last that it is closed and
what failed. The entry is written before the batch is made. A process that is killed in between leaves its
entry to another one, which looks whether the service has the batch before it releases the rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from runner.core.digest import digest
from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.core.provider import Batcher, Provider
from runner.core.retry import Retry
from runner.core.services import BatchStatus
from runner.core.types import Completion
from runner.engine.call import KIND, drop_nulls
from runner.engine.claims import is_alive, make_claim
from runner.engine.ledger import Ledger

log = logging.getLogger(__name__)

BATCH, ROW = "batch", "batched"
TRIES = 5
AT_ONCE = 500  # results that are written in one transaction
LONGEST_WAIT_S = 30.0


class BatchJobs:
    """The batches of one provider, as one run sees them. ``pause`` sleeps so many seconds."""

    def __init__(
        self, provider: Provider, batcher: Batcher, ledger: Ledger, pause: Callable[[float], None]
    ) -> None:
        self._provider, self._batcher, self._ledger = provider, batcher, ledger
        self._poll_s, self._pause = float(provider.batch_poll_s), pause
        self._retry = Retry(tries=TRIES, limited_tries=TRIES, longest_s=min(LONGEST_WAIT_S, self._poll_s))
        self._token = uuid4().hex

    def claim(self, lines: Mapping[str, bytes]) -> dict[str, str]:
        """Make a batch of these rows; returns each row's batch, which may be one of another process.

        A row has none that was answered since it was looked for.
        """
        batch = self._key(lines)
        if not self._ledger.add(BATCH, batch, self._mine()):
            return dict.fromkeys(lines, batch)  # the same rows: who was first makes it
        self._ledger.add_many(ROW, dict.fromkeys(lines, batch))
        owners: dict[str, str] = self._ledger.get_many(ROW, lines)
        mine = [key for key in lines if owners.get(key) == batch]
        for key in self._ledger.get_many(KIND, mine):
            self._ledger.remove(ROW, key)
            mine.remove(key)
            del owners[key]
        if mine:
            self._submit(batch, [lines[key] for key in mine])
        else:
            self._ledger.remove(BATCH, batch)
        return owners

    def is_mine(self, entry: Mapping[str, Any]) -> bool:
        """Whether this run made a batch, or took it over: it then pays what it cost."""
        return entry.get("token") == self._token

    def wait_until_made(self, batch: str) -> dict[str, Any] | None:
        """A batch's entry once it has an id or is closed; None if it was never made and its rows are free."""
        while True:
            entry: dict[str, Any] | None = self._ledger.get(BATCH, batch)
            if entry is None or entry.get("closed"):
                return entry
            if not is_alive(entry):
                entry = self._inherit(batch, entry)
            if entry and "id" in entry:
                return entry
            self._pause(min(1.0, self._poll_s))

    def wait_until_ended(self, entry: Mapping[str, Any], progress: Callable[[float], None]) -> BatchStatus:
        """Poll until a batch has ended; ``progress`` is told the share that is done."""
        while True:
            try:
                status = self._batcher.status(str(entry["id"]))
            except RetryableError as error:  # a day is long enough for a line to be down
                log.warning("batch %s: %s", entry["id"], error)
                status = BatchStatus("running")
            if status.state != "running":
                return status
            progress(status.done / max(status.total, 1))
            self._pause(self._poll_s)

    def collect(
        self, batch: str, entry: Mapping[str, Any], status: BatchStatus
    ) -> tuple[dict[str, Any], ProviderError | None]:
        """Write an ended batch's answers into the ledger and release its rows.

        Returns the closed entry, with ``errors`` by key, and the failure that stops the run, if there is one.
        """
        errors: dict[str, str] = {}
        answers: dict[str, Any] = {}
        fatal: ProviderError | None = None
        for key, outcome in self._batcher.results(str(entry["id"])):
            if isinstance(outcome, Completion):
                answers[key] = drop_nulls(outcome)
            elif isinstance(outcome, FatalProviderError):
                fatal = fatal or outcome
            elif not isinstance(outcome, RetryableError):
                errors[key] = str(outcome)
            if len(answers) == AT_ONCE:
                self._ledger.put_many(KIND, answers)
                answers = {}
        self._ledger.put_many(KIND, answers)
        closed = {**entry, "closed": True, "errors": errors}
        self._ledger.put(BATCH, batch, closed)
        self._ledger.remove_equal(ROW, batch)
        if status.state == "refused":
            fatal = FatalProviderError(f"{self._provider.name}: batch {entry['id']}: {status.detail}")
        return closed, fatal

    def _key(self, lines: Iterable[str]) -> str:
        """The digest of account and rows; another one for rows that an ended batch has left over."""
        identity, number = dict(self._provider.identity()), 0
        while True:
            key = digest([identity, sorted(lines), number])
            if not (self._ledger.get(BATCH, key) or {}).get("closed"):
                return key
            number += 1

    def _mine(self) -> dict[str, Any]:
        return {**make_claim(), "token": self._token}

    def _submit(self, batch: str, lines: list[bytes]) -> None:
        try:
            batch_id = self._batcher.find(batch, None)  # made, and the ledger lost since
            if batch_id is None:
                name, content = f"runner-{batch[:32]}.jsonl", b"\n".join(lines) + b"\n"
                file = self._retry.call(lambda: self._batcher.upload(name, content), self._pause)
                self._ledger.put(BATCH, batch, {**self._mine(), "file": file})
                batch_id = self._created(batch, file)
            self._ledger.put(BATCH, batch, {**self._mine(), "id": batch_id})
            log.info("%s: batch %s of %d requests", self._provider.name, batch_id, len(lines))
        except BaseException as error:
            if isinstance(error, ProviderError) and not isinstance(error, RetryableError):
                self._release(batch)  # it certainly was not made
            else:
                self._orphan(batch)  # whoever comes next looks whether it was
            raise

    def _created(self, batch: str, file: str) -> str:
        unanswered: RetryableError | None = None

        def create() -> str:
            nonlocal unanswered
            found = self._batcher.find(batch, file) if unanswered else None  # it may have been heard
            try:
                return found or self._batcher.create(batch, file)
            except RetryableError as error:
                unanswered = error
                raise

        try:
            return self._retry.call(create, self._pause)
        except RetryableError:
            raise
        except ProviderError as error:
            raise unanswered or error from None  # a refusal of the second call says nothing of the first

    def _inherit(self, batch: str, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Take over the batch of a process that is gone; None if another one did, or it was never made."""
        taken = {**entry, **self._mine()}
        if not self._ledger.swap(BATCH, batch, entry, taken):
            return None
        if "id" not in taken:
            found = self._batcher.find(batch, taken.get("file"))
            if found is None:
                self._release(batch)
                return None
            taken["id"] = found
            self._ledger.put(BATCH, batch, taken)
        log.info("%s: batch %s goes on", self._provider.name, taken["id"])
        return taken

    def _release(self, batch: str) -> None:
        self._ledger.remove_equal(ROW, batch)
        self._ledger.remove(BATCH, batch)

    def _orphan(self, batch: str) -> None:
        """Let the next process take over at once."""
        entry = self._ledger.get(BATCH, batch) or {}
        self._ledger.put(BATCH, batch, {name: entry[name] for name in ("file", "id") if name in entry})
