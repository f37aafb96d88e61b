"""The batch APIs as local servers: requests are checked field by field, batches and answers are counted.

Like :mod:`hosted`: a request that the public API description does not allow is answered 400 with the reason.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hosted import Service, multipart, need
from servers import Call, Reply, completion

MODEL = "adder"
FIELDS = {"messages", "temperature", "max_tokens", "max_completion_tokens", "seed", "random_seed", "top_p"}


def add(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body of a chat completion that adds two numbers."""
    one, _, other = body["messages"][-1]["content"].split()
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return 200, completion(str(int(one) + int(other)), usage=usage)


@dataclass
class BatchService(Service):
    """https://developers.openai.com/api/reference/resources/batches

    ``answer`` answers one line. Of lines whose number ``unheard`` holds, nothing is heard before the batch
    expires.
    """

    states: tuple[str, ...] = ("validating", "in_progress", "completed")
    answer: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]] = add
    unheard: frozenset[int] = frozenset()
    errors: tuple[str, ...] = ()
    upload_state: str = "processed"
    root: str = "/v1"
    uploads: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The input files as the service tells of them; a deleted one is taken out."""
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    """How often each question was answered, through batches and live."""
    live: int = 0

    def key(self, call: Call) -> str:
        return super().key(call) or call.headers.get("api-key") or ""

    def route(self, call: Call) -> Reply:
        path = call.path.removeprefix(self.root)
        match call.method, path.strip("/").split("/"):
            case "POST", ["files"]:
                return Reply(self.upload(call))
            case "GET", ["files"]:
                return Reply(self.uploaded(call))
            case "GET", ["files", name]:
                self.uploads[name]["status"] = "processed"
                return Reply(self.uploads[name])
            case "GET", ["files", name, "content"]:
                return Reply(self.files[name], headers={"Content-Type": "application/octet-stream"})
            case "POST", ["chat", "completions"]:
                self.live += 1
                return self.told(*self.once(call.json))
            case "GET", ["models", _]:
                return Reply({"id": MODEL})
        return self.batch(call, path)

    def told(self, status: int, body: dict[str, Any]) -> Reply:
        return Reply(body, status=status)

    def batch(self, call: Call, path: str) -> Reply:
        match call.method, path.strip("/").split("/"):
            case "POST", ["batches"]:
                return Reply(self.create(call.json))
            case "GET", ["batches"]:
                return Reply(self.listing(call))
            case "GET", ["batches", name]:
                return Reply(self.look(name))
        return Reply({"error": {"message": f"no route {call.method} {call.path}"}}, status=404)

    def upload(self, call: Call) -> dict[str, Any]:
        form = multipart(call)
        need(set(form) == {"purpose", "file"}, f"unknown fields {set(form)}")
        need(form["purpose"].get_content().strip() == "batch", "purpose")
        need(form["file"].get_filename().endswith(".jsonl"), "a .jsonl file is wanted")
        content = form["file"].get_payload(decode=True)
        lines = [json.loads(line) for line in content.decode().splitlines()]
        need(lines and len({line["custom_id"] for line in lines}) == len(lines), "custom_id")
        for line in lines:
            self.check(line)
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        self.uploads[name] = {
            "id": name,
            "object": "file",
            "filename": form["file"].get_filename(),
            "bytes": len(content),
            "status": self.upload_state,
            "purpose": "batch",
        }
        return self.uploads[name]

    def uploaded(self, call: Call) -> dict[str, Any]:
        """A page of the uploaded files, the newest first."""
        need(call.query["purpose"] == ["batch"], "purpose")
        return self.listing(call, self.uploads)

    def check(self, line: dict[str, Any]) -> None:
        need(set(line) == {"custom_id", "method", "url", "body"}, f"line {set(line)}")
        need((line["method"], line["url"]) == ("POST", "/v1/chat/completions"), "method, url")
        need(line["body"]["model"] == MODEL, "model")
        need(set(line["body"]) <= FIELDS | {"model"}, f"body {set(line['body'])}")

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        allowed = {"input_file_id", "endpoint", "completion_window", "metadata"}
        need(set(body) <= allowed, f"unknown fields {set(body) - allowed}")
        need(body["input_file_id"] in self.uploads, "input_file_id")
        need(
            self.uploads[body["input_file_id"]]["status"] == "processed", "the file is still being processed"
        )
        need(body["endpoint"] == "/v1/chat/completions", "endpoint")
        need(body["completion_window"] == "24h", "completion_window")
        self.metadata(body.get("metadata") or {})
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {"id": name, "object": "batch", "status": self.states[0], **body}
        return self.batches[name]

    def metadata(self, given: dict[str, Any]) -> None:
        for name, value in given.items():
            need(len(name) <= 64 and isinstance(value, str) and len(value) <= 512, "metadata")

    def listing(self, call: Call, of: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
        items = list((self.batches if of is None else of).values())[::-1]
        after = call.query.get("after", [None])[0]
        start = next((place + 1 for place, item in enumerate(items) if item["id"] == after), 0)
        part = items[start : start + self.page]
        return {"object": "list", "data": part, "has_more": start + self.page < len(items)}

    def look(self, name: str) -> dict[str, Any]:
        """The batch as it stands, one state further than at the last look; done when it has ended."""
        batch = self.batches[name]
        batch["status"] = self.state(name)
        total = len(self.lines(batch["input_file_id"]))
        batch["request_counts"] = {"total": total, "completed": 0, "failed": 0}
        if batch["status"] == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "x", "message": m} for m in self.errors]}
        elif batch["status"] in {"completed", "expired", "cancelled"}:
            batch["request_counts"]["completed"] = total
            if "output_file_id" not in batch:
                good, bad = self.work(batch["input_file_id"])
                batch["output_file_id"], batch["error_file_id"] = self.write(good), self.write(bad)
        return batch

    def lines(self, file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[file].decode().splitlines()]

    def once(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked[body["messages"][-1]["content"]] += 1
        return self.answer(body)

    def work(self, file: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of the output file and of the error file, the last ones first."""
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for number, line in enumerate(self.lines(file)):
            told = {"id": f"r{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            if number in self.unheard:
                bad.append(told | {"error": {"code": "batch_expired", "message": "not executed in time"}})
                continue
            status, body = self.once(line["body"])
            told["response"] = {"status_code": status, "request_id": "q", "body": body}
            (good if status == 200 else bad).append(told)
        return good[::-1], bad[::-1]

    def write(self, lines: list[dict[str, Any]]) -> str | None:
        if not lines:
            return None
        name = f"file-{len(self.files) + 1}"
        self.files[name] = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        return name


@dataclass
class AzureBatchService(BatchService):
    """https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch: metadata is taken and forgotten."""

    root: str = "/openai/v1"
    states: tuple[str, ...] = ("Validating", "in_progress", "completed")

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        batch = super().create(body)
        batch["metadata"] = None
        return batch


@dataclass
class MistralBatchService(BatchService):
    """https://docs.mistral.ai/api/endpoint/batch"""

    states: tuple[str, ...] = ("QUEUED", "RUNNING", "SUCCESS")

    def check(self, line: dict[str, Any]) -> None:
        need(set(line) == {"custom_id", "body"}, f"line {set(line)}")
        need(set(line["body"]) <= FIELDS, f"body {set(line['body'])}")

    def batch(self, call: Call, path: str) -> Reply:
        match call.method, path.strip("/").split("/"):
            case "POST", ["batch", "jobs"]:
                return Reply(self.create(call.json))
            case "GET", ["batch", "jobs"]:
                need(call.query["created_by_me"] == ["true"], "created_by_me")
                return Reply(self.listing(call))
            case "GET", ["batch", "jobs", name]:
                return Reply(self.look(name))
        return Reply({"detail": "Not Found"}, status=404)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        allowed = {"input_files", "model", "endpoint", "metadata", "timeout_hours"}
        need(set(body) <= allowed, f"unknown fields {set(body) - allowed}")
        need(len(body["input_files"]) == 1 and body["input_files"][0] in self.uploads, "input_files")
        need((body["model"], body["endpoint"]) == (MODEL, "/v1/chat/completions"), "model, endpoint")
        need(isinstance(body["timeout_hours"], int), "timeout_hours")
        self.metadata(body["metadata"])
        name = f"job-{len(self.batches) + 1}"
        self.batches[name] = {"id": name, "object": "batch", "status": self.states[0], "errors": [], **body}
        return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        job = self.batches[name]
        job["status"] = self.state(name)
        job |= {"total_requests": len(self.lines(job["input_files"][0])), "completed_requests": 0}
        if job["status"] == "FAILED":
            job["errors"] = [{"message": text, "count": 1} for text in self.errors]
        elif job["status"] in {"SUCCESS", "TIMEOUT_EXCEEDED", "CANCELLED"} and "output_file" not in job:
            good, bad = self.work(job["input_files"][0])
            job["output_file"], job["error_file"] = self.write(good), self.write(bad)
            job |= {"succeeded_requests": len(good), "completed_requests": len(good) + len(bad)}
        return job

    def listing(self, call: Call, of: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
        items = list((self.batches if of is None else of).values())[::-1]
        size, page = int(call.query["page_size"][0]), int(call.query["page"][0])
        items = [item for item in items if call.query.get("search", [""])[0] in item.get("filename", "")]
        return {"object": "list", "total": len(items), "data": items[page * size : (page + 1) * size]}

    def work(self, file: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Nothing is said of lines whose turn did not come."""
        good, bad = super().work(file)
        return good, [line for line in bad if line["response"]]
