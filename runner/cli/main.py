"""The command line: ``runner [command] [overrides]``, with all of Hydra behind it.

Only Hydra is imported at start; whatever a command needs is imported when it runs.
"""

from __future__ import annotations

import atexit
import gc
import math
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pkgutil import resolve_name
from typing import Any

import hydra
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from runner.cli.arguments import COMMANDS, FOLDERS, find_unused, read_arguments, refuse_command, refuse_words
from runner.cli.arguments.config_dir import check_folders
from runner.cli.help import complete, find_answer, is_completion
from runner.cli.sweep import Sweep, SweepRefused, collect_sweeps, end_hosting, kill_sweeps
from runner.config import hydra_job, schema, secrets
from runner.config.composer import compose_once
from runner.config.explain import tell_places
from runner.core.errors import BudgetError, FailedRowsError, WaitError
from runner.core.paths import CONF, OUTPUTS
from runner.core.redact import drop_controls, hide_keys
from runner.engine.event_loop import end_on_signals
from runner.engine.fresh import add_name, name_fresh

INTERRUPTED = 130
KEPT = dict.fromkeys(("run", "reproduce"), "; what is finished is kept") | {"estimate": "; nothing was asked"}


def main() -> None:
    """Entry point of the console script.

    Exits 0; 1 (a run failed, missed a condition, or left a deployment); 2 (bad input, and nothing paid); 130
    (Ctrl-C), or 128 plus the number of the signal that ended it (SIGTERM, SIGHUP). See docs/sweeps.md.
    """
    _relax_garbage_collection()
    argv = name_fresh(sys.argv[1:])
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        end_on_signals() as signals,
        collect_sweeps() as sweeps,
    ):
        try:
            code = _run(argv, scratch, sweeps)
        except KeyboardInterrupt:
            # nobody wants to wait seconds for MLflow; the next `runner` command logs what is missing there
            kill_sweeps(sweeps)
            code = 128 + signals[0] if signals else INTERRUPTED
            named = argv[0] if argv and argv[0] in COMMANDS else "run"
            _print_how_to_continue(argv, f"stopped{KEPT.get(named, '')}. ")
    sys.exit(code)


def _run(argv: list[str], scratch: str, sweeps: list[Sweep]) -> int:
    """Run the command that was typed and return the exit code."""
    full_error = os.environ.get("HYDRA_FULL_ERROR", "0") == "1"
    if is_completion(argv):
        print(complete(argv, lambda arguments: start(Command("run"), arguments)))
        return 0
    name, arguments = read_arguments(argv, scratch)
    command = Command(name)
    try:
        if answer := find_answer(argv):
            print(answer())
            return 0
        refuse_command(arguments if argv == ["help"] else argv)
        start(command, arguments)
        code = 0
    except Exception as error:
        if full_error:
            raise
        code = _print_error(error)
        if isinstance(error, BudgetError | FailedRowsError | WaitError):
            _print_how_to_continue(_raise_budget(argv, getattr(error, "least", 0.0)))
    command.finish()
    for sweep in sweeps:
        from runner.cli.sweep_end import close_sweep

        code = close_sweep(sweep, code)
    command.close_killed()
    return code


class Command:
    """A command that Hydra calls with each config. Its module is imported at the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._function: Any = None
        self.failure: Exception | None = None
        self._config: DictConfig | None = None
        self._told: set[str] = set()

    def __call__(self, config: DictConfig) -> Any:
        """Run the command.

        The error of a single run is kept in ``failure``, since Hydra would print the overrides. The error of
        a sweep's point is raised, so that the sweeper sees it.
        """
        self._config = config
        try:
            unused = find_unused(self._name, hydra_job.get_overrides())
            for override in [each for each in unused if each not in self._told]:
                self._told.add(override)
                print(f"{override}: has no effect on runner {self._name}", file=sys.stderr)
            # this may be a launcher's process, where nobody listens to signals yet
            with end_on_signals(), self._tell_places():
                return self._load()(config)
        except Exception as error:
            if hydra_job.get_settings().mode == RunMode.MULTIRUN:
                raise
            self.failure = error

    def close_killed(self) -> None:
        """End in MLflow what was killed in this folder, whatever the command was."""
        if self._config is not None:
            from runner.cli.sweep import read_tracking
            from runner.cli.sweep_end import close_killed

            with suppress(OmegaConfBaseException):  # the command itself reported it
                close_killed(OUTPUTS, read_tracking(self._config))

    def _tell_places(self) -> AbstractContextManager[None]:
        """A recorded config is not made of today's option files."""
        return nullcontext() if self._name in FOLDERS else tell_places(hydra_job.get_settings())

    def finish(self) -> None:
        """Let the command show what it gathered from all configs."""
        if hasattr(self._function, "finish"):
            self._function.finish()

    def _load(self) -> Any:
        if self._function is None:
            found = resolve_name(COMMANDS[self._name])
            self._function = found() if isinstance(found, type) else found
        return self._function


def start(command: Callable[[DictConfig], Any], arguments: list[str]) -> None:
    """Let Hydra compose the configs and call the command with each. Raises the errors of both."""
    secrets.load_env_file()
    secrets.refuse_typed_secrets(arguments)  # before Hydra or a message repeats them
    refuse_words(arguments)
    check_folders(arguments)
    schema.register()

    def task(config: DictConfig) -> Any:  # Hydra needs a plain function, not an object
        return command(config)

    with _replace_arguments(arguments), hydra_job.raise_quietly(), compose_once():
        interrupted = False
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()
        except SweepRefused as refused:
            raise refused.reason from None
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            raise
        finally:
            end_hosting(interrupted)
    if failure := getattr(command, "failure", None):
        raise failure


@contextmanager
def _replace_arguments(arguments: list[str]) -> Iterator[None]:
    """Set ``sys.argv``, which Hydra reads, and make Hydra raise its errors instead of printing them."""
    previous, full_error = sys.argv[1:], os.environ.get("HYDRA_FULL_ERROR")
    sys.argv[1:], os.environ["HYDRA_FULL_ERROR"] = arguments, "1"
    try:
        yield
    finally:
        sys.argv[1:] = previous
        os.environ.pop("HYDRA_FULL_ERROR", None)
        os.environ |= {"HYDRA_FULL_ERROR": full_error} if full_error is not None else {}


def _print_how_to_continue(argv: list[str], why: str = "") -> None:
    """Print the command that continues."""
    print(f"{why}To go on: {shlex.join(['runner', *add_name(argv)])}", file=sys.stderr)


def _raise_budget(argv: list[str], least: float) -> list[str]:
    """The arguments, with a budget of at least so many dollars: with less the same command never goes on."""
    words, cents = list(argv), math.ceil(100 * least)
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        with suppress(ValueError):
            if name.lstrip("+") == "budget_usd" and float(value) < least:
                words[place] = f"{name}={cents / 100:g}"
    return words


def _relax_garbage_collection() -> None:
    """Collect garbage less often: imports live to the end, and scanning them took 2 of a short run's 5 s."""
    gc.set_threshold(100_000, 20, 50)
    atexit.register(gc.freeze)


def _is_unread(error: Exception) -> bool:
    """Whether the program that reads the output, such as ``head``, has ended."""
    if not isinstance(error, BrokenPipeError):
        return False
    try:
        print(flush=True)  # what could not be written before is not tried again
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _print_error(error: Exception) -> int:
    """Print one message about an error and return the exit code."""
    if _is_unread(error):
        return 0
    from runner.config.explain import explain

    message, code = explain(error)
    print(hide_keys(drop_controls(message)), file=sys.stderr)
    return code
