"""Hydra's settings of the running job, also where several jobs run in threads of one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from runner.core.paths import CONF

_hydra: ContextVar[Any] = ContextVar("hydra", default=None)


def get_settings() -> Any:
    """The ``hydra`` node of this job's config."""
    return _hydra.get() or HydraConfig.get()


def list_config_folders() -> list[Path]:
    """The folders of option files of this job, as ``--config-dir`` names them, without the shipped one.

    Empty outside a job.
    """
    if _hydra.get() is None and not HydraConfig.initialized():
        return []
    sources = get_settings().runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    return [folder for folder in folders if folder != CONF]


def get_overrides(hydra: Any = None) -> list[str]:
    """The overrides of a job as they were typed, with unresolved interpolations.

    ``hydra`` is the job's ``hydra`` node, by default that of this job.
    """
    return _list_typed((hydra or get_settings()).overrides.task)


def get_hydra_overrides(hydra: Any) -> list[str]:
    """The overrides of Hydra's own settings, likewise."""
    return _list_typed(hydra.overrides.hydra)


def _list_typed(node: Any) -> list[str]:
    return cast(list[str], OmegaConf.to_container(node))


@contextmanager
def raise_quietly() -> Iterator[None]:
    """Within the block a failed job raises its error without Hydra's line, which repeats the overrides."""
    kind: Any = JobReturn
    loud = kind.return_value

    def read(job: JobReturn) -> Any:
        if job.status == JobStatus.FAILED:
            raise job._return_value
        return loud.fget(job)

    kind.return_value = property(read, loud.fset)
    try:
        yield
    finally:
        kind.return_value = loud


@contextmanager
def use_settings(hydra: Any) -> Iterator[None]:
    """Make :func:`get_settings` return ``hydra`` in this block and thread."""
    token = _hydra.set(hydra)
    try:
        yield
    finally:
        _hydra.reset(token)
