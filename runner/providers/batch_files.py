"""What the batch APIs have in common: JSON lines in, JSON lines out, and plain calls in between."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from runner.core.errors import ProviderError, RetryableError
from runner.core.types import Completion
from runner.providers.calls import ServiceFiles
from runner.providers.completion import read_count, read_mapping
from runner.providers.http.failures import make_error

log = logging.getLogger(__name__)

KEY = "runner_key"  # of the metadata
PAGE = 100
UNREACHED = {"batch_expired", "batch_cancelled"}  # errors of lines that the batch did not come to


class ServiceBatcher(ServiceFiles):
    """Calls with the provider's key; lines of result files as answers."""

    most_bytes = 190_000_000  # 200 MB are allowed at OpenAI and Azure, 512 MB at Mistral

    def upload(self, name: str, content: bytes) -> str:
        """Send an input file; returns its id when the service has read it."""
        return self._send(name, content)

    def _read_results(
        self, files: Iterable[Any], expected: object
    ) -> Iterator[tuple[str, Completion | ProviderError]]:
        """Key and answer, or failure, of each line of result files; a line without a key is skipped.

        Raises :class:`RetryableError` for a file without any line that can be read, and if there is no line
        at all though the service says that some requests are done: to ask again would be to pay twice.
        """
        found = False
        for file in filter(None, files):
            for line in read_lines(self._download(f"/files/{file}/content"), f"{self._name}: {file}"):
                found = True
                yield str(line["custom_id"]), self._parse_result(line)
        if expected and not found:
            raise RetryableError(f"{self._name}: there are no results, but {expected} requests are done")

    def _parse_result(self, line: Mapping[str, Any]) -> Completion | ProviderError:
        """What became of one request. Whatever is malformed in the line is its own failure."""
        response, error = read_mapping(line.get("response")), line.get("error") or {}
        status = read_count(response.get("status_code"))
        try:
            if status and 200 <= status < 300:
                return replace(self._provider.read_answer(response.get("body")), batch=True)
        except ProviderError as refused:
            return refused
        if isinstance(error, dict) and str(error.get("code")) in UNREACHED:
            return RetryableError(describe_error(error))
        if status:
            return make_error(self._provider.service(), status, {}, response.get("body"))
        return ProviderError(
            f"{self._name}: {describe_error(error) if error else 'the result cannot be read'}"
        )


def read_lines(content: bytes, where: str) -> Iterator[dict[str, Any]]:
    """The objects with a ``custom_id`` in a file of results; any other line is skipped with a warning.

    Raises :class:`RetryableError` for a file that has lines and none that can be read.
    """
    found, skipped = False, []
    for number, text in enumerate(content.split(b"\n"), start=1):
        if line := _parse_line(text):
            found = True
            yield line
        elif text.strip():
            skipped.append(number)
    for number in skipped if found else []:
        log.warning("%s, line %d: expected an object with custom_id", where, number)
    if skipped and not found:
        raise RetryableError(f"{where}: the results cannot be read")


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
