"""One event loop for all asynchronous work of the process, in a thread of its own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

SLICE_S = 0.2
_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and wait for it. If waiting is interrupted the coroutine is cancelled."""
    future: Future[T] = asyncio.run_coroutine_threadsafe(work, _running())
    try:
        # in slices: a signal that another thread receives does not wake this one
        while not wait([future], timeout=SLICE_S).done:
            pass
    except BaseException:
        future.cancel()
        raise
    return future.result()


def _running() -> asyncio.AbstractEventLoop:
    with _lock:
        if not _loops:
            loop = _new()
            threading.Thread(target=loop.run_forever, name="event-loop", daemon=True).start()
            _loops.append(loop)
        return _loops[0]


def _new() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
