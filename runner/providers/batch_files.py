"""What the batch APIs have in common: JSON lines in, JSON lines out, and plain calls in between.

No SDK: the calls are few, and a process that polls a batch for hours should start fast.
"""

from __future__ import annotations

import json
import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import httpx2

from runner.core.errors import ProviderError, RetryableError
from runner.core.retry import Retry
from runner.core.types import Completion
from runner.providers.chat import Chat
from runner.providers.completion import describe_json, parse_completion, read_count, read_mapping
from runner.providers.http.client import Client
from runner.providers.http.failures import make_error

log = logging.getLogger(__name__)

KEY = "runner_key"  # of the metadata
PAGE = 100
UNREACHED = {"batch_expired", "batch_cancelled"}  # errors of lines that the batch did not come to


class ServiceBatcher:
    """Calls with the provider's key; lines of result files as answers."""

    most_bytes = 190_000_000  # 200 MB are allowed at OpenAI and Azure, 512 MB at Mistral

    def __init__(self, provider: Chat, sleep: Callable[[float], None] = time.sleep) -> None:
        self._provider = provider
        self._sleep = sleep

    def _request(self, method: str, path: str, need: str = "id", **settings: Any) -> Mapping[str, Any]:
        """A JSON object. One without the field ``need`` counts as a fault of the service."""
        answer = self._client.request(method, f"{self._base_url()}{path}", **settings)
        if not isinstance(answer, dict) or answer.get(need) is None:
            raise RetryableError(
                f"{self._name}: {method} {path}: expected an object with {need}, got {describe_json(answer)}"
            )
        return answer

    def _download(self, path: str) -> bytes:
        return self._client.download("GET", f"{self._base_url()}{path}")

    def _base_url(self) -> str:
        return self._provider.endpoint()

    def _upload(self, name: str, content: bytes) -> Any:
        """Send an input file and return the service's file object."""
        file = (name, content, "application/jsonl")
        return self._request("POST", "/files", data={"purpose": "batch"}, files={"file": file})

    def _read_results(self, file: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        """Key and answer, or failure, of each line of a result file; a line without a key is skipped.

        A file without any is not what the batch said: its rows must not be paid a second time for that.
        """
        content = self._download(f"/files/{file}/content")
        lines = [(text, _parse_line(text)) for text in content.split(b"\n")]
        if content.strip() and not any(line for _, line in lines):
            start = describe_json(content.decode(errors="replace").strip())
            raise RetryableError(
                f"{self._name}: the result file {file} cannot be read, got {start}; the same command tries "
                "again, provider.batch=false asks its rows live"
            )
        for number, (text, line) in enumerate(lines, start=1):
            if line:
                yield str(line["custom_id"]), self._parse_result(line)
            elif text.strip():
                log.warning("%s: %s, line %d: expected an object with custom_id", self._name, file, number)

    def _parse_result(self, line: Mapping[str, Any]) -> Completion | ProviderError:
        """What became of one request. Whatever is malformed in the line is its own failure."""
        response, error = read_mapping(line.get("response")), line.get("error") or {}
        status = read_count(response.get("status_code"))
        try:
            if status and 200 <= status < 300:
                return replace(parse_completion(response.get("body"), self._name), batch=True)
        except ProviderError as refused:
            return refused
        if isinstance(error, dict) and str(error.get("code")) in UNREACHED:
            return RetryableError(describe_error(error))
        if status:
            return make_error(self._provider.service(), status, {}, response.get("body"))
        return ProviderError(
            f"{self._name}: {describe_error(error) if error else 'the result cannot be read'}"
        )

    def _make_headers(self) -> Mapping[str, str]:
        provider = self._provider
        return {**provider.build_headers(provider.read_key()), **(provider.renew_headers() or {})}

    @property
    def _name(self) -> str:
        return self._provider.name

    @cached_property
    def _client(self) -> Client:
        client = httpx2.Client(timeout=self._provider.timeout_s)
        weakref.finalize(self, client.close)
        retry = Retry(max_wait_s=self._provider.max_wait_s)
        return Client(self._provider.service(), client, self._make_headers, self._sleep, retry)


def list_reasons(errors: Any) -> str:
    """The first errors of a refused batch: a list, also as ``data`` of an object, or a text."""
    found = errors.get("data") or errors if isinstance(errors, dict) else errors
    return "; ".join(
        describe_error(error) for error in (found if isinstance(found, list) else [found])[:3] if error
    )


def dump_line(content: Mapping[str, Any]) -> bytes:
    """A line of an input file, without the newline."""
    return json.dumps(content, ensure_ascii=False).encode()


def describe_error(error: Any) -> str:
    """What an error object of a batch says."""
    return str(error.get("message") or error.get("code") or error) if isinstance(error, dict) else str(error)


def _parse_line(text: bytes) -> dict[str, Any] | None:
    """A line of a result file; None unless it says which request it belongs to."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and isinstance(line.get("custom_id"), str) else None
