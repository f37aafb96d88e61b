"""The hosted fine-tuning APIs as local servers: requests are checked field by field, effects are counted.

Each is a function from call to reply for :func:`servers.serving`. A request that the public API description
does not allow is answered 400 with the reason, which fails the test that made it.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from servers import Call, Reply, completion

CURVE = b"step,train_loss,valid_loss\n1,2.5,\n2,1.5,-1\n3,0.5,0.75\n"
KEY = "sk-tuning-0123456789"


class Refused(Exception):
    """What the API would answer 400."""


def need(condition: object, reason: str) -> None:
    if not condition:
        raise Refused(reason)


def multipart(call: Call) -> dict[str, EmailMessage]:
    """The parts of a form by name."""
    head = f"Content-Type: {call.headers['Content-Type']}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + call.body)
    need(form.get_content_type() == "multipart/form-data", "a form is wanted")
    return {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}


def worth_losing(calls: Sequence[Call], lost: str) -> list[int]:
    """The numbers of the calls to lose: of requests all, of answers those that follow an effect."""
    return [number for number, call in enumerate(calls, start=1) if lost == "request" or call.method != "GET"]


def loses(cut: int, lost: str) -> Callable[[int, bool], bool]:
    """The fault that loses one call: its request or its answer."""
    return lambda number, done: number == cut and done == (lost == "answer")


SPOILED = {
    "cut": Reply(fault="cut"),
    "error": Reply({"error": {"message": "boom"}}, status=500, headers={"retry-after-ms": "1"}),
    "page": Reply(b"<html>back soon</html>", headers={"Content-Type": "text/html"}),
    "empty": Reply({}),
    "null": Reply(None),
    "junk": Reply({"id": None, "data": [None], "status": 7}),
}
"""Answers that tell nothing, as they come from a proxy or a service in trouble."""


@dataclass
class Outage:
    """A service in front of which something spoils all calls from the n-th on, for a number of calls.

    With ``heard`` the first of them has its effect all the same.
    """

    service: Callable[[Call], Reply]
    start: int
    lasts: int
    answer: Reply
    heard: bool = False
    calls: int = 0

    def __call__(self, call: Call) -> Reply:
        self.calls += 1
        if not self.start <= self.calls < self.start + self.lasts:
            return self.service(call)
        if self.heard and self.calls == self.start:
            self.service(call)
        return self.answer


@dataclass
class Service:
    """A local server: whoever has the key is served, calls are counted and may be cut.

    ``states`` are what a job is at each look; the last one stays.
    """

    states: tuple[str, ...]
    page: int = 2
    fault: Callable[[int, bool], bool] = lambda number, done: False
    """``fault(n, done)``: whether the n-th call is cut, before (``done`` false) or after it took effect."""
    looks: Counter[str] = field(default_factory=Counter)
    calls: int = 0

    def __call__(self, call: Call) -> Reply:
        self.calls += 1
        number = self.calls
        if self.fault(number, False):
            return Reply(fault="cut")
        try:
            need(self.key(call) == KEY, "wrong key")
            reply = self.route(call)
        except Refused as reason:
            reply = Reply({"error": {"message": str(reason), "type": "invalid_request_error"}}, status=400)
        return Reply(fault="cut") if self.fault(number, True) else reply

    def key(self, call: Call) -> str:
        return (call.headers.get("Authorization") or "").removeprefix("Bearer ")

    def state(self, name: str) -> str:
        """One further than at the last look."""
        self.looks[name] += 1
        return self.states[min(self.looks[name], len(self.states)) - 1]

    def route(self, call: Call) -> Reply:
        raise NotImplementedError


@dataclass
class Hosted(Service):
    """What the fine-tuning APIs share: files, and jobs that go on with every look."""

    states: tuple[str, ...] = ("queued", "running", "succeeded")
    error: dict[str, Any] | None = None
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def upload(self, call: Call) -> dict[str, Any]:
        form = multipart(call)
        need(set(form) <= {"purpose", "file", "visibility"}, f"unknown fields {set(form)}")
        need(form["purpose"].get_content().strip() == "fine-tune", "purpose")
        content = form["file"].get_payload(decode=True)
        for line in content.decode().splitlines():
            need(json.loads(line)["messages"][-1]["role"] == "assistant", "last turn")
        name = f"file-{len(self.contents) + 1}"
        self.contents[name] = content
        self.files[name] = {"id": name, "object": "file", "filename": form["file"].get_filename()}
        self.files[name] |= {
            "bytes": len(content),
            "created_at": 1,
            "purpose": "fine-tune",
            "status": "uploaded",
        }
        return self.files[name]

    def look(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        job["status"] = self.state(job_id)
        return job


@dataclass
class OpenAIApi(Hosted):
    """https://platform.openai.com/docs/api-reference/fine-tuning"""

    root: str = "/v1"
    allowed: frozenset[str] = frozenset(
        ["model", "training_file", "validation_file", "method", "seed", "suffix", "integrations", "metadata"]
    )
    checkpoints: tuple[tuple[int, str], ...] = (
        (1, "ft:m:o::1:ckpt-step-1"),
        (2, "ft:m:o::1:ckpt-step-2"),
        (3, "ft:m:o::1"),
    )
    model: str = "ft:m:o::1"

    def route(self, call: Call) -> Reply:
        path = call.path.removeprefix(self.root)
        match call.method, path.strip("/").split("/"):
            case "POST", ["files"]:
                return Reply(self.upload(call))
            case "GET", ["files"]:
                return Reply({"object": "list", "data": list(self.files.values()), "has_more": False})
            case "GET", ["files", name]:
                self.files[name]["status"] = "processed"
                return Reply(self.files[name])
            case "GET", ["files", "result", "content"]:
                return Reply(base64.b64encode(CURVE), headers={"Content-Type": "application/octet-stream"})
            case "POST", ["fine_tuning", "jobs"]:
                return Reply(self.create(call.json))
            case "GET", ["fine_tuning", "jobs"]:
                return Reply(self.listing(call))
            case "GET", ["fine_tuning", "jobs", job_id]:
                return Reply(self.finished(self.look(job_id)))
            case "GET", ["fine_tuning", "jobs", _, "events"]:
                return Reply(self.paged(call, [self.event(number) for number in (3, 2, 1)]))
            case "GET", ["fine_tuning", "jobs", job_id, "checkpoints"]:
                return Reply(
                    self.paged(call, [self.point(job_id, *point) for point in reversed(self.checkpoints)])
                )
        return Reply({"error": {"message": f"no route {call.method} {call.path}"}}, status=404)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        need(set(body) <= self.allowed, f"unknown fields {set(body) - self.allowed}")
        need(body["training_file"] in self.files, "training_file")
        need(body.get("validation_file") in {None, *self.files}, "validation_file")
        for name in filter(None, (body["training_file"], body.get("validation_file"))):
            need(self.files[name]["status"] == "processed", "the file is still being processed")
        need(body["method"]["type"] == "supervised", "method.type")
        given = body["method"].get("supervised", {"hyperparameters": {"n_epochs": 1}})["hyperparameters"]
        need(
            given and set(given) <= {"n_epochs", "batch_size", "learning_rate_multiplier"}, "hyperparameters"
        )
        for name, value in (body.get("metadata") or {}).items():
            need(len(name) <= 64 and isinstance(value, str) and len(value) <= 512, "metadata")
        job_id = f"ftjob-{len(self.jobs) + 1}"
        job = {"id": job_id, "object": "fine_tuning.job", "created_at": 1, "organization_id": "o"}
        job |= {
            "status": self.states[0],
            "result_files": [],
            "fine_tuned_model": None,
            "trained_tokens": None,
        }
        self.jobs[job_id] = job | {"hyperparameters": given, "seed": 0, **body}
        return self.jobs[job_id]

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        if job["status"] == "succeeded":
            job |= {"fine_tuned_model": self.model, "result_files": ["result"], "trained_tokens": 999}
        return job | {"error": self.error}

    def listing(self, call: Call) -> dict[str, Any]:
        wanted = {name[9:-1]: value[0] for name, value in call.query.items() if name.startswith("metadata[")}
        jobs = [job for job in self.jobs.values() if wanted.items() <= (job.get("metadata") or {}).items()]
        return self.paged(call, jobs[::-1])

    def paged(self, call: Call, items: list[dict[str, Any]]) -> dict[str, Any]:
        """At most ``page`` at once, whatever was asked."""
        after = call.query.get("after", [None])[0]
        start = next((place + 1 for place, item in enumerate(items) if item["id"] == after), 0)
        part = items[start : start + self.page]
        return {"object": "list", "data": part, "has_more": start + self.page < len(items)}

    def event(self, number: int) -> dict[str, Any]:
        return {
            "id": f"e{number}",
            "object": "fine_tuning.job.event",
            "created_at": number,
            "level": "info",
            "message": f"event {number}",
        }

    def point(self, job_id: str, step: int, model: str) -> dict[str, Any]:
        return {
            "id": f"c{step}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": step,
            "fine_tuning_job_id": job_id,
            "step_number": step,
            "fine_tuned_model_checkpoint": model,
            "metrics": {"step": step, "train_loss": 1 / step, "full_valid_loss": -1.0},
        }


@dataclass
class AzureApi(OpenAIApi):
    """OpenAI's API at ``/openai/v1``, and https://learn.microsoft.com/rest/api/aiservices/accountmanagement."""

    root: str = "/openai/v1"
    allowed: frozenset[str] = frozenset(
        ["model", "training_file", "validation_file", "method", "seed", "suffix", "trainingType"]
    )
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    provisioning: tuple[str, ...] = ("Creating", "Succeeded")
    hidden: int = 1
    """How often a finished deployment is not found yet."""
    made: int = 0
    keeps: int = 0
    """The status with which a deletion is refused, if it is."""

    def route(self, call: Call) -> Reply:
        if call.path.startswith("/subscriptions/"):
            return self.manage(call)
        if call.path == f"{self.root}/chat/completions":
            return self.chat(call.json)
        return super().route(call)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        need(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", body.get("suffix", "x")), "suffix")
        return super().create(body)

    def manage(self, call: Call) -> Reply:
        found = re.fullmatch(
            r"/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices"
            r"/accounts/([^/]+)/deployments(?:/([A-Za-z0-9-]{2,64}))?",
            call.path,
        )
        need(found, f"address {call.path}")
        need(re.fullmatch(r"\d{4}-\d\d-\d\d", call.query["api-version"][0]), "api-version")
        name = found[2]
        if name is None:
            need(call.method == "GET", "method")
            items = [
                {"name": name, "properties": item["properties"]} for name, item in self.deployments.items()
            ]
            return Reply({"value": items})
        if call.method == "DELETE" and self.keeps:
            return Reply({"error": {"code": "Refused", "message": "not now"}}, status=self.keeps)
        if call.method == "PUT":
            return self.deploy(name, call.json)
        if name not in self.deployments:
            return Reply({"error": {"code": "DeploymentNotFound", "message": "not found"}}, status=404)
        if call.method == "DELETE":
            self.deployments[name]["ending"] = True
            return Reply({}, status=202)
        return self.deployment(name)

    def deploy(self, name: str, body: dict[str, Any]) -> Reply:
        need(set(body) == {"sku", "properties"}, "fields")
        need(set(body["sku"]) == {"name", "capacity"} and isinstance(body["sku"]["capacity"], int), "sku")
        name_of_model = body["properties"]["model"]["name"]
        need(name_of_model in {self.model, *(model for _, model in self.checkpoints)}, "model's name")
        wanted = {"model": {"format": "OpenAI", "name": name_of_model, "version": "1"}}
        need(body["properties"] == wanted, "model")
        if self.deployments.get(name, {}).get("ending"):
            return Reply({"error": {"code": "RequestConflict", "message": "being deleted"}}, status=409)
        if name not in self.deployments:
            self.made += 1
        self.deployments.setdefault(name, {**body, "looks": 0, "hidden": self.hidden})
        return Reply(body, status=201)

    def deployment(self, name: str) -> Reply:
        found = self.deployments[name]
        if found.get("ending"):
            del self.deployments[name]
            return Reply({"properties": {"provisioningState": "Deleting"}})
        found["looks"] += 1
        state = self.provisioning[min(found["looks"], len(self.provisioning)) - 1]
        return Reply({"name": name, "properties": {"provisioningState": state}})

    def chat(self, body: dict[str, Any]) -> Reply:
        found = self.deployments.get(body["model"])
        if found is None or found["hidden"]:
            if found:
                found["hidden"] -= 1
            return Reply({"error": {"code": "DeploymentNotFound", "message": "does not exist"}}, status=404)
        need(body["messages"], "messages is empty")
        return Reply(completion())


@dataclass
class MistralApi(Hosted):
    """https://docs.mistral.ai/api, its fine-tuning part as it was described until it was withdrawn."""

    states: tuple[str, ...] = ("QUEUED", "VALIDATING", "RUNNING", "SUCCESS")
    refusal: Reply | None = None
    priced: int = 0

    def route(self, call: Call) -> Reply:
        match call.method, call.path.removeprefix("/v1/").split("/"):
            case "POST", ["files"]:
                return Reply(self.upload(call) | {"sample_type": "instruct", "source": "upload"})
            case "GET", ["files"]:
                return Reply(self.search(call))
            case "POST", ["fine_tuning", "jobs"]:
                return self.refusal or Reply(self.create(call))
            case "GET", ["fine_tuning", "jobs"]:
                start = int(call.query["page"][0]) * int(call.query["page_size"][0])
                jobs = list(self.jobs.values())[start : start + int(call.query["page_size"][0])]
                return Reply({"object": "list", "total": len(self.jobs), "data": jobs})
            case "GET", ["fine_tuning", "jobs", job_id]:
                return Reply(self.detail(self.look(job_id)))
        return Reply({"detail": "Not Found"}, status=404)

    def search(self, call: Call) -> dict[str, Any]:
        need(call.query["purpose"] == ["fine-tune"], "purpose")
        text = call.query.get("search", [""])[0]
        rows = [
            file | {"sample_type": "instruct", "source": "upload"}
            for file in self.files.values()
            if text in file["filename"]
        ]
        return {"object": "list", "data": rows if call.query["page"] == ["0"] else [], "total": len(rows)}

    def create(self, call: Call) -> dict[str, Any]:
        body = call.json
        allowed = (
            "model job_type training_files validation_files hyperparameters suffix integrations auto_start"
        )
        need(set(body) <= set(allowed.split()), f"unknown fields {set(body)}")
        need(set(body["hyperparameters"]) <= {"training_steps", "learning_rate", "epochs"}, "hyperparameters")
        need(all(set(file) == {"file_id", "weight"} for file in body["training_files"]), "training_files")
        need(all(file["file_id"] in self.files for file in body["training_files"]), "training_files")
        need(len(body["suffix"]) <= 18, "suffix")
        for item in body.get("integrations", []):
            need(set(item) <= {"type", "project", "api_key", "name", "run_name"}, "integrations")
        if call.query.get("dry_run") == ["true"]:
            self.priced += 1
            return {"object": "job.metadata", "details": "", "cost": 4.0, "cost_currency": "USD"}
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs[job_id] = {
            "id": job_id,
            "object": "job",
            "status": self.states[0],
            "created_at": len(self.jobs),
        }
        self.jobs[job_id] |= {name: body.get(name) for name in ("model", "suffix", "hyperparameters")}
        return self.jobs[job_id]

    def detail(self, job: dict[str, Any]) -> dict[str, Any]:
        if job["status"] == "SUCCESS":
            job |= {"fine_tuned_model": "ft:mistral:1", "trained_tokens": 999}
        metrics = [{"train_loss": 2.0, "valid_loss": None}, {"train_loss": 1.0, "valid_loss": 1.5}]
        points = [{"metrics": item, "step_number": (at + 1) * 10} for at, item in enumerate(metrics)]
        events = [
            {
                "name": "status-updated",
                "created_at": 2,
                "data": {"status": job["status"], **(self.error or {})},
            }
        ]
        events.insert(0, {"name": "job-created", "created_at": 1, "data": None})
        return job | {"checkpoints": points[::-1], "events": events}
