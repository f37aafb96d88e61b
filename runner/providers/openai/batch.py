"""Batches at OpenAI (https://developers.openai.com/api/docs/guides/batch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.core.errors import ProviderError
from runner.core.services import BatchStatus
from runner.core.types import Completion, Request
from runner.providers.batch_files import KEY, PAGE, ServiceBatcher, dump_line, list_reasons
from runner.providers.completion import read_count, read_mapping

UNREAD = {"uploaded", "pending", "running"}
READY_WITHIN_S = 120
ENDED = {"completed", "expired", "cancelled"}


class OpenAIBatcher(ServiceBatcher):
    """See :class:`runner.core.provider.Batcher`."""

    most_requests = 50_000
    endpoint = "/v1/chat/completions"

    def line(self, key: str, request: Request) -> bytes:
        """A request as a line of the input file."""
        body = self._provider.build_body(request)
        return dump_line({"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body})

    def upload(self, name: str, content: bytes) -> str:
        """Send an input file; returns its id when the service has read it, or after two minutes."""
        file = self._upload(name, content)
        for _ in range(READY_WITHIN_S):
            if file.get("status") not in UNREAD:
                break
            self._sleep(1.0)
            file = self._request("GET", f"/files/{file['id']}")
        if file.get("status") == "error":
            raise ProviderError(f"{self._provider.name}: {name} was refused: {file.get('status_details')}")
        return str(file["id"])

    def find(self, key: str, file_id: str | None) -> str | None:
        """The newest batch with this key or made from this file, unless it was refused."""
        for batch in self._list_batches():
            marked = read_mapping(batch.get("metadata")).get(KEY) == key
            made = file_id is not None and batch.get("input_file_id") == file_id
            if (marked or made) and _read_state(batch) != "failed":
                return str(batch["id"])
        return None

    def create(self, key: str, file_id: str) -> str:
        """Start a batch and return its id."""
        body = {"input_file_id": file_id, "endpoint": self.endpoint, "completion_window": "24h"}
        return str(self._request("POST", "/batches", json={**body, "metadata": {KEY: key}})["id"])

    def status(self, batch_id: str) -> BatchStatus:
        """Where the batch stands; a word that is not known counts as running."""
        batch = self._request("GET", f"/batches/{batch_id}", need="status")
        counts, word = read_mapping(batch.get("request_counts")), _read_state(batch)
        done, failed, total = (read_count(counts.get(name)) or 0 for name in ("completed", "failed", "total"))
        if word == "failed":
            return BatchStatus("refused", list_reasons(batch.get("errors")) or word, done + failed, total)
        return BatchStatus("ended" if word in ENDED else "running", word, done + failed, total)

    def results(self, batch_id: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        """The lines of the output file and of the error file."""
        batch = self._request("GET", f"/batches/{batch_id}")
        for file in filter(None, (batch.get("output_file_id"), batch.get("error_file_id"))):
            yield from self._read_results(str(file))

    def _list_batches(self) -> Iterator[dict[str, Any]]:
        """All batches of the account, the newest first."""
        params: dict[str, Any] = {"limit": PAGE}
        while True:
            page = self._request("GET", "/batches", need="data", params=params)
            yield from page["data"]
            if not page.get("has_more") or not page["data"]:
                return
            params = {"limit": PAGE, "after": page["data"][-1]["id"]}


def _read_state(batch: Mapping[str, Any]) -> str:
    return str(batch.get("status") or "").lower()  # Azure sometimes begins it with a capital
