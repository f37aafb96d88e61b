"""The floor: the same questions by a bare aiohttp loop, nothing else.

    python -m tests.benchmarks.bare URL ROWS CONCURRENCY

prints the seconds of its calls and the number of its answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import aiohttp
import uvloop


def question(row: int) -> str:
    """What row number ``row`` asks."""
    return f"row {row} " + "word " * 50


async def _ask(url: str, rows: int, concurrency: int) -> int:
    """The number of answers; workers draw from one iterator, so that nothing but the calls costs."""
    bodies = (_body(row) for row in range(rows))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        return sum(await asyncio.gather(*(_work(session, url, bodies) for _ in range(concurrency))))


async def _work(session: aiohttp.ClientSession, url: str, bodies: Iterator[bytes]) -> int:
    answers = 0
    for body in bodies:
        async with session.post(f"{url}/chat/completions", data=body) as response:
            answers += "content" in (await response.json())["choices"][0]["message"]
    return answers


def _body(row: int) -> bytes:
    messages = [{"role": "user", "content": question(row)}]
    return json.dumps({"model": "mock", "messages": messages, "temperature": 0.0}).encode()


def main() -> None:
    """Ask everything once."""
    url, rows, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    began = time.perf_counter()
    answers = uvloop.run(_ask(url, rows, concurrency))
    print(time.perf_counter() - began, answers)


if __name__ == "__main__":
    main()
