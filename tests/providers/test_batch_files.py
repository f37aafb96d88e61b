"""A result file of a batch: each line is its request's own, whatever the other lines are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from servers import Reply, completion, serving

from runner.core.errors import ProviderError, RetryableError
from runner.core.types import Completion
from runner.providers.openai import OpenAI
from runner.providers.openai.batch import OpenAIBatcher

pytestmark = pytest.mark.usefixtures("keys")
GOOD = {"custom_id": "good", "response": {"status_code": 200, "body": completion("2")}, "error": None}


def results(*lines: Any) -> dict[str, Completion | ProviderError]:
    """What is read from a result file of these lines."""
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    batch = {"id": "b", "status": "completed", "output_file_id": "f"}
    content = b"\n".join(texts) + b"\n"
    with serving(lambda call: Reply(content if call.path.endswith("/content") else batch)) as server:
        return dict(OpenAIBatcher(OpenAI(base_url=server.url)).results("b"))


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[1]", b"7", {}, {"custom_id": None}, {"custom_id": [1]}])
def test_a_line_without_a_key_is_skipped(line: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning that says where it stands; the other lines are read."""
    found = results(line, GOOD)
    assert isinstance(found.pop("good"), Completion)
    assert found == {}
    assert "f, line 1: expected an object with custom_id" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"response": 7},
        {"response": []},
        {"response": {"status_code": "many"}},
        {"response": {"status_code": 200}},
        {"response": {"status_code": "200", "body": completion([1])}},
        {"response": {"status_code": 200, "body": [1]}},
        {"response": {"status_code": 400, "body": {"error": [1]}}},
        {"error": "no"},
        {"error": {"code": [1]}},
        {"error": 7},
    ],
)
def test_a_malformed_line_is_a_failure_of_its_key(line: dict[str, Any]) -> None:
    """And of no other."""
    found = results({"custom_id": "bad", **line}, GOOD)
    assert isinstance(found["bad"], ProviderError)
    assert isinstance(found["good"], Completion)


def test_a_file_of_one_line() -> None:
    """Its content is JSON as a whole."""
    (answer,) = results(GOOD).values()
    assert isinstance(answer, Completion)
    assert (answer.text, answer.batch) == ("2", True)


def test_a_line_whose_turn_did_not_come_may_be_asked_again() -> None:
    """The service says so by a code."""
    (error,) = results({"custom_id": "late", "error": {"code": "batch_expired", "message": "late"}}).values()
    assert isinstance(error, RetryableError)


def test_a_file_without_any_line_of_ours_is_read_again() -> None:
    """A page of a proxy, say: no row is paid a second time for it."""
    with pytest.raises(RetryableError, match="f: the results cannot be read"):
        results(b"<html>busy</html>")


LOOKS: dict[str, Any] = {
    "a list": [],
    "a text": "busy",
    "no status": {"id": "b"},
    "null as status": {"id": "b", "status": None},
    "odd counts": {"id": "b", "status": "in_progress", "request_counts": {"completed": "many", "total": [1]}},
    "counts in a list": {"id": "b", "status": "in_progress", "request_counts": [1]},
    "errors as a text": {"id": "b", "status": "failed", "errors": "bad file"},
    "errors as a list": {"id": "b", "status": "failed", "errors": ["bad file", {"message": "line 3"}]},
    "errors as data": {"id": "b", "status": "failed", "errors": {"data": [{"message": "bad file"}]}},
}


@pytest.mark.parametrize("name", LOOKS)
def test_an_odd_look_at_a_batch(name: str) -> None:
    """It can be read without what is odd in it, or is looked at again; the reasons of a failure are kept."""
    with serving(lambda call: Reply(LOOKS[name])) as server:
        batcher = OpenAIBatcher(OpenAI(base_url=server.url))
        if not isinstance(LOOKS[name], dict) or LOOKS[name].get("status") is None:
            with pytest.raises(RetryableError, match="expected an object with id and status"):
                batcher.status("b")
            return
        found = batcher.status("b")
    assert (found.done, found.total) == (0, 0)
    assert found.state == "running" or "bad file" in found.detail
