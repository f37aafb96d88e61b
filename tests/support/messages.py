"""Anthropic's API as a local server: each request is checked field by field against the types of its SDK."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from hosted import KEY, Refused, need
from servers import Call, Reply
from typing_extensions import get_type_hints, is_typeddict

ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
VERSION = "2026-10-21"


@cache
def describe_api() -> Any:
    """The SDK's types. Imported late: it takes seconds, and processes that are killed do not need them."""
    import anthropic

    return anthropic.types


def message(text: str = "1", **fields: Any) -> dict[str, Any]:
    """An answer as the API description gives it; the SDK's own type has checked it."""
    made = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 2},
        **fields,
    }
    describe_api().Message.model_validate(made)
    return made


def failure(status: int, text: str, **fields: Any) -> dict[str, Any]:
    """An error body."""
    kind = ERRORS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": text, **fields}, "request_id": "req_1"}


def check_params(body: dict[str, Any]) -> None:
    """Refuse a field that the SDK's type does not have, that is missing, or of another type."""
    conform(body, describe_api().message_create_params.MessageCreateParamsNonStreaming, "")
    need(body["messages"] and body["max_tokens"] >= 1, "max_tokens: must be at least 1")
    budget = body.get("thinking", {}).get("budget_tokens")
    need(budget is None or 1024 <= budget < body["max_tokens"], "thinking.budget_tokens: out of range")


def conform(value: Any, kind: Any, place: str) -> None:
    """Refuse a value that is not of a type of the SDK's descriptions of requests."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        fields = get_type_hints(kind)
        need(isinstance(value, dict), f"{place}: an object is wanted")
        for name in value:
            need(name in fields, f"{place}{name}: Extra inputs are not permitted")
        for name in kind.__required_keys__:
            need(name in value, f"{place}{name}: Field required")
        for name, item in value.items():
            conform(item, fields[name], f"{place}{name}.")
    elif origin is Union:
        need(any(fits(value, one, place) for one in inner), explain(value, inner, place))
    elif origin is Literal:
        need(value in inner, f"{place} must be one of {inner}")
    elif origin is dict:
        need(isinstance(value, dict), f"{place} must be an object")
    elif origin in (Iterable, Sequence):
        need(isinstance(value, list), f"{place} must be a list")
        for number, item in enumerate(value):
            conform(item, inner[0], f"{place}{number}.")
    else:
        assert kind in (str, int, float, bool, type(None)), kind
        need(isinstance(value, kind), f"{place} must be {kind.__name__}, not {value!r}")


def fits(value: Any, kind: Any, place: str) -> bool:
    try:
        conform(value, kind, place)
    except Refused:
        return False
    return True


def explain(value: Any, kinds: Sequence[Any], place: str) -> str:
    """Why a value is of none of these types: the reason of the one with its ``role`` or ``type``."""
    for kind in filter(is_typeddict, kinds if isinstance(value, dict) else ()):
        hints = get_type_hints(kind)
        if all(fits(value.get(mark), hints[mark], "") for mark in ("role", "type") if mark in hints):
            try:
                conform(value, kind, place)
            except Refused as reason:
                return str(reason)
    return f"{place} {value!r:.60} is of no type that is allowed here"


def add(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer that adds two numbers."""
    one, _, other = body["messages"][-1]["content"].split()
    return 200, message(str(int(one) + int(other)), model=body["model"])


@dataclass
class MessagesService:
    """Live messages and batches of them. ``answer`` answers one request that was found right.

    ``looks`` is how often a batch is looked at before it has ended; of requests whose number ``unheard``
    holds, nothing is heard. ``fault`` is as for :class:`hosted.Service`.
    """

    answer: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]] = add
    headers: dict[str, str] = field(default_factory=dict)
    looks: int = 2
    page: int = 2
    unheard: frozenset[int] = frozenset()
    fault: Callable[[int, bool], bool] = lambda number, done: False
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    uploads: tuple[str, ...] = ("none",)
    """There are no input files; the tests that count them count one."""
    live: int = 0
    calls: int = 0
    root: str = "/v1"

    def __call__(self, call: Call) -> Reply:
        self.calls += 1
        number = self.calls
        if self.fault(number, False):
            return Reply(fault="cut")
        try:
            reply = self.route(call)
        except Refused as reason:
            reply = Reply(failure(400, str(reason)), status=400)
        return Reply(fault="cut") if self.fault(number, True) else reply

    def route(self, call: Call) -> Reply:
        if call.headers.get("Authorization") != f"Bearer {KEY}":
            return Reply(failure(401, "invalid x-api-key"), status=401)
        need(call.headers.get("anthropic-version") == VERSION, "anthropic-version")
        need(call.method == "GET" or call.headers.get("Content-Type") == "application/json", "Content-Type")
        match call.method, call.path.removeprefix(f"{self.root}/messages").strip("/").split("/"):
            case "POST", [""]:
                self.live += 1
                status, body = self.once(call.json)
                return Reply(body, status=status, headers=self.headers)
            case "POST", ["batches"]:
                return Reply(self.create(call.json))
            case "GET", ["batches"]:
                return Reply(self.listing(call))
            case "GET", ["batches", name]:
                return Reply(self.look(name))
            case "GET", ["batches", name, "results"]:
                return self.tell_results(name)
        return Reply(failure(404, f"no route {call.method} {call.path}"), status=404)

    def once(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        check_params(body)
        self.asked[body["messages"][-1]["content"]] += 1
        return self.answer(body)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        need(set(body) == {"requests"}, f"fields {set(body)}")
        for request in body["requests"]:
            need(set(request) == {"custom_id", "params"}, f"request {set(request)}")
            need(1 <= len(request["custom_id"]) <= 64, "custom_id")
            check_params(request["params"])
        need(
            len({request["custom_id"] for request in body["requests"]}) == len(body["requests"]), "custom_id"
        )
        name = f"msgbatch_{len(self.batches) + 1}"
        self.batches[name] = {"requests": body["requests"], "looks": 0, "results": None}
        return self.describe(name)

    def describe(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        ended, total = batch["looks"] > self.looks, len(batch["requests"])
        times = {"created_at": "2026-11-26T10:00:00Z", "expires_at": "2026-11-27T10:00:00Z"}
        counts = dict.fromkeys(("canceled", "errored", "expired", "processing", "succeeded"), 0)
        told = {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts | {"succeeded" if ended else "processing": total},
            "results_url": f"https://elsewhere.invalid/{name}" if ended else None,
            **times,
        }
        describe_api().messages.MessageBatch.model_validate(told)
        return told

    def look(self, name: str) -> dict[str, Any]:
        self.batches[name]["looks"] += 1
        return self.describe(name)

    def listing(self, call: Call) -> dict[str, Any]:
        need(set(call.query) <= {"limit", "after_id"}, f"query {set(call.query)}")
        need(1 <= int(call.query["limit"][0]) <= 1000, "limit")
        names = list(self.batches)[::-1]
        after = call.query.get("after_id", [None])[0]
        start = names.index(after) + 1 if after else 0
        size = min(self.page, int(call.query["limit"][0]))
        part = [self.describe(name) for name in names[start : start + size]]
        ends = (
            {"first_id": part[0]["id"], "last_id": part[-1]["id"]}
            if part
            else {"first_id": None, "last_id": None}
        )
        return {"data": part, "has_more": start + size < len(names), **ends}

    def tell_results(self, name: str) -> Reply:
        batch = self.batches[name]
        need(batch["looks"] > self.looks, "the batch has not ended")
        batch["results"] = batch["results"] or [
            self.work(number, request) for number, request in enumerate(batch["requests"])
        ]
        for line in batch["results"]:
            describe_api().messages.MessageBatchIndividualResponse.model_validate(line)
        lines = [json.dumps(line, ensure_ascii=False) for line in batch["results"][::-1]]
        return Reply("\n".join(lines).encode(), headers={"Content-Type": "application/x-jsonl"})

    def work(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        if number in self.unheard:
            return {"custom_id": request["custom_id"], "result": {"type": "expired"}}
        status, body = self.once(request["params"])
        if status == 200:
            result = {"type": "succeeded", "message": body}
        else:
            result = {"type": "errored", "error": body}
        return {"custom_id": request["custom_id"], "result": result}
