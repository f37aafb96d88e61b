"""One event loop for all asynchronous work of the process, in a thread of its own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

SLICE_S = 0.2
_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []
_under_way: set[Future[Any]] = set()


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and wait for it. If waiting is interrupted the coroutine is cancelled.

    Raises ``KeyboardInterrupt`` also in a thread whose work :func:`interrupt_all` cancels.
    """
    future: Future[T] = asyncio.run_coroutine_threadsafe(work, _get_loop())
    _under_way.add(future)
    try:
        wait_for(future)
    except BaseException:
        future.cancel()
        raise
    finally:
        _under_way.discard(future)
    try:
        return future.result()
    except CancelledError:
        raise KeyboardInterrupt from None


def wait_for(*futures: Future[Any]) -> None:
    """Wait until all are done, in slices: a signal that another thread receives does not wake this one."""
    while wait(futures, timeout=SLICE_S).not_done:
        pass


def interrupt_all() -> None:
    """Cancel what all threads wait for: Ctrl-C reaches the main thread alone."""
    for future in list(_under_way):
        future.cancel()


def _get_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if not _loops:
            loop = _make_loop()
            threading.Thread(target=loop.run_forever, name="event-loop", daemon=True).start()
            _loops.append(loop)
        return _loops[0]


def _make_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
