"""What stands on the command line: the command, its folders, Hydra's options, the overrides."""

from __future__ import annotations

from pathlib import Path

COMMANDS = {
    "run": "runner.cli.run:run_command",
    "cleanup": "runner.cli.commands:cleanup",
    "estimate": "runner.cli.estimate:Estimate",
    "export": "runner.cli.export:export_command",
    "list": "runner.cli.commands:list_runs",
    "report": "runner.cli.commands:write_report",
    "reproduce": "runner.cli.reproduce:reproduce_command",
    "sync": "runner.cli.commands:sync",
}
"""A function of the composed config, or a class whose objects are such functions and have a ``finish()``."""
# Commands that take folders of runs, and the key that these become.
FOLDERS = {"export": "export.folders", "report": "report.folders", "reproduce": "reproduce.folders"}
# A command that is no run leaves no folder and no log of a run.
UNRECORDED = [
    "hydra.run.dir=.",
    "hydra/launcher=basic",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "~hydra.callbacks.sweep",
]
# Hydra's options with a value. --info may stand alone, so its value must be joined: --info=searchpath
WITH_VALUE = {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"}
WITH_VALUE |= {"--config-dir", "-cd", "--experimental-rerun"}


def read_arguments(typed: list[str], aside: str) -> tuple[str, list[str]]:
    """The command (``run`` where none is named), and the arguments as Hydra takes them.

    ``aside`` is a folder for what Hydra writes where nothing is to be recorded.
    """
    command = typed[0] if typed and typed[0] in COMMANDS else "run"
    arguments = join_folders(FOLDERS.get(command), typed[1:] if typed[:1] == [command] else typed)
    if command != "run":
        arguments = leave_no_record(arguments, aside if command == "estimate" else ".")
    return command, put_options_first(arguments)


def join_folders(key: str | None, arguments: list[str]) -> list[str]:
    """Folders among the arguments as one override of ``key``; without a key nothing changes.

    >>> join_folders("export.folders", ["outputs/runs/1", "export.data=true", "outputs/runs/2"])
    ['export.data=true', "export.folders=['outputs/runs/1','outputs/runs/2']"]
    """
    places = [
        place
        for place, (before, argument) in enumerate(zip(["", *arguments], arguments, strict=False))
        if key and _is_folder(argument) and before not in WITH_VALUE
    ]
    if not places:
        return arguments
    quoted = ["'" + arguments[place].replace("'", r"\'") + "'" for place in places]
    rest = [argument for place, argument in enumerate(arguments) if place not in places]
    return [*rest, f"{key}=[{','.join(quoted)}]"]


def _is_folder(argument: str) -> bool:
    return argument[0:1] not in ("-", "~", "+") and ("=" not in argument or Path(argument).exists())


def leave_no_record(arguments: list[str], folder: str) -> list[str]:
    """The arguments for a command that is no run: one point after another, what Hydra writes in a folder."""
    kept = [argument for argument in arguments if not argument.startswith("hydra/launcher=")]
    return [*kept, *UNRECORDED, f"hydra.sweep.dir={folder}"]


def put_options_first(arguments: list[str]) -> list[str]:
    """Hydra wants its options before all overrides or after them; people write them anywhere.

    >>> put_options_first(["provider=local", "-m", "seed=1,2", "--cfg", "job"])
    ['-m', '--cfg', 'job', 'provider=local', 'seed=1,2']
    """
    options: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        options.append(argument)
        if argument in WITH_VALUE:
            options += [value for value in [next(rest, None)] if value is not None]
    return options + overrides
