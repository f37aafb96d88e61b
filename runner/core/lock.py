"""One process at a time, on any system, let go when the process dies."""

from __future__ import annotations

import getpass
import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

SLOTS = 16


@contextmanager
def alone(kind: str, what: str, patience_s: float = 120.0) -> Iterator[None]:
    """Only one process of this user on this machine at a time does ``what``, a piece of work of a ``kind``.

    Raises ``sqlite3.OperationalError`` when it is still taken after ``patience_s`` seconds. An open SQLite
    transaction is the one lock that the standard library has on every system. Each kind has a few lock files
    for all its work, so that they do not pile up; work of one kind must not hold back work of the same kind.
    """
    slot = int(hashlib.sha256(what.encode()).hexdigest(), 16) % SLOTS
    name = hashlib.sha256(f"{user()} {kind} {slot}".encode()).hexdigest()[:16]
    file = Path(tempfile.gettempdir()) / f"runner-{name}.lock"
    with closing(sqlite3.connect(file, timeout=patience_s, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def user() -> str:
    """Who runs this; a container may have no name for them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
