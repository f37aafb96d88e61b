"""Splits the command line into the command, its folders, Hydra's options and the overrides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from runner.cli.arguments.config_dir import CONFIG_DIR
from runner.core.errors import ConfigError, suggest
from runner.core.paths import CONF, list_options

COMMANDS = {
    "run": "runner.cli.run:run_command",
    "cleanup": "runner.cli.commands:cleanup",
    "estimate": "runner.cli.estimate:Estimate",
    "export": "runner.cli.export:export_command",
    "list": "runner.cli.commands:list_runs",
    "report": "runner.cli.commands:write_report",
    "reproduce": "runner.cli.reproduce:reproduce_command",
    "show": "runner.cli.show:show_command",
    "sync": "runner.cli.commands:sync",
}
"""By command, a function of the composed config, or a class of such functions with a last ``finish()``."""
# The commands that take folders or names, and the config key that holds these.
FOLDERS = {
    "cleanup": "cleanup.names",
    "export": "export.folders",
    "report": "report.folders",
    "reproduce": "reproduce.folders",
}
# The commands that read records whose addresses are used only if named, and the key that holds these names.
NAMED = {"export": "export.named", "reproduce": "reproduce.named"}
# The words of `runner show` that stand for keys of its group, and those that choose rows.
SHOWN = re.compile(r"(run|row|rows|text)=(.*)", re.DOTALL)
CHOICES = ("wrong", "unparsed", "error", "disagreeing")
ADDRESS = re.compile(
    r"\+{0,2}((judge\.(members\.\w+\.)?)?provider\.([\w.]+[._])?"
    r"(base_url|url|uri|host|endpoint|server|address|proxy|model|models_dir|\w+_env)"
    r"|(dataset|finetune)\.([\w.\[\]-]+\.)?(path|url))=."
)
NO_OPTION = re.compile(r"null|true|false|[-+.\d]+", re.IGNORECASE)
# What the smaller commands read of the config; other overrides would have no effect. The commands that read
# all of it read no group of another command.
READ = {
    "cleanup": ["cleanup", "provider", "ledger", "experiment"],
    "export": ["export", "ledger"],
    "list": ["tracking"],
    "report": ["report"],
    "sync": ["tracking", "experiment"],
}
# Overrides for commands other than a run, so that they leave no run folder and no log.
WITHOUT_RECORD = [
    "hydra.run.dir=.",
    "hydra/launcher=basic",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "~hydra.callbacks.sweep",
]
# Hydra's options that take a value; --info may have one, and is then joined to it.
WITH_VALUE = {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"}
WITH_VALUE |= {*CONFIG_DIR, "--experimental-rerun"}
CFG, CFG_VALUES = ("--cfg", "-c"), ("job", "hydra", "all")
INFO, INFO_VALUES = ("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
OPTIONS = {
    *WITH_VALUE, "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m",
    "--shell-completion", "-sc", "--info", "-i",
}  # fmt: skip


def read_arguments(argv: list[str], scratch: str) -> tuple[str, list[str]]:
    """Return the command, by default ``run``, and the arguments in the form that Hydra takes.

    ``scratch`` is a folder for the files that Hydra writes although nothing is recorded.
    """
    if argv == ["help"]:
        argv = ["--help"]
    command = argv[0] if argv and argv[0] in COMMANDS else "run"
    arguments = join_folders(FOLDERS.get(command), argv[1:] if argv[:1] == [command] else argv)
    arguments = join_addresses(NAMED.get(command), arguments)
    if command == "show":
        arguments = join_shown(arguments)
    if command != "run":
        arguments = leave_no_record(arguments, scratch if command == "estimate" else ".")
    return command, put_options_first(arguments)


def refuse_command(argv: list[str]) -> None:
    """Raise :class:`ConfigError` for a first word that is meant as a command and is none."""
    word = argv[0] if argv else ""
    if re.fullmatch(r"\w[\w-]*", word) and word not in COMMANDS:
        raise ConfigError(f"unknown command {word!r}{_suggest_command(word)}")


def _suggest_command(word: str) -> str:
    if word and (CONF / word).is_dir():
        return f"; to choose an option of this group, write {word}=option"
    return suggest(word.lower(), [*COMMANDS, "help"])


def refuse_words(arguments: Iterable[str]) -> None:
    """Raise :class:`ConfigError` for a word that is neither an option nor an override."""
    before = ""
    for word in arguments:
        _refuse_option(word, before)
        if not word.startswith(("-", "~")) and before not in WITH_VALUE and not word.partition("=")[1]:
            raise ConfigError(f"{word!r} is {_describe_word(word)}")
        if word.startswith("="):
            raise ConfigError(f"{word!r} has no key: an override is key=value")
        _refuse_no_option(word)
        before = word
    if before in WITH_VALUE:
        raise ConfigError(f"{before}: needs a value{' (job, hydra or all)' if before in CFG else ''}")


def _refuse_option(word: str, before: str) -> None:
    """Raise :class:`ConfigError` for an option that Hydra does not have, and for a wrong ``--cfg``."""
    name = word.partition("=")[0]
    if name.startswith("-") and before not in WITH_VALUE and name not in OPTIONS:
        plain = word.lstrip("-")
        is_override = "=" in plain and suggest(name, OPTIONS).startswith("; known")
        hint = f"; an override has no dashes: {plain}" if is_override else suggest(name, OPTIONS)
        raise ConfigError(f"unknown option {name!r}{hint}")
    value = word.partition("=")[2] if name in CFG else word
    if (before in CFG or (name in CFG and "=" in word)) and value not in CFG_VALUES:
        raise ConfigError(f"--cfg {value}: must be one of {', '.join(CFG_VALUES)}")


def _refuse_no_option(word: str) -> None:
    """Raise :class:`ConfigError` for a group that is set to null, a number or a truth value."""
    group, _, value = word.lstrip("+").partition("=")
    name = group.partition("@")[0]
    if re.fullmatch(r"\w+", name) and (CONF / name).is_dir() and NO_OPTION.fullmatch(value):
        raise ConfigError(f"{word}: {value} is no option of {group}{suggest(value, list_options(name))}")


def _describe_word(word: str) -> str:
    if word in COMMANDS:
        return "a command, which stands before everything else"
    if "." in word:
        return f"not an override: write {word}=value"
    return f"neither a command nor an override, which is key=value{_suggest_command(word)}"


def find_unused(command: str, overrides: Iterable[str]) -> list[str]:
    """Return the overrides that have no effect on a command.

    >>> find_unused("list", ["dataset=fib"]), find_unused("report", ["report.name=mine"])
    (['dataset=fib'], [])
    """
    keys = {override: override.lstrip("+~").replace("@", ".").partition("=")[0] for override in overrides}
    groups = {override: key.split(".")[0].split("/")[0] for override, key in keys.items()}
    others = {name for name in COMMANDS if name != command}
    return [
        override
        for override, group in groups.items()
        if group in others or group not in READ.get(command, [group])
    ]


def join_folders(key: str | None, arguments: list[str]) -> list[str]:
    """Turn the folders among the arguments into one override of ``key``; None leaves them as they are.

    >>> join_folders("export.folders", ["outputs/runs/1", "to=a.zip", "outputs/runs/2"])
    ['export.to=a.zip', "export.folders=['outputs/runs/1','outputs/runs/2']"]
    """
    if key == FOLDERS["export"]:
        arguments = [re.sub("^to=", "export.to=", argument) for argument in arguments]
    folders_at = [
        index
        for index, (before, argument) in enumerate(zip(["", *arguments], arguments, strict=False))
        if key and _is_folder(argument) and before not in WITH_VALUE
    ]
    if not folders_at:
        return arguments
    rest = [argument for index, argument in enumerate(arguments) if index not in folders_at]
    return [*rest, _join(str(key), [arguments[index] for index in folders_at])]


def join_addresses(key: str | None, arguments: list[str]) -> list[str]:
    """Turn the addresses that are named among the arguments into one override of ``key``.

    The config of these commands comes from a record, so the addresses are no overrides of today's config.

    >>> join_addresses("reproduce.named", ["run", "provider.base_url=http://localhost:8000/v1"])
    ['run', "reproduce.named=['provider.base_url=http://localhost:8000/v1']"]
    """
    named = [argument for argument in arguments if key and ADDRESS.match(argument)]
    rest = [argument for argument in arguments if argument not in named]
    return [*rest, _join(str(key), named)] if named else arguments


def join_shown(arguments: list[str]) -> list[str]:
    """Turn the words of ``runner show`` into overrides of its group: ``wrong``, ``row=7``, or a run's folder.

    >>> join_shown(["wrong", "text=it's", "dataset=fib", "outputs/runs/1"])
    ["show.text='it\\\\'s'", 'dataset=fib', "show.run='outputs/runs/1'", "show.only=['wrong']"]
    """
    words: list[str] = []
    chosen = []
    before = ""
    for word in arguments:
        found = SHOWN.fullmatch(word)
        is_value, before = before in WITH_VALUE, word
        if found and not is_value:
            words.append(f"show.{found[1]}={quote(found[2])}")
        elif word in CHOICES and not is_value:
            chosen.append(word)
        elif _is_folder(word) and not is_value:
            words.append(f"show.run={quote(word)}")
        else:
            words.append(word)
    return [*words, *([_join("show.only", chosen)] if chosen else [])]


def quote(text: str) -> str:
    """A text as Hydra reads it back: in quotes, without interpolation."""
    escaped = re.sub(r"(\\*)('|\Z)", lambda end: end[1] * 2 + ("\\'" if end[2] else ""), text)
    return "'" + re.sub(r"(\\*)\$\{", r"\1\1\\${", escaped) + "'"


def _join(key: str, words: Iterable[str]) -> str:
    quoted = ["'" + word.replace("'", r"\'") + "'" for word in words]
    return f"{key}=[{','.join(quoted)}]"


def _is_folder(argument: str) -> bool:
    return argument[0:1] not in ("-", "~", "+") and ("=" not in argument or Path(argument).exists())


def leave_no_record(arguments: list[str], folder: str) -> list[str]:
    """Return the arguments for a command that records nothing: Hydra writes into ``folder``."""
    kept = [argument for argument in arguments if not argument.startswith("hydra/launcher=")]
    return [*kept, *WITHOUT_RECORD, f"hydra.sweep.dir={folder}"]


def put_options_first(arguments: list[str]) -> list[str]:
    """Move Hydra's options before the overrides, since Hydra does not accept them in between.

    >>> put_options_first(["provider=local", "-m", "seed=1,2", "--cfg", "job", "--info", "defaults"])
    ['-m', '--cfg', 'job', '--info=defaults', 'provider=local', 'seed=1,2']
    """
    options: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if options and options[-1] in INFO and argument in INFO_VALUES:
            options[-1] = f"--info={argument}"
            continue
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        options.append(argument)
        if argument in WITH_VALUE:
            options += [value for value in [next(rest, None)] if value is not None]
    return options + overrides
