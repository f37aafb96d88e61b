"""Read archives and compressed files, such as ``results.zip!runs/a.json`` and ``rows.jsonl.gz``."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path

from runner.core.errors import count_of, suggest

_MEMBER = re.compile(r"(.*?\.(?:zip|eval|tar|tgz|tar\.\w+))!(.+)", re.IGNORECASE | re.DOTALL)
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a way of compression that Python does not have
    RuntimeError,  # a password
)


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
    try:
        with _open(path) as (names, read):
            found = [member] if member in names else []
            if not found and is_pattern(member):
                found = find_matches(member, names)
            if not found:
                raise ValueError(f"there is no {member!r} in it{describe_names(member, names)}")
            if twice := next((name for name in found if names[name] > 1), None):
                raise ValueError(f"{twice!r} is in it {names[twice]} times")
            contents = read(found)
            return [(name, contents[name]) for name in found]
    except _BROKEN as error:
        raise ValueError(f"what is in it cannot be unpacked ({error})") from error


def list_members(path: Path) -> list[str]:
    """The names of the files in an archive; none where it is no archive."""
    try:
        with _open(path) as (names, _):
            return sorted(names)
    except (*_BROKEN, ValueError):
        return []


def describe_names(wanted: str, names: Iterable[str]) -> str:
    """The nearest names, for messages, or how many there are."""
    known = sorted(names)
    few = f", which has {count_of(len(known), 'file')}"
    return suggest(wanted, known) or f"{few}: {', '.join(known[:3])}, …"


_Read = Callable[[list[str]], dict[str, bytes]]


@contextmanager
def _open(path: Path) -> Iterator[tuple[Counter[str], _Read]]:
    """How often each name is in an archive, and how the content of some names is read."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = Counter(info.filename for info in archive.infolist() if not info.is_dir())
            yield names, lambda wanted: {name: archive.read(name) for name in wanted}
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive_of_tar:
            members = [
                (member.name.removeprefix("./"), member) for member in archive_of_tar if member.isfile()
            ]
            yield (
                Counter(name for name, _ in members),
                lambda wanted: _extract(archive_of_tar, members, wanted),
            )
    else:
        raise ValueError("it is neither a .zip nor a .tar file")


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
    """The content of a compressed file (``.gz``, ``.bz2``, ``.xz``); of any other file as it is.

    Raises :class:`ValueError` if it is not compressed as its name says.
    """
    unpack_it = _UNPACK.get(Path(name).suffix.lower())
    try:
        return unpack_it(content) if unpack_it else content
    except (OSError, ValueError, *_BROKEN) as error:
        raise ValueError(f"it is not compressed as its name says ({error})") from error


def drop_packing(name: str) -> str:
    """A name without the suffix of its compression.

    >>> drop_packing("rows.jsonl.gz")
    'rows.jsonl'
    """
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in _UNPACK else name
