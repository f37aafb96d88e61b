"""Writes answers to the ledger in a background thread."""

from __future__ import annotations

import queue
import threading
from typing import Any

from runner.core.errors import RunnerError
from runner.engine.ledger.table import Ledger, database_reason


class LedgerWriter:
    """Commits entries in the order in which they arrive; under load one transaction takes many.

    An entry waits at most for the transaction before its own. If the database fails, the next :meth:`put`
    raises :class:`RunnerError`, so that no money is spent on answers that would be lost.
    """

    def __init__(self, ledger: Ledger, kind: str) -> None:
        self._ledger = ledger
        self._kind = kind
        self._queue: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="ledger-writer")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Wait until everything is written. Raises :class:`RunnerError` if the database failed."""
        self._queue.put(None)
        self._thread.join()
        self._check()

    def put(self, key: str, value: Any) -> None:
        """Queue one entry. Raises :class:`RunnerError` if the database failed earlier."""
        self._check()
        self._queue.put((key, value))

    def _check(self) -> None:
        if self._error:
            raise RunnerError(
                f"the ledger cannot be written: {database_reason(self._error)}; its entries are kept,"
                " and the same command goes on from there"
            ) from self._error

    def _write(self) -> None:
        more = True
        while more:
            entries = [self._queue.get()]
            while not self._queue.empty():
                entries.append(self._queue.get())
            more = None not in entries
            try:
                if not self._error:
                    self._ledger.put_many(self._kind, dict(entry for entry in entries if entry))
            except Exception as error:  # raised in the thread that makes the calls, by its next put
                self._error = error
