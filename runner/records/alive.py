"""Whether the process of a run or of a sweep lives: it holds a lock on a file in the folder.

The kernel releases the lock when the process ends, however it ends, and knows no host names and process ids.
So it works across containers on one disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "running.lock"
PATIENCE_S = 5.0


@contextmanager
def hold_alive(folder: Path) -> Iterator[None]:
    """Let :func:`is_alive` say so of ``folder`` within the block.

    Where the disk has no locks, nobody can tell, and whatever is not ended counts as alive.
    """
    from filelock import FileLock  # imports asyncio, which `runner --help` does not need

    lock = FileLock(folder / LOCK, timeout=PATIENCE_S, thread_local=False)
    with suppress(OSError, NotImplementedError):  # a time-out is an OSError, too
        lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows deletes no open file
                (folder / LOCK).unlink()
            lock.release()


def is_alive(folder: Path) -> bool:
    """Whether a living process holds the folder, or nobody can tell."""
    from filelock import FileLock

    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        return True
    lock.release()
    return False
