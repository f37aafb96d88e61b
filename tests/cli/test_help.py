"""Help of each command, and what a shell completes."""

from __future__ import annotations

import os
import sys

import pytest

from runner.cli.arguments import COMMANDS, refuse_command, refuse_words
from runner.cli.arguments.config_dir import check_folders
from runner.cli.help import complete, describe_command, describe_version, find_answer
from runner.core.errors import ConfigError


def test_commands():
    """Each command has help that fits a terminal, and its own keys stand in it."""
    for name in COMMANDS:
        text = describe_command(name)
        assert text.startswith(f"runner {name}\n")
        assert all(len(line) <= 80 for line in text.splitlines()), name
    assert "report.rows     1000" in describe_command("report")
    assert describe_version().startswith("runner")


@pytest.mark.parametrize("typed", [["help", "report"], ["report", "--help"], ["-h", "report"]])
def test_ways_to_ask(typed):
    """All ways to ask about a command lead to its help; without one Hydra answers."""
    answer = find_answer(typed)
    assert answer
    assert answer() == describe_command("report")
    assert find_answer(["--help"]) is None
    assert find_answer(["report"]) is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("lst", "'lst'; did you mean 'list'?"),
        ("Run", "'Run'; did you mean 'run'?"),
        ("evaluate", "known: .*estimate"),
        ("dataset", "write dataset=option"),
    ],
)
def test_unknown_command(word, said):
    """The nearest command is named."""
    with pytest.raises(ConfigError, match=f"unknown command .*{said}"):
        refuse_command([word])


@pytest.mark.parametrize("typed", [["--cfg"], ["--cfg", "jbo"], ["--cfg=jbo"], ["--foo"], ["-cd"]])
def test_options(typed):
    """A wrong option of Hydra's is told in one line."""
    with pytest.raises(ConfigError, match=r"^(--cfg|unknown option|-cd)"):
        refuse_words(typed)


def test_folders(tmp_path):
    """A config folder is there, holds options, and is the only one."""
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    check_folders(["--config-dir", str(tmp_path / "conf")])
    for typed, said in (
        (["-cd", str(tmp_path / "no")], "no such folder"),
        ([f"--config-dir={tmp_path}"], "did you mean --config-dir .*conf"),
        (["-cd", "a", "--config-dir", "b"], "given twice"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_folders(typed)


@pytest.mark.parametrize(
    ("line", "asked", "completed"),
    [
        ("runner re", "runner re", ["report", "reproduce", "report."]),
        ("runner report rep", "runner rep", ["report."]),
        ("runner help li", None, ["list"]),
        ("runner -m ", "runner -m ", ["report."]),
    ],
)
def test_completion(monkeypatch, capsys, line, asked, completed):
    """Commands are completed beside Hydra's groups and keys; nothing else is printed."""
    lines = []

    def ask(arguments):
        lines.append(os.environ["COMP_LINE"])
        print("a warning", file=sys.stderr)
        print("report.")
        raise SystemExit(1)

    monkeypatch.setenv("COMP_LINE", line)
    assert complete(["-sc", "query=bash"], ask).split() == completed
    assert lines == ([asked] if asked else [])
    assert capsys.readouterr() == ("", "")
