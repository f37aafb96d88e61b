"""Progress bars. All points of a process share one display, since a screen has room for only one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from runner.core.errors import count_of
from runner.core.services import TuningStatus
from runner.engine.ask import Advance

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
LINE_EVERY_S = 60.0
_lock = threading.Lock()
_shared: list[Progress] = []
_users = [0]


class _RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} rows/s" if speed else "", style="dim")


class Bars:
    """The bars of one point; ``point`` is its name in their titles."""

    def __init__(self, shared: Progress, point: str) -> None:
        self._shared, self._point = shared, point
        self._tasks: list[TaskID] = []
        self._tuning: TaskID | None = None
        self._printed_at = time.monotonic()

    def open_bar(self, title: str, total: int) -> Advance:
        """Add a bar for ``total`` rows and return the function that moves it."""
        task, done = self._add(title, total), 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            self._shared.advance(task, rows)
            self._print_line(f"{self._point} {title} {done:,} of {count_of(total, 'row')}".strip())

        return advance

    def show_status(self, status: TuningStatus) -> None:
        """Show the status of a fine-tuning job."""
        title = f"{self._point} fine-tuning {status.state} {status.detail}".strip()
        if self._tuning is None:
            self._tuning = self._add(title, 1.0)
        self._shared.update(self._tuning, description=title, completed=status.progress or 0.0)
        self._print_line(title)

    def close(self) -> None:
        """Remove the bars from the screen."""
        for task in self._tasks:
            self._shared.remove_task(task)

    def _add(self, title: str, total: float) -> TaskID:
        self._tasks.append(self._shared.add_task(f"{self._point} {title}".strip(), total=total))
        return self._tasks[-1]

    def _print_line(self, line: str) -> None:
        if time.monotonic() - self._printed_at >= LINE_EVERY_S and not stderr.is_terminal:
            self._printed_at = time.monotonic()
            stderr.print(line, markup=False)


@contextmanager
def show_progress(point: str = "") -> Iterator[Bars]:
    """Yield bars with rate and time left. If stderr is no terminal, a line per minute is printed instead.

    The bars are removed when the block ends.
    """
    with _share_bars() as shared:
        bars = Bars(shared, point)
        try:
            yield bars
        finally:
            bars.close()


@contextmanager
def _share_bars() -> Iterator[Progress]:
    with _lock:
        _users[0] += 1
        if not _shared:
            _shared.append(_start())
        bars = _shared[0]
    try:
        yield bars
    finally:
        with _lock:
            _users[0] -= 1
            if not _users[0]:
                _shared.pop().stop()


def _start() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
    bars.start()
    return bars
