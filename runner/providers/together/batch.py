"""Batches at Together (https://docs.together.ai/reference/batch-create)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.core.errors import ProviderError, RetryableError
from runner.core.services import BatchStatus
from runner.core.types import Completion, Request
from runner.providers.batch_files import ServiceBatcher, dump_line, list_reasons
from runner.providers.calls import check_items
from runner.providers.completion import describe_json
from runner.providers.together.files import TogetherFiles

ENDED = {"COMPLETED", "EXPIRED", "CANCELLED"}


class TogetherBatcher(TogetherFiles, ServiceBatcher):
    """See :class:`runner.core.provider.Batcher`. Batches have no metadata: the input file finds one again."""

    purpose = "batch-api"
    most_requests = 50_000
    most_bytes = 95_000_000  # 100 MB are allowed

    def line(self, key: str, request: Request) -> bytes:
        """A request as a line of the input file."""
        return dump_line({"custom_id": key, "body": self._provider.build_body(request)})

    def find(self, key: str, file_id: str | None) -> str | None:
        """The newest batch made from this file, unless it was refused."""
        found = self._request("GET", "/batches")
        if not isinstance(found, list):
            raise RetryableError(f"{self._name}: GET /batches: expected a list, got {describe_json(found)}")
        batches = check_items(found, self._name)
        batches.sort(key=lambda batch: str(batch.get("created_at")), reverse=True)
        mine = (batch for batch in batches if file_id and batch.get("input_file_id") == file_id)
        return next((str(batch["id"]) for batch in mine if not _is_refused(batch)), None)

    def create(self, key: str, file_id: str) -> str:
        """Start a batch and return its id."""
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        made = self._ask("POST", "/batches", {"job": dict}, json=body)
        return str(check_items([made["job"]], self._name)[0]["id"])

    def status(self, batch_id: str) -> BatchStatus:
        """Where the batch stands, in per cent; a word that is not known counts as running."""
        batch = self._look(batch_id)
        progress, word = batch.get("progress"), str(batch["status"])
        done = int(progress) if isinstance(progress, int | float) else 0
        if _is_refused(batch):
            return BatchStatus("refused", list_reasons(batch.get("error")) or word, done, 100)
        return BatchStatus("ended" if word in {*ENDED, "FAILED"} else "running", word, done, 100)

    def results(self, batch_id: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        """The lines of the output file and of the error file."""
        batch = self._look(batch_id)
        expected = "all" if batch["status"] == "COMPLETED" else None
        yield from self._read_results((batch.get("output_file_id"), batch.get("error_file_id")), expected)

    def _look(self, batch_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/batches/{batch_id}", {"id": str, "status": str})


def _is_refused(batch: Mapping[str, Any]) -> bool:
    """Whether a batch failed with nothing to show."""
    return batch.get("status") == "FAILED" and not (batch.get("output_file_id") or batch.get("error_file_id"))
