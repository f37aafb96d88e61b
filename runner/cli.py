"""The command line: ``runner [command] [overrides]``, with all of Hydra behind it.

Only Hydra is imported at start; whatever a command needs is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from runner import schema

PACKAGE = Path(__file__).parent
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())

COMMANDS = {
    "run": "runner.commands:run",
    "list": "runner.commands:list_runs",
    "sync": "runner.commands:sync",
}


def main() -> None:
    """Entry point of the console script. Exits 0, 1 (a run failed), 2 (bad input) or 130 (Ctrl-C)."""
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    command = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in COMMANDS else "run"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors over instead of printing them
    code = 0
    try:
        _start(command)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if full_error:
            raise
        code = _explain(error)
    finally:
        code = _finish_sweep(code)
    sys.exit(code)


def _start(command: str) -> None:
    schema.register()
    task = _lazily(COMMANDS[command])
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)()


def _lazily(target: str) -> Callable[[DictConfig], Any]:
    def task(config: DictConfig) -> Any:
        module, function = target.split(":")
        return getattr(import_module(module), function)(config)

    return task


def _explain(error: Exception) -> int:
    from runner.explain import explain

    message, code = explain(error)
    print(message, file=sys.stderr)
    return code


def _finish_sweep(code: int) -> int:
    """A sweep ends here and not in Hydra's callback, which a failed point would skip."""
    sweeping = sys.modules.get("runner.sweeping")
    return code if sweeping is None else int(sweeping.finish(code))
