"""Download a file: by HTTP, from the Hugging Face hub, or from an object store by an extra's library."""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.core.errors import ConfigError

TIMEOUT = 60.0
"""Seconds to wait for a connection, and then for each part of the answer."""
_HUB = "hf"
_EXTRAS = {
    _HUB: ("hub", "huggingface_hub"),
    "s3": ("s3", "s3fs"),
    "gs": ("gcs", "gcsfs"),
    "gcs": ("gcs", "gcsfs"),
    "az": ("az", "adlfs"),
    "abfs": ("az", "adlfs"),
    "abfss": ("az", "adlfs"),
}
"""The extra and the library of each scheme of an address."""
_IN_HUB = re.compile(r"hf://(?:(datasets|spaces)/)?([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)")


def download(url: str, target: Path, token_env: str | None, key: str) -> None:
    """Write the content of an address to ``target``. ``token_env`` names the variable with the hub's token.

    Without it the hub's library looks for ``HF_TOKEN`` and its own login. Object stores find their
    credentials as their libraries do; variables such as ``FSSPEC_S3_ENDPOINT_URL`` set what these take.

    Raises:
        ConfigError: an address of another shape, a library that is not installed, or an empty variable.
        OSError, ValueError: anything that the server or its library says, and an answer that is shorter than
            its Content-Length.
    """
    from urllib.request import url2pathname

    scheme = urlsplit(url).scheme
    if token_env is not None and scheme != _HUB:
        raise ConfigError(
            f"{key}.token_env={token_env} is for hf:// only; object stores have variables of their own, such"
            " as AWS_PROFILE"
        )
    if scheme in _EXTRAS:
        _download_by_library(url, target, token_env, key)
    elif scheme == "file":
        target.write_bytes(Path(url2pathname(urlsplit(url).path)).read_bytes())
    else:
        _download_by_http(url, target)


def _download_by_http(url: str, target: Path) -> None:
    import httpx2

    headers = {"User-Agent": "llm-experiment-runner"}
    try:
        with httpx2.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            with target.open("wb") as stream:
                stream.writelines(answer.iter_bytes())
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OSError(str(error)) from error


def _download_by_library(url: str, target: Path, token_env: str | None, key: str) -> None:
    scheme = urlsplit(url).scheme
    extra, library = _EXTRAS[scheme]
    if "*" in url:
        raise ConfigError(f"{key}.url={url!r}: a pattern is for local files; name each file in {key}.files")
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}.url: {scheme}:// needs {library}: pip install 'llm-experiment-runner[{extra}]'"
        ) from error
    try:
        if scheme == _HUB:
            _download_from_hub(url, target, token_env, key)
        else:
            _download_from_store(url, target)
    except ConfigError:
        raise
    except Exception as error:  # these clients raise errors of many libraries
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise OSError(said) from error


def _download_from_store(url: str, target: Path) -> None:
    import fsspec

    store, path = fsspec.url_to_fs(url)
    store.get_file(path, str(target))


def _download_from_hub(url: str, target: Path, token_env: str | None, key: str) -> None:
    from huggingface_hub import hf_hub_download

    found = _IN_HUB.fullmatch(url)
    if found is None:
        raise ConfigError(f"{key}.url={url!r}: expected hf://datasets/owner/name@revision/path")
    kind, repository, revision, path = found.groups()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as folder:
        got = hf_hub_download(
            repository,
            unquote(path),
            repo_type=kind.removesuffix("s") if kind else "model",
            revision=unquote(revision) if revision else None,
            token=_read_token(token_env, key),
            endpoint=os.environ.get("HF_ENDPOINT"),
            local_dir=folder,
        )
        Path(got).replace(target)


def _read_token(token_env: str | None, key: str) -> str | None:
    if token_env is None:
        return None
    token = os.environ.get(token_env)
    if not token:
        raise ConfigError(f"{key}.token_env={token_env}: this variable is not set; it holds the hub's token")
    return token
