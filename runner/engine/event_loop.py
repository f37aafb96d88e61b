"""The event loop that runs all asynchronous work of the process, in its own thread; and what ends it."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from runner.core.retry import note_heard, pause

T = TypeVar("T")

WAIT_SLICE_S = 0.2
_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []
_running: set[Future[Any]] = set()


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, wait for it and return its result. If the wait is interrupted, cancel the coroutine.

    Raises ``KeyboardInterrupt`` in the waiting thread if :func:`interrupt_all` cancels the coroutine, or if
    the thread was interrupted before.
    """
    try:
        pause(0)
    except KeyboardInterrupt:
        work.close()
        raise
    future: Future[T] = asyncio.run_coroutine_threadsafe(work, _get_loop())
    _running.add(future)
    try:
        wait_for(future)
    except BaseException:
        future.cancel()
        raise
    finally:
        _running.discard(future)
    try:
        return future.result()
    except CancelledError:
        note_heard()
        raise KeyboardInterrupt from None


def wait_for(*futures: Future[Any]) -> None:
    """Wait until all are done, in short slices: a signal to another thread does not wake this one."""
    while wait(futures, timeout=WAIT_SLICE_S).not_done:
        pass


def interrupt_all() -> None:
    """Cancel the coroutines that all threads wait for, since Ctrl-C reaches only the main thread."""
    for future in list(_running):
        future.cancel()


@contextmanager
def end_on_signals() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP raise ``KeyboardInterrupt`` in the main thread, as Ctrl-C does.

    Yields the numbers of those that came. After the second one the next ends the process at once. A signal
    that is ignored (nohup) or handled otherwise (submitit) stays so, and so do all outside the main thread.
    """
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        came.append(number)
        if len(came) > 1:
            for ours in set_here:
                signal.signal(ours, signal.SIG_DFL)
        raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")

    here = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if here and hasattr(signal, name)]
    set_here = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in set_here:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in set_here:
            signal.signal(number, signal.SIG_DFL)


def _get_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if not _loops:
            loop = _make_loop()
            threading.Thread(target=_run_for_ever, args=(loop,), name="event-loop", daemon=True).start()
            _loops.append(loop)
        return _loops[0]


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop; ``SystemExit`` and ``KeyboardInterrupt`` in a task concern only those who await it."""
    while True:
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()


def _make_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
