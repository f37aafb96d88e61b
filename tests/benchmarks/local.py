"""The embedded model, asked through the engine and by a bare loop over the same llama.cpp server."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

from runner.core.types import Request, Sampling
from runner.engine import ask
from runner.engine.ledger import Ledger
from runner.providers.local import embedded as local

ROUNDS, ROWS, WORDS = 4, 10, 40


def rates(folder: Path) -> tuple[float, float]:
    """Rows a second of the engine and of the bare loop, in turns, over questions that differ."""
    provider = local.Embedded()
    provider.load()  # loaded before any clock runs, and held
    spent = {"ours": 0.0, "bare": 0.0}
    with_ledger = Ledger(f"sqlite:///{folder}/ledger.db")
    held = provider.load()
    for turn in range(ROUNDS):
        asked = [_request(turn, row) for row in range(2 * ROWS)]
        began = time.perf_counter()
        ask.ask(asked[:ROWS], provider, with_ledger)
        spent["ours"] += time.perf_counter() - began
        began = time.perf_counter()
        for request in asked[ROWS:]:
            _post(held, local.build_body(request))
        spent["bare"] += time.perf_counter() - began
    with_ledger.close()
    return ROUNDS * ROWS / spent["ours"], ROUNDS * ROWS / spent["bare"]


def _request(turn: int, row: int) -> Request:
    text = f"{turn}.{row}: " + "word " * WORDS
    return Request(({"role": "user", "content": text},), Sampling(temperature=0.0, max_tokens=8))


def _post(held: local.LoadedModel, body: dict[str, object]) -> None:
    host = urlsplit(held._server.listening_address).netloc
    connection = http.client.HTTPConnection(host)
    headers = {"Authorization": f"Bearer {held._key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = json.loads(connection.getresponse().read())
    assert "content" in answer["choices"][0]["message"], answer
    connection.close()
