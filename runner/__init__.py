"""Declarative experiments on language models, from Python.

    import runner

    result = runner.run(["dataset=fib", "prompt=fib_judge", "metric=classification"])
    result.scores["accuracy"], result.frame, result.record
    results, summary = runner.sweep(["hyperparameter.n_shot=0,1,3"])
    runner.load("outputs/runs/…"), runner.compose(["provider=openai"])

Overrides, folders, ledger and tracking are the same as on the command line (:mod:`runner.cli.main`). To read
the code of an experiment, start at :mod:`runner.experiment.run`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.core import authors, errors

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from runner.records.result import RunResult, SweepResult

__version__ = "0.1.0"
__all__ = ["compose", "load", "run", "sweep"]

# users' own classes import these two names, which were modules of this package once
sys.modules[f"{__name__}.errors"] = errors
sys.modules[f"{__name__}.types"] = types = authors


def run(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> RunResult:
    """Run one experiment and return its record, rows and scores. Blocks, also inside a running event loop.

    ``overrides`` are those of the command line; ``config_dir`` is a folder with your own option files. Raises
    :class:`runner.core.errors.RunnerError` if the run fails; its record then holds what was finished.
    """
    from runner.cli.api import run_once

    return run_once(overrides, config_dir)


def sweep(overrides: Sequence[str], config_dir: str | Path | None = None) -> SweepResult:
    """Run every combination of the comma-separated values; return the results and their summary.

    The summary has a line for each point (:func:`runner.records.sweep.summarize`). Failed points are
    included; their ``status`` and ``reason`` say why. Raises :class:`runner.core.errors.RunnerError` only if
    no point has a record.
    """
    from runner.cli.api import run_sweep

    return run_sweep(overrides, config_dir)


def load(path: str | Path) -> RunResult | SweepResult:
    """Load a recorded run or sweep from its folder."""
    from runner.records.result import load_result

    return load_result(Path(path))


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> DictConfig:
    """Compose the config of these overrides without running it.

    Raises :class:`runner.core.errors.ConfigError` with the message of the command line.
    """
    from runner.cli.api import compose_config

    return compose_config(overrides, config_dir)
