"""Hydra's settings of the job that is running, also where several run side by side in threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hydra.core.hydra_config import HydraConfig

_hydra: ContextVar[Any] = ContextVar("hydra", default=None)


def settings() -> Any:
    """The ``hydra`` node of this job's config."""
    return _hydra.get() or HydraConfig.get()


@contextmanager
def running(hydra: Any) -> Iterator[None]:
    """Within the block, in this thread, :func:`settings` gives ``hydra``."""
    token = _hydra.set(hydra)
    try:
        yield
    finally:
        _hydra.reset(token)
