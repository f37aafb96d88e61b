"""Batches at OpenAI (https://developers.openai.com/api/docs/guides/batch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.core.errors import ProviderError
from runner.core.services import BatchStatus
from runner.core.types import Completion, Request
from runner.providers.batch_files import KEY, PAGE, ServiceBatcher, dump_line, list_reasons
from runner.providers.calls import check_items
from runner.providers.completion import read_count, read_mapping

ENDPOINT = "/v1/chat/completions"  # of the batch and of its lines, at OpenAI and at Azure
ENDED = {"completed", "expired", "cancelled"}
FILES_PAGE = 1000


class OpenAIBatcher(ServiceBatcher):
    """See :class:`runner.core.provider.Batcher`."""

    most_requests = 50_000

    def line(self, key: str, request: Request) -> bytes:
        """A request as a line of the input file."""
        body = self._provider.build_body(request)
        return dump_line({"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body})

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
        body = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
        return str(self._ask("POST", "/batches", {"id": str}, json={**body, "metadata": {KEY: key}})["id"])

    def status(self, batch_id: str) -> BatchStatus:
        """Where the batch stands; a word that is not known counts as running."""
        batch = self._ask("GET", f"/batches/{batch_id}", {"id": str, "status": str})
        counts, word = read_mapping(batch.get("request_counts")), _read_state(batch)
        done, failed, total = (read_count(counts.get(name)) or 0 for name in ("completed", "failed", "total"))
        if word == "failed":
            return BatchStatus("refused", list_reasons(batch.get("errors")) or word, done + failed, total)
        return BatchStatus("ended" if word in ENDED else "running", word, done + failed, total)

    def results(self, batch_id: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        """The lines of the output file and of the error file."""
        batch = self._ask("GET", f"/batches/{batch_id}", {"id": str, "status": str})
        done = (batch.get("request_counts") or {}).get("completed")
        yield from self._read_results((batch.get("output_file_id"), batch.get("error_file_id")), done)

    def _list_batches(self) -> Iterator[dict[str, Any]]:
        """All batches of the account, the newest first."""
        return self._list_pages("/batches", {"limit": PAGE})

    def _list_files(self, name: str) -> Iterator[dict[str, Any]]:
        return self._list_pages("/files", {"purpose": "batch", "limit": FILES_PAGE})

    def _list_pages(self, path: str, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while True:
            page = self._ask("GET", path, {"data": list}, params=params)
            yield from check_items(page["data"], self._name)
            if not page.get("has_more") or not page["data"]:
                return
            params = {**params, "after": page["data"][-1]["id"]}


def _read_state(batch: Mapping[str, Any]) -> str:
    return str(batch.get("status") or "").lower()  # Azure sometimes begins it with a capital
