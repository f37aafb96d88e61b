"""Processes to be killed: forked from one that has imported the slow packages, in the test's environment."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from multiprocessing.queues import Queue
from typing import Any

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [
        "runner.cli.run",
        "runner.engine.batch",
        "runner.pipeline.finetune",
        "runner.providers.azure",
        "runner.providers.azure.batch",
        "runner.providers.azure.tuning",
        "runner.providers.mistral.batch",
        "runner.providers.mistral.tuning",
        "runner.providers.http.async_client",
        "openai.resources.files",
        "openai.resources.fine_tuning.jobs",
        "mistralai.client.files",
        "hydra.main",
        "openai.resources.chat.completions",
        "polars",
        "scipy.stats",
        "pytest",
    ]
)


def process_of(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that will call ``target``, which must be importable."""
    return _FORKED.Process(target=_as_here, args=(dict(os.environ), target, arguments))


def shared_queue() -> Queue[Any]:
    """What such processes can tell through."""
    return _FORKED.Queue()


def dies_at(cut: int, done: bool, child: ForkServerProcess) -> Callable[[int, bool], bool]:
    """A server's fault: ``child`` is killed during its n-th call, before or after (``done``) its effect."""

    def fault(number: int, over: bool) -> bool:
        if number == cut and over == done:
            os.kill(child.pid, signal.SIGKILL)
            return True
        return False

    return fault


def _as_here(environment: Mapping[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    target(*arguments)
