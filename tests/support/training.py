"""A small training and its evaluation, with a config folder of its own, against the played services."""

from __future__ import annotations

import json
from pathlib import Path

from hosted import AzureApi
from options import write_options
from servers import Reply, completion

ROWS = [
    {"question": f"{n}+1?", "target": str(n + 1), "part": "train" if n < 12 else "test"} for n in range(16)
]
DATASET = """
name: sums
path: rows.jsonl
steps: [{derive: {split: part}}]
"""
PROMPT = """
name: sums
user: "{{ question }}"
parser: {_target_: runner.parse.Number}
"""
FACTS = """
defaults: [supervised, _self_]
name: facts
poll_s: 0.01
"""


OPTIONS = ["dataset=sums", "prompt=sums", "metric=exact_agreement", "finetune=facts", "tracking=none"]


def write_training(folder: Path) -> list[str]:
    """Write the rows and the options into a folder; return the arguments of a run there."""
    options = {"dataset/sums.yaml": DATASET, "prompt/sums.yaml": PROMPT, "finetune/facts.yaml": FACTS}
    write_options(folder, options)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return ["--config-dir", "mine", *OPTIONS]


def at_azure(url: str) -> list[str]:
    """The overrides of a provider that is the server at ``url``; its token is in the variable TOKEN."""
    hosting = {
        "subscription": "s",
        "resource_group": "g",
        "account": "a",
        "token_env": "TOKEN",
        "base_url": url,
    }
    return [
        *("provider=azure", f"provider.base_url={url}", "provider.model=m"),
        *("provider.api_key_env=null", "provider.token_env=TOKEN"),
        *(f"provider.deployment.{key}={value}" for key, value in hosting.items()),
    ]


class Hosting(AzureApi):
    """A fake Azure whose deployments answer."""

    def chat(self, body):
        if body["model"] in self.deployments and body["messages"]:
            return Reply(completion(str(int(body["messages"][-1]["content"].split("+")[0]) + 1)))
        return super().chat(body)
