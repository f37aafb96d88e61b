"""An experiment that costs money: sums asked of a server that counts tokens, at prices of the test's own."""

from __future__ import annotations

import json

import polars as pl
from commandline import CommandLine, Outcome
from options import write_options
from servers import Call, Reply, Server, completion

PRICES = {"adder": {"input": 1000, "output": 10000, "batch": 0.5}, "grader": {"input": 2000, "output": 20000}}
INPUT, OUTPUT = 10, 2  # tokens that the server counts for each answer
ADDER, GRADER = 0.03, 0.06  # dollars that an answer and a judgment then cost
CONFIG = {
    "dataset/sums.yaml": "name: sums\npath: rows.jsonl",
    "prompt/sums.yaml": 'name: sums\nuser: "{{ question }}"\nparser: {_target_: runner.parse.Number}',
    "judge/sums.yaml": "\n".join(
        [
            "defaults: [correctness, _self_]",
            "name: sums",
            'prompt: {name: sums, user: "grade {{ completion }} for {{ question }}"}',
        ]
    ),
}


def answer(call: Call) -> Reply:
    """A model that adds two numbers, and as a judge finds everything correct."""
    words = call.json["messages"][-1]["content"].split()
    text = "correct" if words[0] == "grade" else str(int(words[0]) + int(words[2]))
    usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
    return Reply(completion(text, usage=usage))


class Sums:
    """``sums(...)`` is the command line with this experiment; ``rows`` questions, 10 by default."""

    def __init__(self, command: CommandLine, server: Server, rows: int = 10) -> None:
        self._command, self.server, self.folder = command, server, command.folder
        self.records = command.records
        write_options(self.folder, CONFIG)
        self.write([f"{n} + {n}" for n in range(rows)])

    def write(self, questions: list[str]) -> None:
        """Replace the rows; the target is always 4."""
        lines = [json.dumps({"question": question, "target": "4"}) for question in questions]
        (self.folder / "rows.jsonl").write_text("\n".join(lines))

    def __call__(self, *more: str) -> Outcome:
        return self._command(*self.experiment, *more)

    def estimate(self, *more: str) -> Outcome:
        """``runner estimate`` of it."""
        return self._command("estimate", *self.experiment, *more)

    @property
    def experiment(self) -> list[str]:
        """The overrides that make it."""
        provider = {"base_url": f"{self.server.url}/v1", "model": "adder", "max_concurrency": 4}
        return [
            *("--config-dir", "mine", "dataset=sums", "prompt=sums", "metric=accuracy", "tracking=none"),
            *("provider=openai_compatible", *(f"provider.{key}={value}" for key, value in provider.items())),
            f"+prices.models={json.dumps(PRICES).replace(chr(34), '')}",
        ]

    @property
    def judge(self) -> list[str]:
        """Overrides that add a judge, on the same server under a name and a price of its own."""
        provider = {"base_url": f"{self.server.url}/v1", "model": "grader"}
        judged = [f"judge.provider.{key}={value}" for key, value in provider.items()]
        return ["judge=sums", "provider@judge.provider=openai_compatible", *judged, "metric=verdict_share"]


FACTOR = 1.0


class EvenShare:
    """A metric of the user's own: the share of predictions that are even, times a factor."""

    def __call__(self, frame: pl.DataFrame) -> float:
        return FACTOR * float((frame["prediction"] % 2 == 0).mean())
