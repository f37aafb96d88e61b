"""Batches at Anthropic (https://platform.claude.com/docs/en/build-with-claude/batch-processing).

A batch is created with its requests, without an input file, and nothing of our own can be attached to it. So
what stands in the place of a file's id is a note: how many requests there are, the key of one of them, and
the newest batch before. A batch that was created while its answer was lost is among those after that one, and
its results have the key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from runner.core.errors import ProviderError, RetryableError
from runner.core.services import BatchStatus
from runner.core.types import Completion, Request
from runner.providers.anthropic.messages import make_inner_error
from runner.providers.batch_files import PAGE, dump_line, read_lines
from runner.providers.calls import ServiceCalls, check_items
from runner.providers.completion import read_count, read_mapping

log = logging.getLogger(__name__)

BATCHES = "/messages/batches"
UNREACHED = {"canceled", "expired"}
GONE = (404, 410)


class AnthropicBatcher(ServiceCalls):
    """See :class:`runner.core.provider.Batcher`."""

    most_requests = 100_000
    most_bytes = 240_000_000  # 256 MB are allowed

    def line(self, key: str, request: Request) -> bytes:
        """A request as an item of the batch's list."""
        return dump_line({"custom_id": key, "params": self._provider.build_body(request)})

    def find_file(self, name: str) -> str | None:
        """There are no input files."""
        return None

    def upload(self, name: str, content: bytes) -> str:
        """Keep the requests for :meth:`create`; returns the note by which :meth:`find` knows the batch."""
        lines = content.strip(b"\n").split(b"\n")
        newest = next(self._list_batches(1), None)
        first = json.loads(lines[0])["custom_id"]
        note = json.dumps({"requests": len(lines), "key": first, "after": newest and newest["id"]})
        self._kept = note, b'{"requests":[' + b",".join(lines) + b"]}"
        return note

    def find(self, key: str, file_id: str | None) -> str | None:
        """The id of the batch that a note is about, or None. Waits until a batch that may be it has ended.

        Only then its results tell the keys of its requests.
        """
        if file_id is None:  # nothing is known of a batch of which no note was made
            return None
        note = json.loads(file_id)
        for batch in self._list_batches(PAGE):
            if batch["id"] == note["after"]:
                break
            if sum(_read_counts(batch).values()) in (note["requests"], 0):  # 0: the service does not say
                self._wait_until_ended(batch["id"])
                if self._has_result(batch["id"], note["key"]):
                    return str(batch["id"])
        return None

    def create(self, key: str, file_id: str) -> str:
        """Start a batch and return its id."""
        note, content = self._kept
        assert note == file_id
        return str(self._ask("POST", BATCHES, {"id": str}, content=content)["id"])

    def status(self, batch_id: str) -> BatchStatus:
        """Where the batch stands; a word that is not known counts as running."""
        batch = self._ask("GET", f"{BATCHES}/{batch_id}", {"id": str, "processing_status": str})
        counts, word = _read_counts(batch), batch["processing_status"]
        total = sum(counts.values())
        done = total - counts.get("processing", 0)
        return BatchStatus("ended" if word == "ended" else "running", word, done, total)

    def results(self, batch_id: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        """Key and outcome of each request. Not from ``results_url``: the key goes to no other address."""
        found = False
        content = self._download(f"{BATCHES}/{batch_id}/results")
        for line in read_lines(content, f"{self._name}: batch {batch_id}"):
            found = True
            yield str(line["custom_id"]), self._parse_result(line)
        if not found:
            raise RetryableError(f"{self._name}: there are no results of batch {batch_id}")

    def _parse_result(self, line: Mapping[str, Any]) -> Completion | ProviderError:
        result = read_mapping(line.get("result"))
        kind = str(result.get("type"))
        try:
            if kind == "succeeded":
                return replace(self._provider.read_answer(result.get("message")), batch=True)
        except ProviderError as refused:
            return refused
        if kind in UNREACHED:
            return RetryableError(f"{self._name}: the batch ended before this request ({kind})")
        if kind == "errored":
            return make_inner_error(self._provider.service(), read_mapping(result.get("error")))
        return ProviderError(f"{self._name}: the result cannot be read")

    def _has_result(self, batch_id: str, key: str) -> bool:
        """Whether a batch had a request with this key; results that are gone are older than any note."""
        try:
            return any(found == key for found, _ in self.results(batch_id))
        except ProviderError as error:
            if error.status not in GONE:
                raise
            return False

    def _wait_until_ended(self, batch_id: str) -> None:
        told = False
        while self.status(batch_id).state == "running":
            if not told:
                log.info("%s: batch %s may be ours, which its results will tell", self._name, batch_id)
            told = True
            self._sleep(float(self._provider.batch_poll_s))

    def _list_batches(self, size: int) -> Iterator[dict[str, Any]]:
        """All batches of the workspace, the newest first."""
        params: dict[str, Any] = {"limit": size}
        while True:
            page = self._ask("GET", BATCHES, {"data": list}, params=params)
            yield from check_items(page["data"], self._name)
            if not page.get("has_more") or not page["data"]:
                return
            params["after_id"] = page["data"][-1]["id"]

    def _make_headers(self) -> Mapping[str, str]:
        return {**super()._make_headers(), "Content-Type": "application/json"}


def _read_counts(batch: Mapping[str, Any]) -> dict[str, int]:
    """How many requests of a batch have come to what, whatever the service's words for that."""
    counts = read_mapping(batch.get("request_counts"))
    return {name: read_count(count) or 0 for name, count in counts.items()}
