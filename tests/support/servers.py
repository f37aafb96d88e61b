"""A real HTTP server on loopback, played by a function from a call to a reply; it keeps what it was sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One response. ``fault`` is ``cut`` (no answer), ``truncate`` (half of it) or empty."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    fault: str = ""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Server:
    """Where it listens and what it was asked."""

    url: str
    calls: list[Call] = field(default_factory=list)

    @property
    def last(self) -> Call:
        return self.calls[-1]


@contextmanager
def serving(respond: Callable[[Call], Reply]) -> Iterator[Server]:
    """Serve on a free port while the context is open."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(respond))
    http.daemon_threads = True
    server = http.state = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def _handler(respond: Callable[[Call], Reply]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment a reply: otherwise Nagle's delay makes each call 40 ms

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            call = Call(
                self.command, parts.path, parse_qs(parts.query), self.headers, body, self.client_address[1]
            )
            self.server.state.calls.append(call)
            self.reply(respond(call))

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = answer

        def reply(self, reply: Reply) -> None:
            time.sleep(reply.delay_s)
            self.close_connection = bool(reply.fault)
            if reply.fault == "cut":
                return
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            half = len(reply.content) // 2
            self.wfile.write(reply.content[:half] if reply.fault == "truncate" else reply.content)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Keep the test output clean."""

    return Handler


def completion(text: str | None = "1", **fields: Any) -> dict[str, Any]:
    """A chat completion as the OpenAI API description gives it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2026",
        "choices": [choice],
        "usage": usage,
        **fields,
    }
