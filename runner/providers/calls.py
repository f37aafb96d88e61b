"""Calls to a service without its SDK, with the provider's key: batches, jobs, files, deployments.

No SDK: the calls are few, and a process that polls for hours should start fast.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import httpx2

from runner.core.errors import RetryableError
from runner.core.retry import Retry
from runner.providers.completion import describe_json
from runner.providers.http.client import Client
from runner.providers.http.failures import Service
from runner.providers.remote import Remote


class ServiceCalls:
    """What blocks: one call after another, each with the headers of its moment."""

    def __init__(self, provider: Remote, sleep: Callable[[float], None] = time.sleep) -> None:
        self._provider = provider
        self._sleep = sleep

    def _request(self, method: str, path: str, **settings: Any) -> Any:
        return self._client.request(method, f"{self._base_url()}{path}", **settings)

    def _download(self, path: str) -> bytes:
        return self._client.download("GET", f"{self._base_url()}{path}")

    def _ask(self, method: str, path: str, need: Mapping[str, type], **settings: Any) -> dict[str, Any]:
        """An answer that is an object with these fields; any other counts as a fault of the service."""
        answer = self._request(method, path, **settings)
        if not isinstance(answer, dict) or not all(isinstance(answer.get(key), need[key]) for key in need):
            raise RetryableError(
                f"{self._name}: {method} {path}: the answer cannot be read: expected an object with"
                f" {' and '.join(need)}, got {describe_json(answer)}"
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
        http = httpx2.Client(timeout=self._provider.timeout_s)
        weakref.finalize(self, http.close)
        return http


def check_items(items: list[Any], name: str) -> list[dict[str, Any]]:
    """Items of a list that the service gave, each with an id; else the list cannot be read."""
    if not all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in items):
        raise RetryableError(f"{name}: a list cannot be read")
    return items
