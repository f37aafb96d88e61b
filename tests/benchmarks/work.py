"""Processes and their cost: the mock, the bare loop, and the runner in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.benchmarks.bare import question

ROOT = Path(__file__).parents[2]
LINK = 'parser: {_target_: runner.parse.Label, labels: ["0", "1"]}'


@dataclass(frozen=True)
class Cost:
    """Of one process: wall-clock seconds, seconds of processor, peak memory, and what it printed."""

    seconds: float
    cpu_s: float
    peak_mb: float
    code: int
    out: str


def measure(command: Sequence[str], folder: Path) -> Cost:
    """Run a command to its end."""
    began = time.perf_counter()
    with (folder / "printed.txt").open("w+") as printed:
        process = subprocess.Popen(
            command, cwd=folder, stdout=printed, stderr=subprocess.STDOUT, env=environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        printed.seek(0)
        out = printed.read()
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(seconds, cpu, usage.ru_maxrss / 1024, process.returncode, out)


def environment() -> dict[str, str]:
    """Of a process in a folder of its own: it finds this checkout, and no other tracking store."""
    given = {"PYTHONPATH": str(ROOT), "BENCH_KEY": "sk-bench"}
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | given


@dataclass(frozen=True)
class Mock:
    """A running mock endpoint."""

    url: str

    def stats(self) -> dict[str, Any]:
        """What it was asked so far."""
        with urlopen(self.url.removesuffix("/v1") + "/stats") as answer:
            return dict(json.load(answer))

    def log(self) -> list[list[Any]]:
        """Every request in order: text of its answer, status or fault."""
        with urlopen(self.url.removesuffix("/v1") + "/log") as answer:
            return list(json.load(answer))


@contextmanager
def mock(**options: Any) -> Iterator[Mock]:
    """A mock endpoint in a process of its own; options as on its command line, ``latency_ms=200``."""
    given: list[str] = []
    for name, value in options.items():
        listed = value if isinstance(value, list | tuple) else [] if value is True else [value]
        given += [f"--{name.replace('_', '-')}", *map(str, listed)]
    command = [sys.executable, "-m", "tests.benchmarks.mock", *given]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield Mock(f"http://127.0.0.1:{int(process.stdout.readline())}/v1")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass
class Workplace:
    """A folder with rows, a config and outputs of its own, and commands that run there."""

    folder: Path
    rows: int
    concurrency: int = 50
    overrides: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        mine = self.folder / "mine"
        for group in ("dataset", "prompt"):
            (mine / group).mkdir(parents=True, exist_ok=True)
        (mine / "dataset" / "bench.yaml").write_text("name: bench\npath: rows.jsonl\n")
        (mine / "prompt" / "bench.yaml").write_text(f'name: bench\nuser: "{{{{ text }}}}"\n{LINK}\n')
        with (self.folder / "rows.jsonl").open("w") as file:
            for row in range(self.rows):
                file.write(json.dumps({"text": question(row), "target": str(row % 2)}) + "\n")

    def command(self, url: str, *more: str) -> list[str]:
        """The command line of the benchmark's experiment against an endpoint."""
        options = [item for item in more if item.startswith("-")]
        return [
            *(sys.executable, "-m", "runner", *options, "--config-dir", "mine"),
            *("dataset=bench", "prompt=bench", "metric=accuracy", "hyperparameter.temperature=0.0"),
            *("provider=openai_compatible", f"provider.base_url={url}", "provider.model=mock"),
            f"provider.max_concurrency={self.concurrency}",
            *self.overrides,
            *(item for item in more if not item.startswith("-")),
        ]

    def runner(self, url: str, *more: str) -> Cost:
        """Run it; raises if it fails."""
        cost = measure(self.command(url, *more), self.folder)
        if cost.code:
            raise RuntimeError(f"exit code {cost.code}:\n{cost.out}")
        return cost

    def runner_once(self) -> None:
        """One row, so that the tracking store and all compiled modules are there."""
        with mock() as server:
            self.runner(server.url, "dataset.limit=1", "ledger.url=sqlite:///first.db")

    def bare(self, url: str) -> Cost:
        """The bare loop over the same rows; raises if it fails."""
        command = [sys.executable, "-m", "tests.benchmarks.bare", url, str(self.rows), str(self.concurrency)]
        cost = measure(command, self.folder)
        if cost.code:
            raise RuntimeError(cost.out)
        return cost
