"""Unpack the ``.zip`` of an export, which may come from a stranger."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from runner.core.errors import ConfigError

MOST_TIMES, FREE_BYTES = 100, 64 * 2**20
"""An export has at most so many times the bytes of its zip, and so many more. Text shrinks to a tenth."""
MOST_FILES = 100_000
FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@contextmanager
def unpack(given: Path) -> Iterator[Path]:
    """Yield the folder itself, or the unpacked ``.zip``, which is deleted on exit.

    Raises :class:`ConfigError` for a file that is no zip or a damaged one, and for one that would write
    outside its folder, hold links, or fill the disk.
    """
    if not given.is_file():
        yield given
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            with zipfile.ZipFile(given) as file:
                _check(file, given)
                _extract(file, Path(folder))
        except FAULTS as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ConfigError(f"{given}: cannot be unpacked as an export: {reason}") from error
        yield Path(folder)


def _check(file: zipfile.ZipFile, given: Path) -> None:
    entries = file.infolist()
    total = sum(entry.file_size for entry in entries)
    if total > MOST_TIMES * given.stat().st_size + FREE_BYTES:
        raise ConfigError(f"{given}: would unpack to {total:,} bytes, which no export does")
    if len(entries) > MOST_FILES:
        raise ConfigError(f"{given}: has {len(entries):,} files, which no export has")
    seen: set[PurePosixPath] = set()
    for entry in entries:
        name, kind = PurePosixPath(entry.filename), stat.S_IFMT(entry.external_attr >> 16)
        if fault := _find_fault(entry.orig_filename, name, kind, seen):
            raise ConfigError(f"{given}: the file {entry.orig_filename!r} {fault}")
        seen.add(name)


def _find_fault(written: str, name: PurePosixPath, kind: int, seen: set[PurePosixPath]) -> str:
    if name.is_absolute() or ".." in name.parts or any(sign in written for sign in "\\:\0"):
        return "would be outside the folder of the export"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or no plain file"
    return "is in it twice" if name in seen else ""


def _extract(file: zipfile.ZipFile, folder: Path) -> None:
    for entry in file.infolist():
        target = folder / entry.filename
        if entry.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open(entry) as source, target.open("xb") as to:
            shutil.copyfileobj(source, to)  # reads no more than the size that was checked
