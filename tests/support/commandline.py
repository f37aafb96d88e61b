"""Type a command as a user would, in this process, and look at what it says and leaves behind."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.cli import main
from runner.records import record
from runner.records.folder import RECORD
from runner.records.record import Record


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


@dataclass
class CommandLine:
    """``runner(...)`` in an empty folder."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, *arguments: str) -> Outcome:
        self.patch.chdir(self.folder)
        self.patch.setattr(sys, "argv", ["runner", *arguments])
        self.patch.setenv("HYDRA_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0"))
        # for one short process; here it would leave one test's garbage to be found in another one
        self.patch.setattr(main, "_relax_garbage_collection", lambda: None)
        handlers, level = logging.root.handlers[:], logging.root.level
        try:
            main.main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        finally:
            for handler in set(logging.root.handlers) - set(handlers):
                handler.close()
            logging.root.handlers, logging.root.level = handlers, level
        printed = self.capture.readouterr()
        return Outcome(code, printed.out, printed.err)

    def records(self) -> list[Record]:
        """The records of all runs so far, points of sweeps included, oldest first."""
        found = [record.read_record(file.parent) for file in self.folder.glob(f"outputs/**/{RECORD}")]
        return sorted(found, key=lambda entry: entry.started)
