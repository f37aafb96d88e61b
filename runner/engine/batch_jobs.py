"""Batch jobs at a service. Each one is created once and found again, even if the process is killed.

A batch has an entry in the ledger. It holds the process that makes the batch, then the input file, the id,
and in the end that the batch is closed and which rows failed. The entry is written before the batch is
created. If the process is killed in between, another one takes the entry over. It first looks whether the
service has the batch, and releases the rows only if not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from runner.core.adapt import check_completion
from runner.core.errors import FatalProviderError, ProviderError, RetryableError, count_of, describe_failure
from runner.core.identity import digest, read_identity
from runner.core.provider import Batcher, Provider
from runner.core.retry import Patience
from runner.core.services import BatchStatus
from runner.core.types import Completion
from runner.engine.call import KIND, drop_nulls, read_answers
from runner.engine.ledger import Ledger
from runner.engine.ledger.claims import LostClaimError, confirm_claim, is_alive, make_claim

log = logging.getLogger(__name__)

BATCH, ROW = "batch", "batched"
NOT_LISTED = {403, 404, 405}  # a service without a list of files, or a key without the right to it
WRITE_ROWS = 500  # answers written to the ledger in one transaction
GONE = (404, 410)
MORE_LOOKS = 3  # at results that lack some of the requests which the service says are done
LACKED = "its results lack this request, which is done; it may be paid for, and the next run asks it again"


@dataclass
class _Results:
    """What the results of an ended batch say, apart from the answers."""

    seen: set[str] = field(default_factory=set)  # keys of the batch's own requests with a result
    answered: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    refused: dict[str, FatalProviderError] = field(default_factory=dict)  # lines with a 403, by key
    fatal: ProviderError | None = None
    foreign: int = 0  # how many results are of other requests
    gone: str = ""  # why the service has no results any more


class BatchJobs:
    """The batches that one run makes or waits for at one provider. ``pause`` sleeps for given seconds."""

    def __init__(
        self, provider: Provider, batcher: Batcher, ledger: Ledger, pause: Callable[[float], None]
    ) -> None:
        self._provider, self._batcher, self._ledger = provider, batcher, ledger
        self._poll_s, self._pause = float(provider.batch_poll_s), pause
        self._patience = Patience(self._poll_s, pause)
        self._token = uuid4().hex

    def claim(self, lines: Mapping[str, bytes]) -> dict[str, str]:
        """Make a batch of these rows and return the batch of each row, which may be another process's.

        Rows that were answered since they were looked up are left out.
        """
        batch = self._make_key(lines)
        if not self._ledger.add(BATCH, batch, self._make_own_claim()):
            return dict.fromkeys(lines, batch)  # another process makes a batch of the same rows
        owners: dict[str, str] = self._ledger.add_many(ROW, dict.fromkeys(lines, batch))
        mine = [key for key in lines if owners.get(key) == batch]
        for key in read_answers(self._ledger, mine):
            self._ledger.remove(ROW, key)
            mine.remove(key)
            del owners[key]
        if mine:
            self._submit(batch, [lines[key] for key in mine])
        else:
            self._ledger.remove(BATCH, batch)
        return owners

    def is_mine(self, entry: Mapping[str, Any]) -> bool:
        """Whether this run made the batch or took it over, and so pays for it."""
        return entry.get("token") == self._token

    def wait_until_made(self, batch: str) -> dict[str, Any] | None:
        """Wait until a batch has an id or is closed and return its entry; None if it was never created."""
        while True:
            entry: dict[str, Any] | None = self._ledger.get(BATCH, batch)
            if entry is None or entry.get("closed"):
                return entry
            if not is_alive(self._ledger, entry):
                entry = self._take_over(batch, entry)
            if entry and "id" in entry:
                return entry
            self._pause(min(1.0, self._poll_s))

    def wait_until_ended(self, entry: Mapping[str, Any], progress: Callable[[float], None]) -> BatchStatus:
        """Poll until a batch has ended; ``progress`` is called with the share that is done, from 0 to 1."""
        while True:
            try:
                status = self._patience.call(lambda: self._batcher.status(str(entry["id"])))
            except ProviderError as error:
                if error.status not in GONE:
                    raise
                raise FatalProviderError(
                    f"{self._provider.name}: batch {entry['id']} is gone ({error}); if another key made it, "
                    "use that one; provider.batch=false asks its rows live"
                ) from error
            if status.state != "running":
                return status
            progress(status.done / max(status.total, 1))
            self._pause(self._poll_s)

    def collect(
        self, batch: str, entry: Mapping[str, Any], status: BatchStatus
    ) -> tuple[dict[str, Any], ProviderError | None]:
        """Write the answers of an ended batch into the ledger and release its rows.

        Returns the closed entry, with ``errors`` by key, and the error that must stop the run, or None. It is
        marked as ``refused`` if no line was answered but some were refused (403). A batch that was refused,
        or whose results are gone or only those of other requests, is closed too: the next run makes another.
        A request that is done and has no result is an error of its row: this run does not buy it again.
        """
        own = {key for key, owner in self._ledger.items(ROW) if owner == batch}
        now: dict[str, Any] = self._ledger.get(BATCH, batch) or {}
        if now.get("closed") and not own:  # another process has collected it meanwhile
            return now, None
        name, is_done = self._provider.name, status.state == "ended" and 0 < status.total <= status.done
        found = self._take_results(str(entry["id"]), own, own if is_done else set())
        if found.gone:
            status = BatchStatus("refused", f"its results are gone ({found.gone})")
        elif found.foreign and not found.seen:
            others = count_of(found.foreign, "other")
            status = BatchStatus("refused", f"no result is of its requests ({others})")
        errors = found.errors | {key: describe_failure(error) for key, error in found.refused.items()}
        if is_done and found.seen:
            errors |= dict.fromkeys(own - found.seen, f"{name}: batch {entry['id']}: {LACKED}")
        fatal = found.fatal
        if not found.answered:
            fatal = fatal or next(iter(found.refused.values()), None)
        closed = {**entry, "closed": True, "errors": errors}
        self._ledger.put(BATCH, batch, closed)
        self._ledger.remove_equal(ROW, batch)
        if status.state == "refused":
            reason = f"{name}: batch {entry['id']}: {status.detail}"
            fatal = FatalProviderError(f"{reason}; the same command makes a new batch")
        return closed, fatal

    def _take_results(self, batch_id: str, own: Collection[str], wanted: Collection[str]) -> _Results:
        """Write the answers to the ``own`` requests of a batch into the ledger; return what else it says.

        ``wanted`` are those of which there must be a result, see :meth:`_read_results`.
        """
        found, name = _Results(), self._provider.name
        answers: dict[str, Any] = {}
        for key, outcome in self._read_results(batch_id, wanted):
            if key is None:
                found.gone = str(outcome)
                break
            if key not in own:
                found.foreign += 1
                continue
            if key in found.seen:
                log.warning("%s: batch %s: a request has two results; the first one counts", name, batch_id)
                continue
            found.seen.add(key)
            if isinstance(outcome, FatalProviderError) and outcome.refused:
                found.refused[key] = outcome
            elif isinstance(outcome, FatalProviderError):
                found.fatal = found.fatal or outcome
            elif not isinstance(outcome, ProviderError):
                self._take(key, outcome, answers, found.errors)
                found.answered = found.answered or key in answers
            elif not isinstance(outcome, RetryableError):
                found.errors[key] = describe_failure(outcome)
            if len(answers) == WRITE_ROWS:
                self._ledger.put_many(KIND, answers)
                answers = {}
        self._ledger.put_many(KIND, answers)
        if found.foreign and found.seen:
            what = count_of(found.foreign, "result")
            log.warning("%s: batch %s: %s of requests that it did not have: left out", name, batch_id, what)
        return found

    def _read_results(
        self, batch_id: str, wanted: Collection[str]
    ) -> Iterator[tuple[str | None, Completion | ProviderError]]:
        """Key and outcome of each request; None and the reason where the service has no results any more.

        Results that lack a request which is ``wanted`` may have been cut on the way: they are read again.
        """
        try:
            for look in range(1 + MORE_LOOKS):
                if look:
                    self._pause(self._poll_s)
                found = self._patience.call(lambda: list(self._batcher.results(batch_id)))
                lacked = set(wanted) - {key for key, _ in found}
                if not lacked:
                    break
                log.warning(
                    "%s: batch %s: %s lacked by its results",
                    self._provider.name,
                    batch_id,
                    count_of(len(lacked), "request"),
                )
            yield from found
        except ProviderError as error:
            if error.status not in GONE:
                raise
            yield None, error

    def _take(self, key: str, outcome: Any, answers: dict[str, Any], errors: dict[str, str]) -> None:
        try:
            answers[key] = drop_nulls(check_completion(outcome, self._provider.name))
        except Exception as error:  # such as that of a value whose repr fails
            errors[key] = describe_failure(error)

    def _make_key(self, lines: Iterable[str]) -> str:
        """Digest the account and the rows, with a number: an ended batch may have left the same rows over."""
        identity, number = read_identity(self._provider), 0
        while True:
            key = digest([identity, sorted(lines), number])
            if not (self._ledger.get(BATCH, key) or {}).get("closed"):
                return key
            number += 1

    def _make_own_claim(self) -> dict[str, Any]:
        return {**make_claim(self._ledger), "token": self._token}

    def _submit(self, batch: str, lines: list[bytes]) -> None:
        try:
            batch_id = self._batcher.find(batch, None)  # there if the batch was created and its ledger lost
            if batch_id is None:
                batch_id = self._create(batch, b"\n".join(lines) + b"\n")
            self._ledger.put(BATCH, batch, {**self._make_own_claim(), "id": batch_id})
            log.info("%s: batch %s of %d requests", self._provider.name, batch_id, len(lines))
        except LostClaimError as error:
            log.info("%s: %s", self._provider.name, error)  # its rows wait for the other one's batch
        except BaseException as error:
            if isinstance(error, ProviderError) and not isinstance(error, RetryableError):
                self._release(batch)  # the batch was certainly not created
            else:
                self._abandon(batch)  # it may have been created: the next process looks
            raise

    def _create(self, batch: str, content: bytes) -> str:
        """Upload the input file and create the batch, each only if it is not there; return the batch's id."""
        name = f"runner-{digest([batch, content.decode()])[:32]}.jsonl"  # an equal name is an equal file
        find_file, upload = (
            partial(self._find_file, name),
            partial(self._batcher.upload, name, content),
        )
        found = self._patience.call(find_file)
        file = found or self._patience.make(find_file, upload)
        confirm_claim(self._ledger, BATCH, batch)  # an upload can take longer than a lease
        self._ledger.put(BATCH, batch, {**self._make_own_claim(), "file": file})

        def create() -> str:
            confirm_claim(self._ledger, BATCH, batch)
            return self._batcher.create(batch, file)

        find = partial(self._batcher.find, batch, file)
        return (found and self._patience.call(find)) or self._patience.make(find, create)

    def _find_file(self, name: str) -> str | None:
        """The id of an input file; None also where a key or a gateway may not list files."""
        try:
            return self._batcher.find_file(name)
        except FatalProviderError as error:
            if error.status not in NOT_LISTED:
                raise
            return None

    def _take_over(self, batch: str, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Take over the batch of an ended process; None if another process did or it was never created."""
        own = {**entry, **self._make_own_claim()}
        if not self._ledger.swap(BATCH, batch, entry, own):
            return None
        if "id" not in own:
            found = self._patience.call(lambda: self._batcher.find(batch, own.get("file")))
            if found is None:
                self._release(batch)
                return None
            own["id"] = found
            self._ledger.put(BATCH, batch, own)
        log.info("%s: taking over batch %s", self._provider.name, own["id"])
        return own

    def _release(self, batch: str) -> None:
        self._ledger.remove_equal(ROW, batch)
        self._ledger.remove(BATCH, batch)

    def _abandon(self, batch: str) -> None:
        """Give up the claim, so that another process can take the batch over at once."""
        entry = self._ledger.get(BATCH, batch) or {}
        self._ledger.put(BATCH, batch, {name: entry[name] for name in ("file", "id") if name in entry})
