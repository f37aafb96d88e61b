"""Find data files: by path or pattern, in the data folder by name and sha256, or at a URL.

No other module uses the network for data. A file that is found locally is not downloaded again.
"""

from __future__ import annotations

import glob
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.config.dataset_schema import FileConfig
from runner.core.errors import ConfigError, DataError, count_of
from runner.core.files import hold_lock
from runner.core.paths import ROWS, data_folder
from runner.data.files import archive, remote
from runner.data.files.missing import describe_missing

PATIENCE = 3600.0
"""Seconds to wait for another process that downloads the same file."""

_find_objection: ContextVar[Callable[[str, str, str], str]] = ContextVar(
    "find_objection", default=lambda kind, written, value: ""
)


@dataclass(frozen=True)
class Part:
    """One file with rows: a file of its own, or a member of an archive."""

    path: Path
    """The file, or the archive."""
    name: str
    """For messages, with the suffix that tells the format: ``results.zip!runs/a.json``."""
    file: str | None = None
    """Of files that a pattern found: the name from the first folder on that the pattern leaves open."""
    content: bytes | None = None
    """What the member of an archive, or a log of Inspect, holds; None for a file of its own."""

    def read(self) -> bytes:
        """The content, unpacked if its name says that it is compressed. Raises :class:`ValueError`."""
        return archive.unpack(self.name, self.path.read_bytes() if self.content is None else self.content)


@contextmanager
def guard(find_objection: Callable[[str, str, str], str]) -> Iterator[None]:
    """Ask in this block, before a path is opened or an address or a token is used, whether it may be.

    ``find_objection`` gets ``path``, ``url`` or ``token_env``, what the config has for it, and the file or
    address that this means; it says why not, and empty means that it may.
    """
    token = _find_objection.set(find_objection)
    try:
        yield
    finally:
        _find_objection.reset(token)


def locate(file: FileConfig, key: str = "dataset") -> list[tuple[Path, str | None]]:
    """The local path of ``file``, which is downloaded if necessary; ``key`` is its place in the config.

    ``path`` is absolute, or relative to the current folder, then the data folder, then the packaged data.
    With ``sha256``, the data folder and its subfolders are searched for a file of this name and content
    before the network is used, and the hash of any file is checked. Of ``results.zip!runs/a.json`` the
    archive is meant. A pattern (``runs/*/result.json``) that is no file's name gives each file that fits, in
    the order of their names, each with its name from the first folder on that the pattern leaves open;
    ``sha256`` is then as :func:`hash_located` makes it.

    Raises:
        ConfigError: neither ``path`` nor ``url`` is given.
        DataError: no such file, a wrong sha256, or a failed download.
    """
    if not (file.path or file.url):
        raise ConfigError(f"{key}.path and {key}.url are both empty; set one of them")
    try:
        urlsplit(file.url or "")
    except ValueError as error:
        raise ConfigError(f"{key}.url={file.url!r}: {error}") from error
    try:
        return _find(file, key)
    except OSError as error:  # a name that is too long, a folder that may not be read, a full disk
        raise DataError(
            f"{key}: {error.filename or file.path or file.url}: {error.strerror or error}"
        ) from error


def locate_parts(file: FileConfig, key: str = "dataset") -> list[Part]:
    """The files with rows that ``file`` means, as :func:`locate` finds them; of archives, their members.

    Raises:
        DataError: what :func:`locate` raises, or an archive without such a member.
    """
    member = archive.split_member(file.path or "")[1] or archive.split_member(file.url or "")[1]
    parts = []
    for path, name in locate(file, key):
        try:
            if member is None:
                samples = archive.join_samples(path) if path.suffix.lower() == ".eval" else None
                if samples is None:
                    _refuse_archive(path, key)
                parts.append(Part(path, str(path), name, samples))
                continue
            found = archive.read_members(path, member)
        except (ValueError, OSError) as error:
            raise DataError(f"{key}: {path}: {error}") from error
        for inner, content in found:
            shown = archive.drop_fixed(member, inner) if archive.is_pattern(member) else None
            both = "!".join(filter(None, [name, shown])) or None
            parts.append(Part(path, f"{path}!{inner}", both, content))
    return parts


def move(file: FileConfig, folder: str, found: Path, name: str | None) -> str:
    """The ``path`` that means what ``file`` does, where what :func:`locate` found is copied to ``folder``."""
    outer, member = archive.split_member(file.path or "")
    member = member or archive.split_member(file.url or "")[1]
    inner = found.name if name is None else archive.drop_fixed(outer, outer)
    return f"{folder}/{inner}" + (f"!{member}" if member else "")


def _refuse_archive(path: Path, key: str) -> None:
    if path.suffix.lower() in (".zip", ".eval", ".tar", ".tgz") and (names := archive.list_members(path)):
        shown = ", ".join(names[:5]) + (f", … ({len(names)} files)" if len(names) > 5 else "")
        raise DataError(f"{key}.path: {path} is an archive; name a file in it, {path.name}!NAME: {shown}")


def _find(file: FileConfig, key: str) -> list[tuple[Path, str | None]]:
    outer = replace(
        file,
        path=archive.split_member(file.path)[0] if file.path else None,
        url=archive.split_member(file.url)[0] if file.url else None,
    )
    found = _find_by_path(file, outer, key) or _find_by_hash(outer) or _find_by_url(file, outer, key)
    if found is not None:
        return [(found, None)]
    if many := _find_by_pattern(file, outer, key):
        return many
    raise DataError(f"{key}.path{describe_missing(outer.path or '', [Path.cwd(), data_folder(), ROWS])}")


def _find_by_pattern(file: FileConfig, outer: FileConfig, key: str) -> list[tuple[Path, str | None]]:
    pattern = outer.path or ""
    if not archive.is_pattern(pattern) or file.url:
        return []
    if ".." in archive.drop_fixed(pattern, pattern).split("/"):
        raise ConfigError(f"{key}.path={pattern!r}: .. must come before the first * of a pattern")
    for folder in (Path(), data_folder(), ROWS):
        names = sorted(Path(name).as_posix() for name in glob.glob(pattern, root_dir=folder, recursive=True))
        found = [(folder / name, archive.drop_fixed(pattern, name)) for name in names]
        found = [(path, name) for path, name in found if path.is_file()]
        for path, _ in found:
            _object("path", file.path or "", str(path), key)
        if found and file.sha256 and (actual := hash_located(found)) != file.sha256.lower():
            raise DataError(
                f"{key}.sha256: {count_of(len(found), 'file')} that fit {pattern} have sha256 {actual}, but"
                f" the config asks for {file.sha256}"
            )
        if found:
            return list(found)
    return []


def hash_located(found: Sequence[tuple[Path, str | None]]) -> str:
    """The SHA-256 of what :func:`locate` found: of one file, or of the list of several.

    The list has a line for each file in the order of their names: its SHA-256, two spaces, its name.
    """
    if len(found) == 1 and found[0][1] is None:
        return hash_file(found[0][0])
    lines = [f"{hash_file(path)}  {name}\n" for path, name in found]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _find_by_path(file: FileConfig, outer: FileConfig, key: str) -> Path | None:
    if outer.path is None:
        return None
    _object("path", file.path or "", outer.path, key)
    for folder in (Path(), data_folder(), ROWS):
        candidate = folder / outer.path
        if candidate.is_file():
            _check_hash(candidate, outer.sha256, f"{key}.sha256")
            return candidate
    return None


def _find_by_hash(file: FileConfig) -> Path | None:
    if file.sha256 is None:
        return None
    for candidate in _index_files(data_folder().absolute()).get(_get_name(file), ()):
        if candidate.is_file() and hash_file(candidate) == file.sha256.lower():
            return candidate
    return None


def _find_by_url(file: FileConfig, outer: FileConfig, key: str) -> Path | None:
    url = outer.url
    if url is None:
        return None
    # One folder per content (or, for want of a hash, per URL): names such as result.json repeat.
    mark = outer.sha256 or hashlib.sha256(url.encode()).hexdigest()
    target = data_folder() / mark[:12].lower() / _get_name(outer)
    if outer.sha256 is not None or not target.is_file():
        _object("url", file.url or "", url, key)
        if outer.token_env is not None:
            _object("token_env", outer.token_env, outer.token_env, key)
        with hold_lock("download", str(target.absolute()), PATIENCE):
            if not _is_there(target, outer.sha256):  # else another process has just downloaded it
                _download(outer, url, target, key)
    return target


def _is_there(target: Path, expected: str | None) -> bool:
    return target.is_file() and (expected is None or hash_file(target) == expected.lower())


def _object(kind: str, written: str, value: str, key: str) -> None:
    if objection := _find_objection.get()(kind, written, value):
        raise DataError(f"{key}.{kind}={value}: {objection}")


def _get_name(file: FileConfig) -> str:
    return (
        Path(file.path).name
        if file.url is None and file.path
        else Path(unquote(urlsplit(file.url or "").path)).name
    )


@lru_cache(maxsize=8)
def _index_files(folder: Path) -> dict[str, list[Path]]:
    """All files below ``folder`` by name. The folder is read once per process."""
    names: dict[str, list[Path]] = {}
    for parent, _, files in sorted(os.walk(folder)):
        for name in files:
            names.setdefault(name, []).append(Path(parent, name))
    return names


def hash_file(path: Path) -> str:
    """The file's SHA-256 in lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_hash(path: Path, expected: str | None, key: str) -> None:
    if expected is not None and (actual := hash_file(path)) != expected.lower():
        raise DataError(f"{key}: {path} has sha256 {actual}, but the config asks for {expected}")


def _download(file: FileConfig, url: str, target: Path, key: str) -> None:
    """Write the URL's content to ``target``, complete and checked, or write nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
    os.close(handle)
    try:
        _receive(file, url, Path(partial), key)
        expected = file.sha256
        if expected is not None and (actual := hash_file(Path(partial))) != expected.lower():
            raise DataError(f"{key}.sha256: {url} has sha256 {actual}, but the config asks for {expected}")
        Path(partial).replace(target)
    finally:
        Path(partial).unlink(missing_ok=True)
    _index_files.cache_clear()


def _receive(file: FileConfig, url: str, target: Path, key: str) -> None:
    try:
        remote.download(url, target, file.token_env, key)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{key}.url={url!r} cannot be downloaded ({reason}); alternatively put a copy of the file"
            f" anywhere below the data folder {data_folder()} (RUNNER_DATA_DIR), where its sha256 finds it"
        ) from error
