"""Find a data file: by its path, in the data folder by name and sha256, or at its URL.

No other module uses the network for data. A file that is found locally is not downloaded again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from runner.config.dataset_schema import FileConfig
from runner.core.errors import ConfigError, DataError, suggest
from runner.core.paths import ROWS, data_folder

TIMEOUT = 60.0
"""Seconds to wait for a connection, and then for each part of the answer."""

_find_objection: ContextVar[Callable[[str, str], str]] = ContextVar(
    "find_objection", default=lambda kind, value: ""
)


@contextmanager
def guard(find_objection: Callable[[str, str], str]) -> Iterator[None]:
    """Ask in this block, before a path is opened or an address is used, whether it may be.

    ``find_objection`` gets ``path`` or ``url`` and the value, and says why not; empty means that it may.
    """
    token = _find_objection.set(find_objection)
    try:
        yield
    finally:
        _find_objection.reset(token)


def locate(file: FileConfig, key: str = "dataset") -> Path:
    """The local path of ``file``, which is downloaded if necessary; ``key`` is its place in the config.

    ``path`` is absolute, or relative to the current folder, then the data folder, then the packaged data.
    With ``sha256``, the data folder and its subfolders are searched for a file of this name and content
    before the network is used, and the hash of any file is checked.

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


def _find(file: FileConfig, key: str) -> Path:
    found = _find_by_path(file, key) or _find_by_hash(file) or _find_by_url(file, key)
    if found is None:
        raise DataError(_describe_missing(file, key))
    return found


def _find_by_path(file: FileConfig, key: str) -> Path | None:
    if file.path is None:
        return None
    _object("path", file.path, key)
    for folder in (Path(), data_folder(), ROWS):
        candidate = folder / file.path
        if candidate.is_file():
            _check_hash(candidate, file.sha256, f"{key}.sha256")
            return candidate
    return None


def _find_by_hash(file: FileConfig) -> Path | None:
    if file.sha256 is None:
        return None
    for candidate in _index_files(data_folder().absolute()).get(_get_name(file), ()):
        if candidate.is_file() and hash_file(candidate) == file.sha256.lower():
            return candidate
    return None


def _find_by_url(file: FileConfig, key: str) -> Path | None:
    if file.url is None:
        return None
    # One folder per content (or, for want of a hash, per URL): names such as result.json repeat.
    mark = file.sha256 or hashlib.sha256(file.url.encode()).hexdigest()
    target = data_folder() / mark[:12].lower() / _get_name(file)
    if file.sha256 is not None or not target.is_file():
        _object("url", file.url, key)
        _download(file.url, file.sha256, target, key)
    return target


def _object(kind: str, value: str, key: str) -> None:
    if objection := _find_objection.get()(kind, value):
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


def _download(url: str, expected: str | None, target: Path, key: str) -> None:
    """Write the URL's content to ``target``, complete and checked, or write nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as stream:
            _receive(url, stream, key)
        if expected is not None and (actual := hash_file(Path(partial))) != expected.lower():
            raise DataError(f"{key}.sha256: {url} has sha256 {actual}, but the config asks for {expected}")
        Path(partial).replace(target)
    finally:
        Path(partial).unlink(missing_ok=True)
    _index_files.cache_clear()


def _receive(url: str, stream: BinaryIO, key: str) -> None:
    """Write the content of a URL. An answer that is shorter than its Content-Length is an error."""
    from urllib.request import url2pathname

    import httpx2

    try:
        if urlsplit(url).scheme == "file":
            stream.write(Path(url2pathname(urlsplit(url).path)).read_bytes())
            return
        headers = {"User-Agent": "llm-experiment-runner"}
        with httpx2.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            stream.writelines(answer.iter_bytes())
    except (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{key}.url={url!r} cannot be downloaded ({reason}); alternatively put a copy of the file"
            f" anywhere below the data folder {data_folder()} (RUNNER_DATA_DIR), where its sha256 finds it"
        ) from error


def _describe_missing(file: FileConfig, key: str) -> str:
    places = [Path.cwd(), data_folder(), ROWS]
    looked = ", ".join(str(place) for place in places)
    names = {path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_file()}
    folder = Path(file.path or "").parent
    names |= {path.name for place in places for path in (place / folder).glob("*") if path.is_file()}
    where = "" if Path(file.path or "").is_absolute() else f" in {looked}"
    return f"{key}.path={file.path!r}: no such file{where}{suggest(_get_name(file), names)}"
