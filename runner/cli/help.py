"""What the command line says about itself: its version, its commands, and what a shell may complete."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import textwrap
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError, version
from pkgutil import resolve_name

from runner.cli.arguments import COMMANDS
from runner.cli.arguments.config_dir import CONFIG_DIR, list_values
from runner.config.schema import RunnerConfig
from runner.core.errors import ConfigError, suggest

HELP = ("-h", "--help")
COMPLETION = ("-sc", "--shell-completion")
WIDTH = 78

TEXTS = {
    "run": (
        "Runs one experiment, or with -m a sweep: asks the model about each row, parses and scores the"
        " answers, and records all of it below outputs/ and in MLflow. What was bought before is not bought"
        " again, so the same command goes on where it was stopped.",
        [
            "runner",
            "runner dataset=fib prompt=fib_judge metric=classification provider=mistral",
            "runner -m hyperparameter.n_shot=0,1,3",
            "runner --config-dir mine experiment=my_experiment",
        ],
    ),
    "estimate": (
        "Says what a run or a sweep would ask and cost, with the same overrides as the run. It makes no call"
        " and needs no key.",
        ["runner estimate provider=openai", "runner estimate -m hyperparameter.n_shot=0,1,3"],
    ),
    "list": ("Lists the runs and sweeps of this folder.", ["runner list"]),
    "report": (
        "Writes a page about runs and sweeps: scores, plots, comparisons and rows. Without a folder it is"
        " about the newest one with a score.",
        ["runner report", "runner report outputs/sweeps/FIRST outputs/sweeps/SECOND report.name=both"],
    ),
    "reproduce": (
        "Runs recorded runs again from their folders, as they were, and compares the results. Answers come"
        " from the ledger; missing ones are bought only if you say so.",
        ["runner reproduce outputs/runs/NAME", "runner reproduce study.zip reproduce.ask=true"],
    ),
    "export": (
        "Copies recorded runs, with their answers, into a folder or a zip file that another person can"
        " reproduce, or writes a run as a log of Inspect.",
        [
            "runner export outputs/runs/NAME",
            "runner export outputs/sweeps/NAME to=study.zip",
            "runner export outputs/runs/NAME to=mine.eval",
        ],
    ),
    "sync": (
        "Logs recorded runs that MLflow lacks, for example because its server was down.",
        ["runner sync", "runner sync tracking.uri=http://localhost:5000"],
    ),
    "cleanup": (
        "Lists the deployments that are known, and deletes those that are left over or named.",
        ["runner cleanup provider=azure", "runner cleanup NAME provider=azure"],
    ),
}
"""By command, what it does and examples."""


def find_answer(argv: list[str]) -> Callable[[], str] | None:
    """What prints help or the version instead of running a command; None where a command is meant.

    ``runner --help`` without a command is Hydra's, which shows the groups and the config.
    """
    words = [word for word in argv if word in COMMANDS]
    if "--version" in argv[:2] or argv[:1] == ["version"]:
        return describe_version
    if argv[:1] == ["help"] and len(argv) > 1:
        return lambda: describe_command(argv[1])
    if words and any(word in HELP for word in argv):
        return lambda: describe_command(words[0])
    return None


def describe_version() -> str:
    """The version of this program."""
    try:
        return f"runner {version('llm-experiment-runner')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "runner, not installed as a package"


def describe_command(name: str) -> str:
    """What a command does, with examples and the config keys of its own.

    Raises :class:`ConfigError` for a name that is no command.
    """
    if name not in COMMANDS:
        raise ConfigError(f"unknown command {name!r}{suggest(name.lower(), COMMANDS)}")
    text, examples = TEXTS.get(name) or (resolve_name(COMMANDS[name]).__doc__ or "", [f"runner {name}"])
    lines = [f"runner {name}", "", *_wrap(text), "", *(f"  {example}" for example in examples)]
    if keys := _describe_keys(name):
        lines += ["", "Keys of its own, as key=value:", *keys]
    return "\n".join([*lines, "", "runner --help shows the groups, their options and all other keys."])


def _describe_keys(name: str) -> list[str]:
    """The keys of the command's own part of the config, with their defaults, and what they mean."""
    parts = {field.name: field.default_factory for field in dataclasses.fields(RunnerConfig)}
    kind = parts.get(name)
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        return []
    values = dataclasses.asdict(kind())
    width = max(len(key) for key in values) + len(name) + 3
    lines = [f"  {f'{name}.{key}':<{width}}{_show(value)}" for key, value in values.items()]
    return [*lines, "", *_wrap(kind.__doc__ or "")]


def _show(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _wrap(text: str) -> list[str]:
    """Paragraphs as lines for a terminal, without the marks of reStructuredText."""
    plain = re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(plain).strip())
    return "\n\n".join(textwrap.fill(" ".join(part.split()), WIDTH) for part in paragraphs).splitlines()


def is_completion(argv: list[str]) -> bool:
    """Whether a shell asks what could follow."""
    return any(word in COMPLETION for word in argv) and any(word.startswith("query=") for word in argv)


def complete(argv: list[str], ask_hydra: Callable[[list[str]], None]) -> str:
    """What could follow the words in ``COMP_LINE``: commands, groups, options and keys, and nothing else.

    ``ask_hydra`` prints the completions of Hydra, which knows no commands.
    """
    line = os.environ.get("COMP_LINE", "")
    program, *words = line.split() or [""]
    is_new = not line or line.endswith(" ")
    before = words if is_new else words[:-1]
    separator = "\n" if "query=fish" in argv else " "
    if before == ["help"]:
        return separator.join(_list_commands("" if is_new else words[-1]))
    commands = [] if before else _list_commands("" if is_new else words[-1])
    if before and before[0] in COMMANDS:
        words = words[1:]
    os.environ["COMP_LINE"] = " ".join([program, *words, *([""] if is_new else [])])
    folders = [part for folder in list_values(words, CONFIG_DIR) for part in (CONFIG_DIR[0], folder)]
    printed = io.StringIO()
    with suppress(Exception, SystemExit), redirect_stdout(printed), redirect_stderr(io.StringIO()):
        ask_hydra([*folders, *argv])
    return separator.join([*commands, *printed.getvalue().split()])


def _list_commands(start: str) -> list[str]:
    return [name for name in sorted([*COMMANDS, "help"]) if name.startswith(start)]
