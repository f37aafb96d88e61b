"""Read archives and compressed files, such as ``results.zip!runs/a.json`` and ``rows.jsonl.gz``."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import posixpath
import re
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from runner.core.errors import ConfigError, count_of, suggest

_MEMBER = re.compile(r"(.*?\.(?:zip|eval|tar|tgz|tar\.\w+))!(.+)", re.IGNORECASE | re.DOTALL)
_ZSTANDARD = 93
"""The number of this compression in a .zip file."""
_SAMPLES = "samples/"
"""The folder of an ``.eval`` file."""


def split_member(text: str) -> tuple[str, str | None]:
    """The name of a file, and of what is meant in it if it is an archive.

    >>> split_member("a.zip!b/c.json"), split_member("wow!.json")
    (('a.zip', 'b/c.json'), ('wow!.json', None))
    """
    found = _MEMBER.fullmatch(text)
    return (found[1], found[2]) if found else (text, None)


def is_pattern(text: str) -> bool:
    """Whether a name has one of ``*``, ``?`` and ``[``."""
    return any(letter in text for letter in "*?[")


def drop_fixed(pattern: str, name: str) -> str:
    """A name without the folders that its pattern leaves no choice in.

    >>> drop_fixed("runs/*/result.json", "runs/a/result.json")
    'a/result.json'
    """
    parts = pattern.split("/")
    fixed = next((place for place, part in enumerate(parts) if is_pattern(part)), len(parts) - 1)
    return "/".join(name.split("/")[fixed:])


def find_matches(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that fit a pattern, in order; ``**`` is any folders, and hidden names fit no ``*``."""
    return sorted(name for name in names if _fits(name.split("/"), pattern.split("/")))


def _fits(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    if not parts or not patterns:
        return not parts and not patterns
    if patterns[0] == "**":
        rest = patterns[1:] or ["*"]
        seen = takewhile(lambda part: not part.startswith("."), parts)
        return any(_fits(parts[skipped:], rest) for skipped in range(sum(1 for _ in seen) + 1))
    hidden = parts[0].startswith(".") and not patterns[0].startswith(".")
    return not hidden and fnmatchcase(parts[0], patterns[0]) and _fits(parts[1:], patterns[1:])


def read_members(path: Path, member: str) -> list[tuple[str, bytes]]:
    """The name and content of a member of a ``.zip`` or ``.tar`` file, or of those that fit a pattern.

    What the file is, its content says. Raises :class:`ValueError` for a member that is not there, and for
    what cannot be read; the message names the nearest member.
    """

    def choose(names: Counter[str]) -> list[str]:
        found = [member] if member in names else []
        if not found and is_pattern(member):
            found = find_matches(member, names)
        if not found:
            raise ValueError(f"there is no {member!r} in it{describe_names(member, names)}")
        return found

    return _read_chosen(path, choose)


def join_samples(path: Path) -> bytes | None:
    """The samples of an ``.eval`` file, a log of Inspect, as in its ``.json`` files: ``{"samples": […]}``.

    They are in the order of their names. None if it has none, so that it is some other archive. Raises
    :class:`ValueError` for what cannot be read.
    """
    found = _read_chosen(path, lambda names: sorted(name for name in names if name.startswith(_SAMPLES)))
    return b'{"samples": [' + b",\n".join(content for _, content in found) + b"]}" if found else None


def _read_chosen(path: Path, choose: Callable[[Counter[str]], list[str]]) -> list[tuple[str, bytes]]:
    """The name and content of those members that ``choose`` chooses. Raises :class:`ValueError`."""
    try:
        with _open(path) as (names, read):
            found = choose(names)
            if twice := next((name for name in found if names[name] > 1), None):
                raise ValueError(f"{twice!r} is in it {names[twice]} times")
            contents = read(found)
            return [(name, contents[name]) for name in found]
    except (OSError, ValueError, ConfigError):
        raise
    except Exception as error:  # each way of compression has its own; a password is a RuntimeError
        raise ValueError(f"what is in it cannot be unpacked ({error})") from error


def list_members(path: Path) -> list[str]:
    """The names of the files in an archive; none where it is no archive."""
    try:
        with _open(path) as (names, _):
            return sorted(names)
    except Exception:  # it is only for a message
        return []


def describe_names(wanted: str, names: Iterable[str]) -> str:
    """The nearest names, for messages, or how many there are."""
    known = sorted(names)
    few = f", which has {count_of(len(known), 'file')}"
    return suggest(wanted, known) or f"{few}: {', '.join(known[:3])}, …"


_Read = Callable[[list[str]], dict[str, bytes]]


@contextmanager
def _open(path: Path) -> Iterator[tuple[Counter[str], _Read]]:
    """How often each name is in an archive, and how the content of some names is read.

    A ``.tar`` file that ends with a ``.zip`` file could be taken for that, so it is tried first.
    """
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive_of_tar:
            members = _list_files(archive_of_tar)
            yield (
                Counter(name for name, _ in members),
                lambda wanted: _extract(archive_of_tar, members, wanted),
            )
    elif zipfile.is_zipfile(path):
        with _open_zip(path) as archive:
            names = Counter(info.filename for info in archive.infolist() if not info.is_dir())
            yield names, lambda wanted: {name: archive.read(name) for name in wanted}
    else:
        raise ValueError("it is neither a .zip nor a .tar file")


def _list_files(archive: tarfile.TarFile) -> list[tuple[str, tarfile.TarInfo]]:
    """The names of the files, and of the links to them: tar writes a second name of a file as a link."""
    known = [(posixpath.normpath(member.name), member) for member in archive]
    files = {name for name, member in known if member.isfile() or member.islnk()}
    links = {
        name: posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        for name, member in known
        if member.issym()
    }
    while found := {name for name, target in links.items() if target in files} - files:
        files |= found  # a link may lead to a link
    return [(name, member) for name, member in known if name in files and not member.isdir()]


def _open_zip(path: Path) -> Any:
    """The archive; by another library where Python does not have its way of compression."""
    archive = zipfile.ZipFile(path)
    if hasattr(zipfile, "ZIP_ZSTANDARD") or all(
        info.compress_type != _ZSTANDARD for info in archive.infolist()
    ):
        return archive
    archive.close()
    return _load_zstandard("backports.zstd.zipfile").ZipFile(path)


def _load_zstandard(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "a file is compressed by Zstandard, which needs backports.zstd: pip install"
            " 'llm-experiment-runner[zstd]'"
        ) from error


def _decompress_zstandard(content: bytes) -> bytes:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    unpacked: bytes = _load_zstandard(name).decompress(content)
    return unpacked


def _decompress_all(make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor], content: bytes) -> bytes:
    """The content of all streams in a row; Python's own functions pass over one whose begin is damaged."""
    parts: list[bytes] = []
    while content or not parts:
        stream = make()
        parts.append(stream.decompress(content))
        if not stream.eof:
            raise ValueError("it ends too early")
        content = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)


_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": partial(_decompress_all, bz2.BZ2Decompressor),
    ".xz": partial(_decompress_all, lzma.LZMADecompressor),
    ".zst": _decompress_zstandard,
}


def _extract(
    archive: tarfile.TarFile, members: list[tuple[str, tarfile.TarInfo]], wanted: list[str]
) -> dict[str, bytes]:
    """The contents in the order of the file, since going back in a compressed one reads it anew."""
    found, sought = {}, set(wanted)
    for name, member in members:
        stream = archive.extractfile(member) if name in sought else None
        if stream is not None:
            found[name] = stream.read()
    return found


def unpack(name: str, content: bytes) -> bytes:
    """The content of a compressed file (``.gz``, ``.bz2``, ``.xz``, ``.zst``); of any other file as it is.

    Raises :class:`ValueError` if it is not compressed as its name says.
    """
    unpack_it = _UNPACK.get(Path(name).suffix.lower())
    try:
        return unpack_it(content) if unpack_it else content
    except ConfigError:
        raise
    except Exception as error:  # each way of compression has its own
        raise ValueError(f"it is not compressed as its name says ({error})") from error


def drop_packing(name: str) -> str:
    """A name without the suffix of its compression.

    >>> drop_packing("rows.jsonl.gz")
    'rows.jsonl'
    """
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in _UNPACK else name
