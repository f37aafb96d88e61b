"""The command line: ``runner [command] [overrides]``, with all of Hydra behind it.

Only Hydra is imported at start; whatever a command needs is imported when it runs.
"""

from __future__ import annotations

import atexit
import gc
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.types import RunMode
from omegaconf import DictConfig

from runner import job, schema, validate
from runner.errors import BudgetError

PACKAGE = Path(__file__).parent
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())

INTERRUPTED = 130
COMMANDS = {
    "run": "runner.commands:run",
    "cleanup": "runner.commands:cleanup",
    "estimate": "runner.estimate:estimate",
    "export": "runner.export:command",
    "list": "runner.commands:list_runs",
    "report": "runner.commands:write_report",
    "reproduce": "runner.reproduce:command",
    "sync": "runner.commands:sync",
}
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


def main() -> None:
    """Entry point of the console script. Exits 0, 1 (a run failed), 2 (bad input) or 130 (Ctrl-C)."""
    _collect_less()
    typed = ["runner", *sys.argv[1:]]
    given = os.environ.get("HYDRA_FULL_ERROR", "0")
    command = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in COMMANDS else "run"
    sys.argv[1:] = named(FOLDERS.get(command), sys.argv[1:])
    aside = tempfile.mkdtemp() if command == "estimate" else "."
    sys.argv[1:] = options_first(sys.argv[1:] if command == "run" else unrecorded(sys.argv[1:], aside))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors over instead of printing them
    code = 0
    try:
        _start(command)
    except KeyboardInterrupt:
        print(f"\nstopped; what is finished is kept. To go on: {shlex.join(typed)}", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        if given == "1":
            raise
        code = 0 if _unread(error) else _explain(error)
        if isinstance(error, BudgetError):
            print(f"To go on: {shlex.join(typed)}", file=sys.stderr)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = given
        code = _finish_sweep(code)
        if aside != ".":
            shutil.rmtree(aside, ignore_errors=True)
    sys.exit(code)


def _collect_less() -> None:
    """What is imported lives to the end: looking through it for garbage took 2 of a short run's 5 seconds."""
    gc.set_threshold(100_000, 20, 50)
    atexit.register(gc.freeze)


def named(key: str | None, arguments: list[str]) -> list[str]:
    """Folders among the arguments as one override of ``key``; without a key nothing changes.

    >>> named("export.folders", ["outputs/runs/1", "export.data=true", "outputs/runs/2"])
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


def unrecorded(arguments: list[str], folder: str) -> list[str]:
    """The arguments for a command that is no run: one point after another, what Hydra writes in a folder."""
    kept = [argument for argument in arguments if not argument.startswith("hydra/launcher=")]
    return [*kept, *UNRECORDED, f"hydra.sweep.dir={folder}"]


def options_first(arguments: list[str]) -> list[str]:
    """Hydra wants its options before all overrides or after them; people write them anywhere.

    >>> options_first(["provider=local", "-m", "seed=1,2", "--cfg", "job"])
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


def _start(command: str) -> None:
    for argument in sys.argv[1:]:  # before Hydra saves them
        key, _, value = argument.partition("=")
        validate.refuse_password(key, value)
    schema.register()
    failed: list[Exception] = []
    task = _lazily(COMMANDS[command], failed)
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    if failed:
        raise failed[0]


def _lazily(target: str, failed: list[Exception]) -> Callable[[DictConfig], Any]:
    """The command's function, imported when called. A single run's error goes round Hydra, which would
    print the overrides; a sweep's point must raise for its sweeper to know."""

    def task(config: DictConfig) -> Any:
        module, function = target.split(":")
        try:
            return getattr(import_module(module), function)(config)
        except Exception as error:
            if job.settings().mode == RunMode.MULTIRUN:
                raise
            failed.append(error)

    return task


def _unread(error: Exception) -> bool:
    """Whether the reader of what is printed, such as ``head``, has seen enough and gone."""
    if not isinstance(error, BrokenPipeError):
        return False
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _explain(error: Exception) -> int:
    from runner.explain import explain

    message, code = explain(error)
    print(message, file=sys.stderr)
    return code


def _finish_sweep(code: int) -> int:
    """A sweep ends here and not in Hydra's callback, which a failed point would skip."""
    if estimate := sys.modules.get("runner.estimate"):
        estimate.finish()
    sweeping = sys.modules.get("runner.sweeping")
    # MLflow takes seconds, and whoever interrupts waits for none of them; `runner sync` logs the rest
    return code if sweeping is None or code == INTERRUPTED else int(sweeping.finish(code))
