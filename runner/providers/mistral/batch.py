"""Batches at Mistral (https://docs.mistral.ai/capabilities/batch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.core.errors import ProviderError
from runner.core.services import BatchStatus
from runner.core.types import Completion, Request
from runner.providers.batch_files import KEY, PAGE, ServiceBatcher, dump_line, list_reasons
from runner.providers.calls import check_items
from runner.providers.completion import read_count, read_list, read_mapping

RUNNING = {"QUEUED", "RUNNING", "CANCELLATION_REQUESTED"}


class MistralBatcher(ServiceBatcher):
    """See :class:`runner.core.provider.Batcher`. The job names the model, the lines do not."""

    most_requests = 100_000  # a million are allowed; files of this size are still pleasant to load

    def line(self, key: str, request: Request) -> bytes:
        """A request as a line of the input file."""
        body = self._provider.build_body(request)
        return dump_line({"custom_id": key, "body": {name: body[name] for name in body if name != "model"}})

    def find(self, key: str, file_id: str | None) -> str | None:
        """The newest job with this key or made from this file, unless it was refused."""
        for job in self._list_jobs():
            marked = read_mapping(job.get("metadata")).get(KEY) == key
            if (marked or file_id in read_list(job.get("input_files"))) and not _is_refused(job):
                return str(job["id"])
        return None

    def create(self, key: str, file_id: str) -> str:
        """Start a job and return its id."""
        body = {
            "input_files": [file_id],
            "model": self._provider.model,
            "endpoint": "/v1/chat/completions",
            "metadata": {KEY: key},
            "timeout_hours": 24,
        }
        return str(self._ask("POST", "/batch/jobs", {"id": str}, json=body)["id"])

    def status(self, batch_id: str) -> BatchStatus:
        """Where the job stands."""
        job = self._ask("GET", f"/batch/jobs/{batch_id}", {"id": str, "status": str})
        done, total = (read_count(job.get(f"{name}_requests")) or 0 for name in ("completed", "total"))
        word = str(job["status"])
        if _is_refused(job):
            return BatchStatus("refused", list_reasons(job.get("errors")) or word, done, total)
        return BatchStatus("running" if word in RUNNING else "ended", word, done, total)

    def results(self, batch_id: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        """The lines of the output file and of the error file."""
        job = self._ask("GET", f"/batch/jobs/{batch_id}", {"id": str, "status": str})
        done = job.get("succeeded_requests")
        yield from self._read_results((job.get("output_file"), job.get("error_file")), done)

    def _list_jobs(self) -> Iterator[dict[str, Any]]:
        """All jobs of the key's owner, the newest first."""
        return self._list_pages("/batch/jobs", {"created_by_me": "true", "order_by": "-created"})

    def _list_files(self, name: str) -> Iterator[dict[str, Any]]:
        return self._list_pages("/files", {"search": name, "purpose": "batch"})

    def _list_pages(self, path: str, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for number in range(1_000_000):
            page = {"page": number, "page_size": PAGE, **params}
            found = self._ask("GET", path, {"data": list}, params=page)["data"]
            yield from check_items(found, self._name)
            if len(found) < PAGE:
                return


def _is_refused(job: Mapping[str, Any]) -> bool:
    """Whether a job failed with nothing to show."""
    return job.get("status") == "FAILED" and not job.get("output_file") and not job.get("error_file")
