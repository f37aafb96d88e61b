"""Hydra's settings of the running job, also where several jobs run in threads of one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
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


def list_typed(overrides: Iterable[str]) -> dict[str, Any]:
    """The keys that overrides set, with their values. Each key of a mapping counts by itself.

    What is taken away, null, false or empty is left out: it asks for nothing.

    >>> list_typed(["+finetune={suffix: a, options: {x: 1}}", "dataset@finetune.dataset=fib", "b=null"])
    {'finetune.suffix': 'a', 'finetune.options.x': 1, 'finetune.dataset': 'fib'}
    """
    typed: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if not override.is_delete() and not override.is_hydra_override():
            typed |= _flatten(str(override.package or override.key_or_group), override.value())
    return typed


def _flatten(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(f"{key}.{name}", inner)
    elif value is not None and value is not False and value not in ("", []):
        yield key, value


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
