"""Calls to a service without its SDK, with the provider's key: batches, jobs, files, deployments.

No SDK: the calls are few, and a process that polls for hours should start fast.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import UnionType
from typing import Any, TypeAlias

import httpx2

from runner.core.errors import ProviderError, RetryableError
from runner.core.retry import Retry
from runner.providers.completion import describe_json
from runner.providers.http.certificates import make_ssl_context
from runner.providers.http.client import Client
from runner.providers.http.failures import Service
from runner.providers.remote import Remote
from runner.providers.tuning_files import is_lost, is_unread, wait_until_read

Kind: TypeAlias = type | UnionType


class ServiceCalls:
    """What blocks: one call after another, each with the headers of its moment."""

    def __init__(self, provider: Remote, sleep: Callable[[float], None] = time.sleep) -> None:
        self._provider = provider
        self._sleep = sleep

    def _request(self, method: str, path: str, **settings: Any) -> Any:
        return self._client.request(method, f"{self._base_url()}{path}", **settings)

    def _download(self, path: str) -> bytes:
        return self._client.download("GET", f"{self._base_url()}{path}")

    def _ask(self, method: str, path: str, need: Mapping[str, Kind], **settings: Any) -> dict[str, Any]:
        """An answer that is an object with these fields; any other counts as a fault of the service."""
        answer = self._request(method, path, **settings)
        if not isinstance(answer, dict) or not all(
            isinstance(answer.get(key, ...), need[key]) for key in need
        ):
            raise RetryableError(
                f"{self._name}: {method} {path}: the answer cannot be read: expected an object"
                f"{' with ' if need else ''}{' and '.join(need)}, got {describe_json(answer)}"
            )
        return answer

    def _base_url(self) -> str:
        return self._provider.endpoint()

    def _service(self) -> Service:
        """This service in messages."""
        return self._provider.service()

    def _make_headers(self) -> Mapping[str, str]:
        provider = self._provider
        return {**provider.build_headers(provider.read_key()), **(provider.renew_headers() or {})}

    @property
    def _name(self) -> str:
        return self._provider.name

    @property
    def _client(self) -> Client:
        retry = Retry(max_wait_s=self._provider.max_wait_s)
        return Client(self._service(), self._http, self._make_headers, self._sleep, retry)

    @cached_property
    def _http(self) -> httpx2.Client:
        http = httpx2.Client(verify=make_ssl_context(), timeout=self._provider.timeout_s)
        weakref.finalize(self, http.close)
        return http


class ServiceFiles(ServiceCalls):
    """Uploaded files, found by name: names hold the digest of the content."""

    purpose = "batch"

    def find_file(self, name: str) -> str | None:
        """The id of an uploaded file of this name once the service has read it, or None."""
        files = [file for file in self._list_files(name) if file.get("filename") == name]
        files.sort(key=lambda file: is_unread(file.get("status")))
        for file in files:
            if not is_lost(file.get("status")) and not is_lost(self._wait_until_read(file).get("status")):
                return str(file["id"])
        return None

    def _send(self, name: str, content: bytes) -> str:
        """Send a file; returns its id when the service has read it."""
        file = self._wait_until_read(self._post_file(name, content))
        if is_lost(file.get("status")):
            raise ProviderError(f"{self._name}: {name} was refused: {file.get('status_details')}")
        return str(file["id"])

    def _list_files(self, name: str) -> Iterable[dict[str, Any]]:
        """The account's files for this purpose, at least those of this name."""
        raise NotImplementedError

    def _get_file(self, file_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/files/{file_id}", {"id": str})

    def _post_file(self, name: str, content: bytes) -> dict[str, Any]:
        form = {"data": {"purpose": self.purpose}, "files": {"file": (name, content, "application/jsonl")}}
        return self._ask("POST", "/files", {"id": str}, **form)

    def _wait_until_read(self, file: dict[str, Any]) -> dict[str, Any]:
        """The file once the service has read it, or as one that is lost; raises after an hour."""
        return wait_until_read(
            file,
            lambda file: file.get("status"),
            lambda: self._get_file(file["id"]),
            self._sleep,
            f"{self._name}: the file {file['id']}",
        )


def check_items(items: list[Any], name: str) -> list[dict[str, Any]]:
    """Items of a list that the service gave, each with an id; else the list cannot be read."""
    if not all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in items):
        raise RetryableError(f"{name}: a list cannot be read")
    return items
