"""Write the logs in ``tests/data/logs`` anew, by the tools themselves: ``python -m tests.support.logs``.

The tools are looked for on the PATH (``inspect``, ``lm-eval``, ``promptfoo``); what is not there is left out.
All of them ask the same four questions of two models, which a server on loopback plays.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import yaml
from servers import Call, Reply, serving

LOGS = Path(__file__).parents[1] / "data" / "logs"
CAPITALS = {"Peru": "Lima", "Kenya": "Nairobi", "Egypt": "Cairo", "Laos": "Vientiane"}
MODELS = ("large", "small")
SAMPLES = """
import json
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import f1, match
from inspect_ai.solver import generate

@task
def capitals():
    rows = [json.loads(line) for line in open("rows.jsonl")]
    samples = [Sample(id=row["country"], input=row["question"], target=row["gold"]) for row in rows]
    return Task(dataset=samples, solver=generate(), scorer=[match(location="exact"), f1()])
"""
TEXT_TASK = {
    "task": "capitals",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{gold}}",
    "generation_kwargs": {"until": ["\n\n"]},
    "filter_list": [
        {"name": "strict", "filter": [{"function": "take_first"}]},
        {
            "name": "last_word",
            "filter": [
                {"function": "regex", "regex_pattern": r"(\w+)\W*$"},
                {"function": "take_first"},
            ],
        },
    ],
    "metric_list": [{"metric": "exact_match", "ignore_case": True}],
}
CHOICE_TASK = {
    "task": "choices",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{label}}",
    "metric_list": [{"metric": "acc"}],
}


class Models:
    """Two models: one is wrong more often, and both in every other try; some answers are sentences."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()

    def answer(self, call: Call) -> Reply:
        if call.method == "GET":
            return Reply({"object": "list", "data": []})
        model, question = call.json["model"], call.json["messages"][-1]["content"]
        question = question if isinstance(question, str) else question[0]["text"]
        country = next(name for name in CAPITALS if name in question)
        tries = self.asked[model, country]
        self.asked[model, country] += 1
        wrong = (model == "small" and country == "Kenya") or (country == "Laos" and tries % 2)
        said = "Lagos" if wrong else CAPITALS[country]
        text = {"Peru": f"The capital is {said}.", "Egypt": f"{said}."}.get(country, said)
        return Reply(
            {
                "id": "played",
                "object": "chat.completion",
                "created": 1,
                "model": model,
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                ],
                "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
            }
        )


def write_rows(folder: Path) -> None:
    golds = list(CAPITALS.values())
    lines = []
    for place, (country, gold) in enumerate(CAPITALS.items()):
        choices = golds[: 3 + place % 2] if gold in golds[:3] else golds
        row = {"country": country, "question": f"What is the capital of {country}?", "gold": gold}
        lines.append(json.dumps(row | {"choices": choices, "label": choices.index(gold)}))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")


def run(folder: Path, url: str, *words: str) -> None:
    environment = {"OPENAI_API_KEY": "none", "PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_CONFIG_DIR": "pf"}
    done = subprocess.run(words, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode not in (0, 100):  # promptfoo's 100: an assertion failed
        raise SystemExit(f"{words[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def write_inspect(folder: Path, url: str) -> None:
    (folder / "capitals.py").write_text(SAMPLES)
    for model in MODELS:
        words = ["eval", "capitals.py", "--model", f"openai-api/local/{model}", "--model-base-url", url]
        more = ["-M", "api_key=none", "--epochs", "2", "--log-dir", model, "--display", "none"]
        run(folder, url, "inspect", *words, *more, "--max-connections", "1")
        shutil.copyfile(next((folder / model).glob("*.eval")), LOGS / f"inspect_{model}.eval")


def write_lm_eval(folder: Path, url: str) -> None:
    (folder / "tasks").mkdir()
    for task in (TEXT_TASK, CHOICE_TASK):
        files = {"dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
        (folder / "tasks" / f"{task['task']}.yaml").write_text(yaml.safe_dump(task | files))
    options = ["--include_path", "tasks", "--log_samples"]
    served = f"model=large,base_url={url}/chat/completions,tokenized_requests=False"
    chat = ["--model", "local-chat-completions", "--model_args", served, "--apply_chat_template"]
    for task, model in (("capitals", chat), ("choices", ["--model", "dummy"])):
        run(folder, url, "lm-eval", "run", *model, "--tasks", task, *options, "--output_path", task)
        found = next((folder / task).rglob("samples_*.jsonl"))
        shutil.copyfile(found, LOGS / f"lm_eval_{task}.jsonl")


def write_promptfoo(folder: Path, url: str) -> None:
    config = {
        "prompts": [
            {"label": "plain", "raw": "What is the capital of {{country}}?"},
            {"label": "polite", "raw": "Please: what is the capital of {{country}}?"},
        ],
        "providers": [
            {"id": f"openai:chat:{model}", "config": {"apiBaseUrl": url, "apiKey": "none"}}
            for model in MODELS
        ],
        "tests": [
            {"vars": {"country": country}, "assert": [{"type": "equals", "value": gold}]}
            for country, gold in CAPITALS.items()
        ],
    }
    (folder / "promptfooconfig.yaml").write_text(yaml.safe_dump(config))
    run(folder, url, "promptfoo", "eval", "--no-cache", "-j", "1", "--output", "log.json")
    (LOGS / "promptfoo.json.gz").write_bytes(gzip.compress((folder / "log.json").read_bytes(), mtime=0))


WRITERS = {"inspect": write_inspect, "lm-eval": write_lm_eval, "promptfoo": write_promptfoo}


def main() -> None:
    for tool, write in WRITERS.items():
        if shutil.which(tool) is None:
            print(f"{tool}: not installed; its logs are left as they are")
            continue
        with serving(Models().answer) as server, tempfile.TemporaryDirectory() as name:
            write_rows(Path(name))
            write(Path(name), f"{server.url}/v1")
        print(f"{tool}: written")


if __name__ == "__main__":
    main()
