"""A run in MLflow while it is under way: a thread of its own creates it and logs how far it is.

The thread never delays a call, and a store that fails costs one warning. At the end the run is completed from
its record, as any other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner import tracking
from runner.config.schema import TrackingConfig
from runner.core.files import hold_lock
from runner.records.progress import Progress
from runner.records.record import Record
from runner.tracking import store

log = logging.getLogger(__name__)

HEAD_START_S = 1.0
SHOWN_AFTER_S = 2.0
"""Runs that are shorter are logged at their end only."""
EVERY_S = 10.0
SERVER_S = 8.0
DATABASE_S = 20.0
"""How long the end of a run waits for the request under way."""


class LiveRun:
    """Shows one run. Its thread calls ``read`` for how far it is, and ``find_parent`` for its sweep's run.

    Nothing is imported while the run works by itself, since two threads that import the same packages may see
    them half imported.
    """

    def __init__(
        self,
        folder: Path,
        config: TrackingConfig,
        read: Callable[[], Progress],
        find_parent: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._folder, self._config, self._read, self._find_parent = folder, config, read, find_parent
        self.run_id: str | None = None
        self._record: Record | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._may_import, self._is_importing = threading.Event(), threading.Lock()
        self._has_imported = False
        self._began = 0.0

    def resume(self, record: Record) -> None:
        """Go on, since the run waits for a service. The first time, note its params and start the thread."""
        if not self._config.enabled:
            return
        self._may_import.set()
        if self._thread is None:
            copies = {name: dict(getattr(record, name)) for name in ("params", "tags", "swept", "curves")}
            self._record = replace(record, **copies)  # type: ignore[arg-type]
            self._began = time.monotonic()
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Import nothing until :meth:`resume`; wait for imports that are under way."""
        self._may_import.clear()
        with self._is_importing:
            pass

    def end(self) -> Progress | None:
        """Stop, and return how far the run came if it was shown; None if it was not.

        A server that does not answer is left alone for a while.
        """
        self._ended.set()
        self._may_import.set()
        if self._thread is None:
            return None
        with self._is_importing:
            pass
        is_server = store.is_server(self._config)
        self._thread.join(SERVER_S if is_server else DATABASE_S)
        if self._thread.is_alive():
            tracking.leave_alone(self._config, "no answer")
        return self._read() if self.run_id else None

    def kill(self) -> None:
        """Stop at once and end the run as KILLED, as far as that takes no longer than a moment."""
        self._ended.set()
        self._may_import.set()
        if self.run_id is not None:
            tracking.kill_runs([self.run_id], self._config)

    def drop(self) -> None:
        """Stop and delete the run, which turned out to be a mistake."""
        self.end()
        tracking.drop_run(self.run_id, self._config)

    def _work(self) -> None:
        if self._ended.wait(HEAD_START_S) or not self._import():
            return
        if self._ended.wait(max(0.0, SHOWN_AFTER_S - (time.monotonic() - self._began))):
            return
        while True:
            tracking.show_or_warn(self._show, self._config)
            if self._ended.wait(EVERY_S):
                return

    def _import(self) -> bool:
        """Import all that logging needs as soon as this may be done; False if the run has ended before."""
        while not self._has_imported:
            self._may_import.wait()
            with self._is_importing:
                if self._ended.is_set():
                    return False
                if self._may_import.is_set():
                    tracking.import_all()
                    self._has_imported = True
        return True

    def _show(self) -> None:
        from runner.tracking import runs

        assert self._record is not None
        opened = store.connect(self._config)
        if self.run_id is None:
            parent = self._find_parent()
            with hold_lock("log", self._record.id):  # one record is one run
                if self._ended.is_set():
                    return
                self.run_id = runs.begin_run(self._record, self._folder, opened, parent)
        runs.log_progress(self.run_id, self._read(), opened)
