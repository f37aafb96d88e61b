"""Hydra's settings of the job that is running, also where several run side by side in threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

_hydra: ContextVar[Any] = ContextVar("hydra", default=None)


def get_settings() -> Any:
    """The ``hydra`` node of this job's config."""
    return _hydra.get() or HydraConfig.get()


def get_overrides(hydra: Any = None) -> list[str]:
    """What was typed for a job, this one unless another's node is given; an interpolation stays one."""
    typed = OmegaConf.to_container((hydra or get_settings()).overrides.task)
    return cast(list[str], typed)


@contextmanager
def use_settings(hydra: Any) -> Iterator[None]:
    """Within the block, in this thread, :func:`get_settings` gives ``hydra``."""
    token = _hydra.set(hydra)
    try:
        yield
    finally:
        _hydra.reset(token)
