"""Processes to be killed: forked from one that has imported the slow packages, in the test's environment."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

NEW_MOUNTS, NEW_HOST, NEW_PROCESSES = 0x20000, 0x4000000, 0x20000000  # flags of unshare(2)
PRIVATE = 0x4000 | 0x40000  # flags of mount(2)

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
        "tests.support.forked",
    ]
)


def process_of(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that will call ``target``, which must be importable."""
    return _FORKED.Process(target=_as_here, args=(dict(os.environ), target, arguments))


def container_of(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that calls ``target`` as process 1 of a host ``box``; it exits with 77 if that is refused."""
    return process_of(_in_container, target, arguments)


def find_inner(outer: int) -> int:
    """The process id of what runs in a container, as seen from here."""
    return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])


def _in_container(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "unshare") or libc.unshare(NEW_MOUNTS | NEW_HOST | NEW_PROCESSES):
        os._exit(77)
    if inner := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 255)
    libc.mount(None, b"/", None, PRIVATE, None)
    libc.mount(b"proc", b"/proc", b"proc", 0, None)
    socket.sethostname("box")
    try:
        target(*arguments)
        os._exit(0)
    finally:
        os._exit(1)


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
