"""The docs' classes of one's own are run as typed: from an empty folder, with what the wheel installs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from asking import ask
from servers import Reply, serving

from runner.config.instantiate import instantiate
from runner.core.types import Sampling
from runner.records.record import read_record

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^(?:`([\w./]+)`\n\n)?```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHEAP = ["tracking=none", "dataset.limit=2"]
MINE = ["provider={_target_: mine.Mine}"]
"""In place of the embedded model."""
OLLAMA = {"message": {"content": "2"}, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 1}
"""An answer in the dialect of the page on providers."""
DRIVER = """
import json, sys
from runner.cli.main import main

for arguments in json.load(sys.stdin):
    sys.argv = ["runner", *arguments]
    try:
        main()
    except SystemExit as stopped:
        assert not stopped.code, arguments
"""
"""The console script, for several commands in one process."""


@pytest.fixture
def wheel(tmp_path):
    """A folder with the files of the wheel."""
    if not shutil.which("uv"):
        pytest.skip("needs uv, which builds the wheel")
    build = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (file,) = tmp_path.glob("*.whl")
    ZipFile(file).extractall(tmp_path / "installed")
    return tmp_path / "installed"


def test_they_run_as_typed(wheel, tmp_path, monkeypatch):
    """Providers, parsers and metrics; a setting of a class identifies its answers."""
    folder = tmp_path / "empty"
    commands = []
    for page in ("providers", "parsers"):
        for file, text in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text()):
            if file:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(text)
            elif text.startswith("runner") and ("_target_" in text or "--config-dir" in text):
                for line in text.splitlines():
                    model = [] if "provider=" in line else MINE
                    played = ["estimate"] if "anthropic" in line else []
                    commands.append([*played, *shlex.split(line)[1:], *CHEAP, *model])
    subprocess.run(
        [sys.executable, "-P", "-c", DRIVER],
        input=json.dumps(commands).encode(),
        check=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(wheel)},
    )
    records = [read_record(file.parent) for file in folder.glob("outputs/**/record.json")]
    records.sort(key=lambda record: record.started)
    styles = [record.config["provider"].get("style") for record in records[:4]]
    assert styles == ["long", "brief", "long", "long"]
    assert [list(record.scores)[-2:] for record in records[4:6]] == [
        ["squared_error", "squared_error_parsed"]
    ] * 2
    parsers = [record.config["prompt"]["parser"]["_target_"] for record in records[6:]]
    assert parsers == ["grades.Grade", "grades.first_number"]
    monkeypatch.chdir(folder)
    greeting = {"_target_": "greeting.Greeting", "model": "m", "base_url": "http://host", "greeting": "Hi"}
    assert instantiate(greeting, "provider").identity()["greeting"] == "Hi"
    with serving(lambda call: Reply(OLLAMA)) as server:
        dialect = {"_target_": "ollama.Ollama", "model": "m", "base_url": server.url}
        answer = ask(instantiate(dialect, "provider"), Sampling(max_tokens=5))
    assert (server.last.path, server.last.json["options"]["num_predict"]) == ("/api/chat", 5)
    assert (answer.text, answer.finish_reason, answer.output_tokens) == ("2", "stop", 1)
    sys.path.remove(str(folder))
