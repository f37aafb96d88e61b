"""The command line: ``runner [command] [overrides]``, with all of Hydra behind it.

Only Hydra is imported at start; whatever a command needs is imported when it runs.
"""

from __future__ import annotations

import atexit
import gc
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any

import hydra
from hydra.types import RunMode
from omegaconf import DictConfig

from runner.cli.arguments import COMMANDS, read_arguments
from runner.cli.sweep import collect_sweeps
from runner.config import hydra_job, schema, validate
from runner.core.errors import BudgetError
from runner.core.paths import CONF

INTERRUPTED = 130


def main() -> None:
    """Entry point of the console script. Exits 0, 1 (a run failed), 2 (bad input) or 130 (Ctrl-C)."""
    _collect_less()
    typed = sys.argv[1:]
    full = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as aside, collect_sweeps() as sweeps:
        name, arguments = read_arguments(typed, aside)
        command = Command(COMMANDS[name])
        try:
            start(command, arguments)
            code = 0
        except KeyboardInterrupt:
            code = _tell_how_to_go_on(typed, "stopped; what is finished is kept. ", INTERRUPTED)
        except Exception as error:
            if full:
                raise
            code = _explain(error)
            if isinstance(error, BudgetError):
                _tell_how_to_go_on(typed)
        command.finish()
        # MLflow takes seconds, and whoever interrupts waits for none of them; `runner sync` logs the rest
        for sweep in sweeps if code != INTERRUPTED else ():
            from runner.cli.run import close_sweep

            code = close_sweep(sweep, code)
    sys.exit(code)


class Command:
    """A command, imported when its first config is there; a config each is given to it by Hydra.

    ``target`` is a value of :data:`runner.cli.arguments.COMMANDS`.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._function: Any = None
        self.failure: Exception | None = None

    def __call__(self, config: DictConfig) -> Any:
        """Carry it out. A single run's error is kept in ``failure`` and goes round Hydra, which would print
        the overrides; a sweep's point must raise, for its sweeper to know.
        """
        try:
            return self._load()(config)
        except Exception as error:
            if hydra_job.get_settings().mode == RunMode.MULTIRUN:
                raise
            self.failure = error

    def finish(self) -> None:
        """Let it show what it gathered from all configs."""
        if hasattr(self._function, "finish"):
            self._function.finish()

    def _load(self) -> Any:
        if self._function is None:
            found = resolve_name(self._target)
            self._function = found() if isinstance(found, type) else found
        return self._function


def start(command: Callable[[DictConfig], Any], arguments: list[str]) -> None:
    """Let Hydra compose what the arguments say and call the command with each config. Raises its errors."""
    for argument in arguments:  # before Hydra saves them
        key, _, value = argument.partition("=")
        validate.refuse_password(key, value)
    schema.register()

    def task(config: DictConfig) -> Any:  # Hydra looks where a function is defined
        return command(config)

    with _hydra_arguments(arguments):
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    if failure := getattr(command, "failure", None):
        raise failure


@contextmanager
def _hydra_arguments(arguments: list[str]) -> Iterator[None]:
    """Hydra reads the command line itself, and hands errors over only if it is told so."""
    kept, full = sys.argv[1:], os.environ.get("HYDRA_FULL_ERROR")
    sys.argv[1:], os.environ["HYDRA_FULL_ERROR"] = arguments, "1"
    try:
        yield
    finally:
        sys.argv[1:] = kept
        os.environ["HYDRA_FULL_ERROR"] = full or "0"


def _tell_how_to_go_on(typed: list[str], why: str = "", code: int = 1) -> int:
    """Say which command goes on."""
    print(f"{why}To go on: {shlex.join(['runner', *typed])}", file=sys.stderr)
    return code


def _collect_less() -> None:
    """What is imported lives to the end: looking through it for garbage took 2 of a short run's 5 seconds."""
    gc.set_threshold(100_000, 20, 50)
    atexit.register(gc.freeze)


def _is_unread(error: Exception) -> bool:
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
    """Print one message; the exit code that goes with it."""
    if _is_unread(error):
        return 0
    from runner.config.explain import explain

    message, code = explain(error)
    print(message, file=sys.stderr)
    return code
