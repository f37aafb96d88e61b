"""A sweep with a judge, killed with SIGKILL at random moments and started again until it is through.

Three promises are checked: the end is that of an undisturbed sweep; what the ledger held at a kill is not
asked again (the server's log says so); MLflow shows each finished point once and nothing RUNNING.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from runner.engine.ledger import Ledger
from runner.records import record
from runner.records.folder import PREDICTIONS, RECORD
from tests.benchmarks.work import Mock, environment, mock

POINTS, ROWS = 2, 40
SERVER = {"latency_ms": 60, "jitter": 0.5, "unique": True}
CONFIG = {
    "dataset/faults.yaml": "name: faults\npath: rows.jsonl\n",
    "prompt/faults.yaml": "name: faults\nuser: 'row {{ text }}'\n"
    "parser: {_target_: runner.parse.Regex, pattern: '^(.)'}\n",
    "judge/faults.yaml": "name: faults\nprovider: null\nprompt:\n  name: faults\n"
    "  user: 'judge {{ completion }}'\n  parser: {_target_: runner.parse.Regex, pattern: '^(.)'}\n",
}
COLUMNS = ("id", "completion", "prediction", "judge_completion", "verdict", "error")
Result = dict[int, tuple[list[tuple[object, ...]], dict[str, float | None]]]


@dataclass
class Episode:
    """One sweep in a folder of its own, from its first start to its end."""

    folder: Path
    server: Mock
    chance: random.Random
    lasts_s: float = 8.0
    repeats: int = 1
    kills: int = 0
    asked_again: Counter[str] = field(default_factory=Counter)
    """Questions that were asked although the ledger held the answer."""

    def __post_init__(self) -> None:
        for name, text in CONFIG.items():
            file = self.folder / "mine" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        rows = [{"text": f"{n}", "target": f"{n % 10}"} for n in range(ROWS)]
        (self.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start the sweep's process."""
        seeds = ",".join(str(100 * point) for point in range(POINTS))  # each repeat has a seed of its own
        repeats = [f"hyperparameter.repeats={self.repeats}"]
        command = [
            *(
                sys.executable,
                "-m",
                "runner",
                "-m",
                "--config-dir",
                "mine",
                "dataset=faults",
                "prompt=faults",
            ),
            *("judge=faults", "metric=accuracy", "provider=openai_compatible", "provider.model=mock"),
            *(f"provider.base_url={self.server.url}", "provider.max_concurrency=8"),
            *("hydra/launcher=concurrent", f"hyperparameter.seed={seeds}", *repeats, *more),
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environment(), **pipes)  # type: ignore[call-overload, no-any-return]

    def kill_once(self, *more: str) -> bool:
        """Start, and kill at a random moment; False if it was through before."""
        finished = self.finished()
        before = len(self.server.log())
        process = self.start(*more)
        try:
            process.wait(timeout=self.chance.uniform(0.3, self.lasts_s))
        except subprocess.TimeoutExpired:
            process.kill()
            self.kills += 1
        through = process.wait() == 0
        assert process.stdout
        process.stdout.close()
        self.note_asked(before, finished)
        return not through

    def end(self, *more: str) -> Result:
        """Run it to its end; what came of each point."""
        finished, before = self.finished(), len(self.server.log())
        process = self.start(*more)
        said = process.communicate(timeout=300)[0]
        if process.returncode:
            raise AssertionError(f"exit code {process.returncode}:\n{said}")
        self.note_asked(before, finished)
        return self.result()

    def note_asked(self, before: int, finished: set[str]) -> None:
        self.asked_again.update(text for text, _ in self.server.log()[before:] if text in finished)

    def finished(self) -> set[str]:
        """The answers that the ledger holds; the server answers with the request's digest."""
        file = self.folder / "outputs" / "ledger.db"
        if not file.exists():
            return set()
        ledger = Ledger(f"sqlite:///{file}")
        texts = {value["text"] for _, value in ledger.items("completion")}
        ledger.close()
        return texts

    def result(self) -> Result:
        """Rows and scores of the last sweep's points."""
        last = max((self.folder / "outputs" / "sweeps").iterdir(), key=lambda folder: folder.name)
        found: Result = {}
        for folder in sorted(last.glob("*/")):
            if (folder / RECORD).exists():
                point = record.read_record(folder)
                rows = pl.read_parquet(folder / PREDICTIONS).select(COLUMNS).rows()
                assert point.status == "finished", point.error
                found[int(point.job or 0)] = (
                    rows,
                    {name: score.value for name, score in point.scores.items()},
                )
        return found

    def untidy(self) -> list[str]:
        """What is wrong in MLflow: runs that never end, points that are missing or there twice."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = client.search_runs(experiments, max_results=5000)
        wrong = [f"{run.info.run_id} is RUNNING" for run in runs if run.info.status == "RUNNING"]
        logged = Counter(run.data.tags.get("record_id") for run in runs)
        last = max((self.folder / "outputs" / "sweeps").iterdir(), key=lambda folder: folder.name)
        for file in last.glob(f"*/{RECORD}"):
            times = logged[record.read_record(file.parent).id]
            wrong += [f"{file.parent} is logged {times} times"] if times != 1 else []
        return wrong


def undisturbed(folder: Path, repeats: int = 1) -> tuple[Result, float]:
    """What comes of a sweep that nothing disturbs, and how long it takes once its stores are there."""
    folder.mkdir(parents=True, exist_ok=True)
    with mock(**SERVER) as server:
        episode = Episode(folder, server, random.Random(0), repeats=repeats)
        result = episode.end()
        for file in (folder / "outputs").glob("ledger.db*"):
            file.unlink()
        began = time.monotonic()
        assert episode.end() == result
    return result, time.monotonic() - began


def episodes(
    folder: Path, kills: int, seed: int, repeats: int = 1, each: int = 5
) -> Iterator[tuple[Episode, list[str]]]:
    """Sweeps until so many kills are done, each with what is wrong at its end."""
    wanted, lasts_s = undisturbed(folder / "undisturbed", repeats)
    chance, done, number = random.Random(seed), 0, 0
    while done < kills:
        place = folder / str(number)
        place.mkdir()
        with mock(**SERVER) as server:
            episode = Episode(place, server, chance, lasts_s, repeats)
            for _ in range(each):
                if done + episode.kills >= kills or not episode.kill_once():
                    break
            wrong = [] if episode.end() == wanted else ["the end is not that of an undisturbed sweep"]
        wrong += [f"{text} was finished and asked {n} times more" for text, n in episode.asked_again.items()]
        done, number = done + episode.kills, number + 1
        yield episode, wrong + episode.untidy()
