"""A chat-completions server on loopback that is never the bottleneck: latency, a rate limit, faults, counts.

    python -m tests.benchmarks.mock --latency-ms 200 --jitter 0.5

prints its port. ``GET /stats`` tells what it was asked, ``GET /log`` every request in order: its digest, and
200 or the fault. A completion says that digest (``--unique``), or ``0`` or ``1``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import uvloop

FAULTS = ("error", "limited", "cut", "garbage", "truncated", "slow")
REASONS = {200: b"OK", 429: b"Too Many Requests", 500: b"Internal Server Error"}
SLOW_S = 1.0


@dataclass
class Stats:
    """Counts since the start. ``first`` and ``last`` are the times of the first request and last answer."""

    total: int = 0
    ok: int = 0
    limited: int = 0
    faults: int = 0
    in_flight: int = 0
    peak: int = 0
    first: float | None = None
    last: float | None = None


@dataclass
class Bucket:
    """Admits ``rate`` requests a second, and up to ``size`` that were saved; rate 0 admits all."""

    rate: float
    size: float
    full: float = field(init=False)
    filled: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.full = self.size

    def admit(self) -> bool:
        if not self.rate:
            return True
        now = time.monotonic()
        self.full = min(self.size, self.full + (now - self.filled) * self.rate)
        self.filled = now
        if self.full < 1:
            return False
        self.full -= 1
        return True


class Service:
    """What all connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.stats = Stats()
        self.log: list[tuple[str, int | str]] = []
        self.bucket = Bucket(options.rps, options.burst or options.rps)
        self.random = random.Random(7)

    def asked(self) -> dict[str, Any]:
        return asdict(self.stats) | {"unique": len({question for question, _ in self.log})}

    def fault(self) -> str:
        """The name of a fault, as often as the options say, else nothing."""
        return self.random.choice(self.options.faults) if self.random.random() < self.options.fail else ""

    def latency_s(self) -> float:
        seconds: float = self.options.latency_ms / 1000
        return (
            seconds * self.random.lognormvariate(0, self.options.jitter) if self.options.jitter else seconds
        )

    def answer(self, question: str) -> str:
        return question if self.options.unique else str(int(question[0], 16) & 1)


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as clients of this test speak it: kept-alive requests with a Content-Length."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end])
            start, stop = end + 4, end + 4 + _length(head)
            if len(self.buffer) < stop:
                return
            body = bytes(self.buffer[start:stop])
            del self.buffer[:stop]
            self.get(head) if head.startswith(b"GET") else self.post(body)

    def get(self, head: bytes) -> None:
        path = head.split(b" ", 2)[1]
        known: dict[bytes, Callable[[], Any]] = {
            b"/stats": self.service.asked,
            b"/log": lambda: self.service.log,
        }
        self.send(200, known[path]() if path in known else {"object": "list", "data": []})

    def post(self, body: bytes) -> None:
        service, stats = self.service, self.service.stats
        question = digest(body)
        stats.total += 1
        stats.first = stats.first or time.monotonic()
        admitted = stats.total > service.options.early and service.bucket.admit()
        fault = service.fault() if admitted else "limited"
        service.log.append((question, fault or 200))
        if fault == "limited":
            stats.limited += 1
            self.send(429, _error("rate_limit_exceeded"), b"retry-after: 1\r\n")
        elif fault == "error":
            stats.faults += 1
            self.send(500, _error("server_error"))
        else:
            stats.faults += bool(fault)
            stats.in_flight += 1
            stats.peak = max(stats.peak, stats.in_flight)
            self.later(
                service.latency_s() + SLOW_S * (fault == "slow"), service.answer(question), len(body), fault
            )

    def later(self, wait_s: float, *answer: Any) -> None:
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self.answer, *answer)
        else:
            self.answer(*answer)

    def answer(self, text: str, size: int, fault: str) -> None:
        stats = self.service.stats
        stats.in_flight -= 1
        stats.last = time.monotonic()
        if self.transport.is_closing():
            return
        stats.ok += fault in ("", "slow")
        if fault == "cut":
            self.transport.abort()
        elif fault == "garbage":
            self.send(200, b"<html>it works</html>")
        elif fault == "truncated":
            whole = json.dumps(_completion(text, size)).encode()
            self.send(200, whole[: len(whole) // 2], length=len(whole))
            self.transport.close()
        else:
            self.send(200, _completion(text, size))

    def send(self, status: int, body: Any, extra: bytes = b"", length: int | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n"
        size = len(content) if length is None else length
        self.transport.write(head % (status, REASONS[status], size, extra) + content)


def digest(body: bytes) -> str:
    """What tells one request from another: a hash of all of it."""
    return hashlib.sha256(body).hexdigest()[:16]


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _error(code: str) -> dict[str, Any]:
    return {"error": {"message": f"the mock says {code}", "type": code, "code": code}}


def _completion(text: str, size: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": size // 4, "completion_tokens": 1, "total_tokens": size // 4 + 1}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "model": "mock", "choices": [choice], "usage": usage}


async def _serve(options: argparse.Namespace) -> None:
    service = Service(options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", options.port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0, help="sigma of a lognormal factor")
    parser.add_argument("--rps", type=float, default=0.0, help="requests a second; more are told 429")
    parser.add_argument("--burst", type=float, default=0.0, help="requests at once; default: a second's")
    parser.add_argument("--early", type=int, default=0, help="so many first requests are told 429")
    parser.add_argument("--fail", type=float, default=0.0, help="share of requests with a fault")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=["error"])
    parser.add_argument("--unique", action="store_true", help="each question has an answer of its own")
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
