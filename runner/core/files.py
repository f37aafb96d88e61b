"""Files that are whole whenever somebody looks, and locks that the death of their holder opens."""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

SLOTS = 16


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Where to write what becomes ``path`` at the block's end; a crash leaves the old content or the new."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    yield partial
    partial.replace(path)


@contextmanager
def hold_lock(kind: str, what: str, patience_s: float = 120.0) -> Iterator[None]:
    """Only one process of this user on this machine at a time does ``what``, a piece of work of a ``kind``.

    Raises ``filelock.Timeout`` when it is still taken after ``patience_s`` seconds. Each kind has a few lock
    files for all its work, so that they do not pile up; work of one kind must not wait for work of that kind.
    """
    slot = int(hashlib.sha256(what.encode()).hexdigest(), 16) % SLOTS
    name = hashlib.sha256(f"{user_name()} {kind} {slot}".encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"runner-{name}.lock", timeout=patience_s):
        yield


def user_name() -> str:
    """Who runs this; a container may have no name for them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
