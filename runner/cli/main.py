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
from collections.abc import Callable
from importlib import import_module
from typing import Any

import hydra
from hydra.types import RunMode
from omegaconf import DictConfig

from runner.cli.arguments import COMMANDS, understood
from runner.config import hydra_job, schema, validate
from runner.core.errors import BudgetError
from runner.core.paths import CONF

INTERRUPTED = 130


def main() -> None:
    """Entry point of the console script. Exits 0, 1 (a run failed), 2 (bad input) or 130 (Ctrl-C)."""
    _collect_less()
    typed = sys.argv[1:]
    given = os.environ.get("HYDRA_FULL_ERROR", "0")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as aside:
        command, sys.argv[1:] = understood(typed, aside)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors over instead of printing them
        try:
            code = _start(command)
        except KeyboardInterrupt:
            code = _stopped(typed, "stopped; what is finished is kept. ", INTERRUPTED)
        except Exception as error:
            if given == "1":
                raise
            code = _explain(error)
            if isinstance(error, BudgetError):
                _stopped(typed)
        finally:
            os.environ["HYDRA_FULL_ERROR"] = given
        code = _finish_sweep(code)
    sys.exit(code)


def _stopped(typed: list[str], why: str = "", code: int = 1) -> int:
    """Say how to go on."""
    print(f"{why}To go on: {shlex.join(['runner', *typed])}", file=sys.stderr)
    return code


def _collect_less() -> None:
    """What is imported lives to the end: looking through it for garbage took 2 of a short run's 5 seconds."""
    gc.set_threshold(100_000, 20, 50)
    atexit.register(gc.freeze)


def _start(command: str) -> int:
    """Give Hydra the command; 0 if nothing failed."""
    for argument in sys.argv[1:]:  # before Hydra saves them
        key, _, value = argument.partition("=")
        validate.refuse_password(key, value)
    schema.register()
    failed: list[Exception] = []
    task = _lazily(COMMANDS[command], failed)
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
    if failed:
        raise failed[0]
    return 0


def _lazily(target: str, failed: list[Exception]) -> Callable[[DictConfig], Any]:
    """The command's function, imported when called. A single run's error goes round Hydra, which would
    print the overrides; a sweep's point must raise for its sweeper to know."""

    def task(config: DictConfig) -> Any:
        module, function = target.split(":")
        try:
            return getattr(import_module(module), function)(config)
        except Exception as error:
            if hydra_job.get_settings().mode == RunMode.MULTIRUN:
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
    """Print one message; the exit code that goes with it."""
    if _unread(error):
        return 0
    from runner.config.explain import explain

    message, code = explain(error)
    print(message, file=sys.stderr)
    return code


def _finish_sweep(code: int) -> int:
    """A sweep ends here and not in Hydra's callback, which a failed point would skip."""
    if estimate := sys.modules.get("runner.experiment.estimate"):
        estimate.finish()
    sweeping = sys.modules.get("runner.cli.sweep")
    # MLflow takes seconds, and whoever interrupts waits for none of them; `runner sync` logs the rest
    return code if sweeping is None or code == INTERRUPTED else int(sweeping.finish(code))
