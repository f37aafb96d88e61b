"""Write files atomically, and hold locks that are released when their process dies."""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.core.errors import ConfigError

SLOTS = 16


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces ``path`` at the end of the block.

    After a crash ``path`` has its old content or the new one, never a part.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    yield partial
    partial.replace(path)


def require_inside(file: Path, folder: Path) -> Path:
    """The file, if it is no link out of the folder and no pipe or device. Raises :class:`ConfigError`."""
    found = file.resolve()
    if not found.is_relative_to(folder.resolve()):
        raise ConfigError(f"{file}: is a link out of {folder}, to {found}, and is not followed")
    if found.exists() and not (found.is_file() or found.is_dir()):
        raise ConfigError(f"{file}: is no plain file")
    return file


def require_plain(file: Path) -> Path:
    """The file, if it is not a pipe or device, which reading would wait for. Raises :class:`OSError`."""
    if file.exists() and not file.is_file():
        raise OSError("no plain file")
    return file


@contextmanager
def hold_lock(kind: str, what: str, patience_s: float = 120.0) -> Iterator[None]:
    """Let only one process of this user on this machine do ``what`` at a time.

    Raises ``filelock.Timeout`` if the lock is not free after ``patience_s`` seconds. All work of one ``kind``
    shares a few lock files, so that they do not accumulate. Therefore nobody may hold two locks of one kind.
    """
    from filelock import FileLock  # a thirtieth of the time that `runner --help` takes, and used by few

    slot = int(hashlib.sha256(what.encode()).hexdigest(), 16) % SLOTS
    name = hashlib.sha256(f"{user_name()} {kind} {slot}".encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"runner-{name}.lock", timeout=patience_s):
        yield


def user_name() -> str:
    """The name of the current user; ``unknown`` where the system, such as a container, has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
