"""Together's API as a local server: requests are checked field by field, effects and bills are counted.

Like :mod:`hosted`. The tables hold the fields of the public description; what is not in them is unknown, and
``tests/providers/together/test_description.py`` compares them with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from hosted import Hosted, multipart, need
from hosted_batch import MODEL, BatchService
from servers import Call, Reply, completion

TEXT, COUNT, NUMBER, FLAG, OBJECT = "string", "integer", "number", "boolean", "object"
PYTHON: dict[str, Any] = {TEXT: str, COUNT: int, NUMBER: (int, float), FLAG: bool, OBJECT: dict}
UPLOAD = {"purpose": TEXT, "file_name": TEXT, "file_type": TEXT, "file": TEXT}
JOB = {
    "training_file": TEXT,
    "validation_file": TEXT,
    "packing": FLAG,
    "max_seq_length": COUNT,
    "model": TEXT,
    "n_epochs": COUNT,
    "n_checkpoints": COUNT,
    "n_evals": COUNT,
    "batch_size": COUNT,
    "learning_rate": NUMBER,
    "lr_scheduler": OBJECT,
    "warmup_ratio": NUMBER,
    "max_grad_norm": NUMBER,
    "weight_decay": NUMBER,
    "random_seed": COUNT,
    "suffix": TEXT,
    "wandb_api_key": TEXT,
    "wandb_base_url": TEXT,
    "wandb_project_name": TEXT,
    "wandb_name": TEXT,
    "wandb_entity": TEXT,
    "train_on_inputs": FLAG,
    "training_method": OBJECT,
    "training_type": OBJECT,
    "multimodal_params": OBJECT,
    "from_checkpoint": TEXT,
    "from_hf_model": TEXT,
    "hf_model_revision": TEXT,
    "hf_api_token": TEXT,
    "hf_output_repo_name": TEXT,
}
PRICE = {
    "training_file": TEXT,
    "validation_file": TEXT,
    "model": TEXT,
    "n_epochs": COUNT,
    "n_evals": COUNT,
    "training_method": OBJECT,
    "training_type": OBJECT,
    "from_checkpoint": TEXT,
}
ENDPOINT = {
    "display_name": TEXT,
    "model": TEXT,
    "hardware": TEXT,
    "autoscaling": OBJECT,
    "disable_prompt_cache": FLAG,
    "disable_speculative_decoding": FLAG,
    "state": TEXT,
    "inactive_timeout": COUNT,
    "availability_zone": TEXT,
}
CHANGE = {"display_name": TEXT, "state": TEXT, "autoscaling": OBJECT, "inactive_timeout": COUNT}
BATCH = {
    "endpoint": TEXT,
    "input_file_id": TEXT,
    "completion_window": TEXT,
    "priority": COUNT,
    "model_id": TEXT,
}
METHOD = {"method": TEXT, "train_on_inputs": FLAG}
LORA = {
    "type": TEXT,
    "lora_r": COUNT,
    "lora_alpha": COUNT,
    "lora_dropout": NUMBER,
    "lora_trainable_modules": TEXT,
}
FULL = {"type": TEXT}
AUTOSCALING = {"min_replicas": COUNT, "max_replicas": COUNT}
REQUIRED = {
    "UPLOAD": ("purpose", "file_name", "file"),
    "JOB": ("training_file", "model"),
    "PRICE": ("training_file",),
    "ENDPOINT": ("model", "hardware", "autoscaling"),
    "CHANGE": (),
    "BATCH": ("endpoint", "input_file_id"),
    "METHOD": ("method", "train_on_inputs"),
    "LORA": ("type", "lora_r", "lora_alpha"),
    "FULL": ("type",),
    "AUTOSCALING": ("min_replicas", "max_replicas"),
}
CHAT = {
    *("messages", "model", "max_tokens", "stop", "temperature", "top_p", "logprobs", "seed"),
    *("response_format", "reasoning"),
}
"""The fields of a chat that this package may send."""
HARDWARE = ("1x_nvidia_h100_80gb_sxm", "2x_nvidia_h100_80gb_sxm")
USD_PER_TOKEN, CENTS_PER_MINUTE = 0.5e-6, 10.82


def check(table: str, body: dict[str, Any]) -> None:
    """Refuse missing and unknown fields and values of another type."""
    known = globals()[table]
    need(set(REQUIRED[table]) <= set(body), f"{table}: missing {set(REQUIRED[table]) - set(body)}")
    need(set(body) <= set(known), f"{table}: unknown fields {set(body) - set(known)}")
    for name, value in body.items():
        right = isinstance(value, PYTHON[known[name]]) and isinstance(value, bool) <= (known[name] == FLAG)
        need(right, f"{table}: {name} is {value!r}")


def count_tokens(content: bytes) -> int:
    """Tokens of a training file: words, marks, and the five of ChatML around each turn."""
    chats = [json.loads(line)["messages"] for line in content.splitlines()]
    turns = [turn["content"] for chat in chats for turn in chat]
    return sum(5 + len(re.findall(r"\w+|[^\w\s]", text)) for text in turns)


@dataclass
class TogetherApi(Hosted):
    """https://docs.together.ai/reference: files, jobs, endpoints and chats."""

    states: tuple[str, ...] = ("pending", "running", "uploading", "completed")
    starting: tuple[str, ...] = ("PENDING", "STARTING", "STARTED")
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: int = 0
    keeps: int = 0
    """The status with which a deletion is refused, if it is."""
    allowed: bool = True
    price: Reply | None = None
    time: float = 1_800_000_000.0
    """In seconds; half a minute passes with each look at the endpoints, and this much with each answer:"""
    answer_s: float = 0.0
    minutes: float = 0.0
    """That endpoints have stood, and are billed."""

    def route(self, call: Call) -> Reply:
        match call.method, call.path.removeprefix("/v1/").split("/"):
            case "POST", ["files", "upload"]:
                return Reply(self.upload(call))
            case "GET", ["files"]:
                return Reply({"data": list(self.files.values())})
            case "GET", ["files", name]:
                self.files[name]["Processed"] = True
                return Reply(self.files[name])
            case "POST", ["fine-tunes"]:
                return Reply(self.create(call.json))
            case "POST", ["fine-tunes", "estimate-price"]:
                return self.price or Reply(self.estimate(call.json))
            case "GET", ["fine-tunes"]:
                return Reply({"data": [self.truncate(job) for job in self.jobs.values()]})
            case "GET", ["fine-tunes", job_id]:
                return Reply(self.finished(self.look(job_id)))
            case "GET", ["fine-tunes", job_id, "events"]:
                return Reply({"data": [self.event(number) for number in (3, 1, 2)]})
            case "GET", ["fine-tunes", job_id, "checkpoints"]:
                return Reply({"data": self.points(job_id)})
            case "GET", ["fine-tunes", _, "metrics"]:
                return Reply({"metrics": [*map(self.measure, (1, 2, 3)), {"eval/loss": 0.75}]})
            case "GET", ["hardware"]:
                return Reply(
                    {"object": "list", "data": [{"object": "hardware", "id": name} for name in HARDWARE]}
                )
            case "POST", ["chat", "completions"]:
                return self.chat(call.json)
            case _, ["endpoints", *rest]:
                return self.manage(call, rest[0] if rest else None)
        return Reply({"error": {"message": f"no route {call.method} {call.path}", "type": "x"}}, status=404)

    def upload(self, call: Call) -> dict[str, Any]:
        form = multipart(call)
        texts = {name: part.get_content().strip() for name, part in form.items() if name != "file"}
        check("UPLOAD", {**texts, "file": ""} if "file" in form else texts)
        need(texts["purpose"] == "fine-tune" and texts.get("file_type", "jsonl") == "jsonl", "purpose, type")
        content = form["file"].get_payload(decode=True)
        for line in content.decode().splitlines():
            need(
                [turn["role"] for turn in json.loads(line)["messages"]][-2:] == ["user", "assistant"], "turns"
            )
        name = f"file-{len(self.contents) + 1}"
        self.contents[name] = content
        self.files[name] = {"id": name, "object": "file", "filename": texts["file_name"], "created_at": 1}
        self.files[name] |= {"bytes": len(content), "purpose": "fine-tune", "FileType": "jsonl"}
        self.files[name] |= {"Processed": False}
        return self.files[name]

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.check_files(body)
        check("JOB", body)
        check("METHOD", body["training_method"])
        if "training_type" in body:
            check("FULL" if body["training_type"].get("type") == "Full" else "LORA", body["training_type"])
        need(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", body["suffix"]), "suffix")
        job_id = f"ft-{len(self.jobs) + 1}"
        self.jobs[job_id] = {"id": job_id, "status": self.states[0], "created_at": f"2026-01-0{job_id[3:]}"}
        self.jobs[job_id] |= body
        return self.truncate(self.jobs[job_id])

    def check_files(self, body: dict[str, Any]) -> None:
        for name in filter(None, (body.get("training_file"), body.get("validation_file"))):
            need(name in self.files, f"{name} is missing")
            need(self.files[name]["Processed"], f"{name} is still being processed")

    def truncate(self, job: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in job.items() if not name.startswith("wandb_api")}

    def count(self, body: dict[str, Any]) -> int:
        """The tokens that a job is billed for."""
        trained = body.get("n_epochs", 1) * count_tokens(self.contents[body["training_file"]])
        watched = body.get("validation_file")
        return trained + (body.get("n_evals", 0) * count_tokens(self.contents[watched]) if watched else 0)

    def estimate(self, body: dict[str, Any]) -> dict[str, Any]:
        check("PRICE", body)
        self.check_files(body)
        price = self.count(body) * USD_PER_TOKEN
        return {"estimated_total_price": price, "allowed_to_proceed": self.allowed, "user_limit": 50}

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        shown = self.truncate(job) | {"token_count": self.count(job)}
        if job["status"] == "completed":
            shown |= {"model_output_name": self.name(job), "epochs_completed": job.get("n_epochs", 1)}
        return shown

    def name(self, job: dict[str, Any]) -> str:
        return f"me/{job['model']}-{job['suffix']}-{job['id']}"

    def points(self, job_id: str) -> list[dict[str, Any]]:
        """A state per epoch, every two steps; the last one in two forms."""
        count = self.jobs[job_id].get("n_checkpoints", 1)
        kinds = [(2 * epoch, "Intermediate") for epoch in range(1, count)]
        kinds += [(2 * count, "Intermediate"), (2 * count, "Final Merged"), (2 * count, "Final Adapter")]
        return [
            {"step": step, "checkpoint_type": kind, "path": "s3://x", "created_at": f"2026-01-{step:02}"}
            for step, kind in reversed(kinds)
        ]

    def event(self, number: int) -> dict[str, Any]:
        level = "error" if number == 3 and self.error else "info"
        text = self.error["message"] if level == "error" and self.error else f"event {number}"
        return {
            "object": "fine-tune-event",
            "created_at": f"2026-01-0{number}",
            "level": level,
            "message": text,
        }

    def measure(self, step: int) -> dict[str, float]:
        return {"train/global_step": step, "train/loss": 3.0 / step, "train/learning_rate": 1e-4}

    def manage(self, call: Call, endpoint_id: str | None) -> Reply:
        if call.method == "POST":
            return self.deploy(call.json)
        if endpoint_id is None:
            need(call.query == {"type": ["dedicated"], "mine": ["true"]}, f"query {call.query}")
            self.time += 30
            return Reply({"object": "list", "data": [self.tell(name) for name in list(self.deployments)]})
        if endpoint_id not in self.deployments:
            return Reply({"error": {"message": "not found", "type": "not_found"}}, status=404)
        found = self.deployments[endpoint_id]
        if call.method == "DELETE":
            if self.keeps:
                return Reply({"error": {"message": "not now", "type": "refused"}}, status=self.keeps)
            found["ending"] = True
            self.minutes += (self.time - found["made"]) / 60
            return Reply(b"", status=204)
        if call.method == "PATCH":
            check("CHANGE", call.json)
            found["looks"], found["state"] = 0, None
        return Reply({**self.describe(endpoint_id), "display_name": found["display_name"]})

    def deploy(self, body: dict[str, Any]) -> Reply:
        check("ENDPOINT", body)
        check("AUTOSCALING", body["autoscaling"])
        need(body["inactive_timeout"] > 0, "it would never stop")
        names = {self.name(job) for job in self.jobs.values()}
        need(re.sub(r":\d+$", "", body["model"]) in names, f"model {body['model']}")
        self.made += 1
        name = f"endpoint-{self.made}"
        self.deployments[name] = {**body, "looks": 0, "state": None, "made": self.time}
        return Reply({**self.describe(name), "display_name": body["display_name"]})

    def tell(self, endpoint_id: str) -> dict[str, Any]:
        """An endpoint as the list has it, a state further; one that was deleted is seen once more."""
        found = self.deployments[endpoint_id]
        told = self.describe(endpoint_id)
        if found.get("ending"):
            del self.deployments[endpoint_id]
        found["looks"] += 1
        return told

    def describe(self, endpoint_id: str) -> dict[str, Any]:
        found = self.deployments[endpoint_id]
        state = found["state"] or self.starting[min(found["looks"], len(self.starting) - 1)]
        if found.get("ending"):
            state = "STOPPING"
        address = f"me/{found['model']}-{endpoint_id}"
        told = {"object": "endpoint", "id": endpoint_id, "name": address, "model": found["model"]}
        return told | {"type": "dedicated", "owner": "me", "state": state, "created_at": "2026-01-01"}

    def chat(self, body: dict[str, Any]) -> Reply:
        need(set(body) <= CHAT, f"unknown fields {set(body) - CHAT}")
        started = [self.describe(name) for name in self.deployments]
        names = {item["name"] for item in started if item["state"] == "STARTED"}
        if body["model"] not in {"m", *names}:
            return Reply({"error": {"message": f"no model {body['model']}", "type": "x"}}, status=404)
        self.time += self.answer_s
        return Reply(self.answer(body))

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        number = re.search(r"\d+", body["messages"][-1]["content"])
        return completion(str(int(number[0]) + 1) if number else "1")


@dataclass
class TogetherBatchService(BatchService):
    """https://docs.together.ai/reference/batch-create: no metadata, and the list is a bare list."""

    states: tuple[str, ...] = ("VALIDATING", "IN_PROGRESS", "COMPLETED")

    def route(self, call: Call) -> Reply:
        match call.method, call.path.removeprefix(self.root).strip("/").split("/"):
            case "POST", ["files", "upload"]:
                return Reply(self.upload(call))
            case "POST", ["files"]:
                return Reply({"error": {"message": "no route"}}, status=404)
            case "GET", ["files"]:
                return Reply({"data": list(self.uploads.values())})
        return super().route(call)

    def batch(self, call: Call, path: str) -> Reply:
        if (call.method, path) == ("GET", "/batches"):
            return Reply(list(self.batches.values()))
        reply = super().batch(call, path)
        return Reply({"job": reply.body, "warning": ""}, status=201) if call.method == "POST" else reply

    def upload(self, call: Call) -> dict[str, Any]:
        form = multipart(call)
        texts = {name: part.get_content().strip() for name, part in form.items() if name != "file"}
        check("UPLOAD", {**texts, "file": ""})
        need(texts["purpose"] == "batch-api", "purpose")
        content = form["file"].get_payload(decode=True)
        for line in content.decode().splitlines():
            self.check(json.loads(line))
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        self.uploads[name] = {"id": name, "object": "file", "filename": texts["file_name"]}
        self.uploads[name] |= {"purpose": "batch-api", "Processed": False, "FileType": "jsonl"}
        return self.uploads[name]

    def check(self, line: dict[str, Any]) -> None:
        need(set(line) == {"custom_id", "body"} and len(line["custom_id"]) <= 64, f"line {set(line)}")
        need(line["body"]["model"] == MODEL and set(line["body"]) <= CHAT, f"body {set(line['body'])}")

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        check("BATCH", body)
        need(body["input_file_id"] in self.uploads, "input_file_id")
        need((body["endpoint"], body.get("completion_window")) == ("/v1/chat/completions", "24h"), "endpoint")
        name = f"batch_{len(self.batches) + 1}"
        made = {"id": name, "status": self.states[0], "created_at": f"2026-01-{len(self.batches) + 1:02}"}
        self.batches[name] = made | body
        return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        batch["status"] = self.state(name)
        batch["progress"] = 100.0 if batch["status"] == "COMPLETED" else 0.0
        if batch["status"] == "FAILED":
            batch["error"] = "; ".join(self.errors)
        elif batch["status"] in {"COMPLETED", "EXPIRED", "CANCELLED"} and "output_file_id" not in batch:
            good, bad = self.work(batch["input_file_id"])
            batch["output_file_id"], batch["error_file_id"] = self.write(good), self.write(bad)
        return batch
