"""What the batch APIs have in common: JSON lines in, JSON lines out, and plain calls in between.

No SDK: the calls are few, and a batch is polled for hours by a process that should start fast.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import httpx2

from runner.core.errors import ProviderError, RetryableError
from runner.core.types import Completion
from runner.providers.chat import Chat, completion
from runner.providers.http.client import Rest
from runner.providers.http.failures import failure

KEY = "runner_key"  # of the metadata
PAGE = 100
PASSED_OVER = {"batch_expired", "batch_cancelled"}  # errors of lines whose turn did not come


class ServiceBatcher:
    """Calls with the provider's key, and lines read as answers."""

    most_bytes = 190_000_000  # 200 MB are allowed at OpenAI and Azure, 512 MB at Mistral

    def __init__(self, provider: Chat, sleep: Callable[[float], None] = time.sleep) -> None:
        self._provider = provider
        self._sleep = sleep

    def _call(self, method: str, path: str, **settings: Any) -> Any:
        return self._rest.call(method, f"{self._root()}{path}", **settings)

    def _root(self) -> str:
        return self._provider.endpoint()

    def _sent(self, name: str, content: bytes) -> Any:
        """The file object of an uploaded input file."""
        file = (name, content, "application/jsonl")
        return self._call("POST", "/files", data={"purpose": "batch"}, files={"file": file})

    def _outcomes(self, file: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        """Key and answer, or failure, of each line of a result file."""
        content = self._call("GET", f"/files/{file}/content")
        texts = [] if isinstance(content, dict) else str(content).split("\n")
        lines = [json.loads(text) for text in texts if text.strip()]
        if isinstance(content, dict):  # a file of one line is JSON as a whole
            lines = [content]
        return ((str(line["custom_id"]), self._outcome(line)) for line in lines)

    def _outcome(self, line: Mapping[str, Any]) -> Completion | ProviderError:
        response, error = line.get("response") or {}, line.get("error") or {}
        status = int(response.get("status_code") or 0)
        try:
            if 200 <= status < 300:
                return replace(completion(response["body"], self._provider.name), batch=True)
        except ProviderError as refused:
            return refused
        if isinstance(error, dict) and error.get("code") in PASSED_OVER:
            return RetryableError(message(error))
        if status:
            return failure(self._provider.origin(), status, {}, response.get("body"))
        return ProviderError(f"{self._provider.name}: {message(error)}")

    def _headers(self) -> Mapping[str, str]:
        provider = self._provider
        return {**provider.headers(provider.key()), **(provider.fresh_headers() or {})}

    @cached_property
    def _rest(self) -> Rest:
        client = httpx2.Client(timeout=self._provider.timeout_s)
        weakref.finalize(self, client.close)
        return Rest(self._provider.origin(), client, self._headers, self._sleep)


def dumped(line: Mapping[str, Any]) -> bytes:
    """A line of an input file."""
    return json.dumps(line, ensure_ascii=False).encode()


def message(error: Any) -> str:
    """What an error object says."""
    return str(error.get("message") or error.get("code") or error) if isinstance(error, dict) else str(error)
