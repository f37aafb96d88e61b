"""Progress bars, shared by all points of a process: one screen has room for one live display."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
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

from runner.core.services import TuningStatus

Advance = Callable[[str, int], Callable[[int], None]]
Report = Callable[[TuningStatus], None]

errors = Console(stderr=True, highlight=False, soft_wrap=True)
LINE_S = 60.0
_lock = threading.Lock()
_shared: list[Progress] = []
_users = [0]


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} rows/s" if speed else "", style="dim")


@contextmanager
def progress(point: str = "") -> Iterator[tuple[Advance, Report]]:
    """Bars with rate and time left, on a terminal; where the screen is a file, a line a minute.

    Gives what opens a bar for rows, and what shows the state of a fine-tuning job. The bars go when the
    block ends; ``point`` tells the bars of one point from those of another.
    """
    tasks: list[TaskID] = []
    tuning: list[TaskID] = []
    said = [time.monotonic()]

    def say(line: str) -> None:
        if time.monotonic() - said[0] >= LINE_S and not errors.is_terminal:
            said[0] = time.monotonic()
            errors.print(line, markup=False)

    with _bars() as bars:

        def add(title: str, total: float) -> TaskID:
            tasks.append(bars.add_task(f"{point} {title}".strip(), total=total))
            return tasks[-1]

        def advance(title: str, total: int) -> Callable[[int], None]:
            task, done = add(title, total), [0]

            def more(count: int) -> None:
                done[0] += count
                bars.advance(task, count)
                say(f"{point} {title} {done[0]:,} of {total:,} rows".strip())

            return more

        def report(status: TuningStatus) -> None:
            title = f"{point} fine-tuning {status.state} {status.detail}".strip()
            if not tuning:
                tuning.append(add(title, 1.0))
            bars.update(tuning[0], description=title, completed=status.progress or 0.0)
            say(title)

        try:
            yield advance, report
        finally:
            for task in tasks:
                bars.remove_task(task)


@contextmanager
def _bars() -> Iterator[Progress]:
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
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
    bars.start()
    return bars
