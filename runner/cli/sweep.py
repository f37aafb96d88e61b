"""A sweep as a whole: its folder, the overrides that its points share, and its parent run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.hydra_job import get_overrides
from runner.config.schema import TrackingConfig
from runner.core.errors import RunnerError
from runner.records.folder import read_notes, write_notes


@dataclass(frozen=True)
class Sweep:
    """A sweep that this process has opened."""

    folder: Path
    config: DictConfig


_open_sweeps: ContextVar[list[Sweep] | None] = ContextVar("opened", default=None)
_parent_lock = threading.Lock()


@contextmanager
def collect_sweeps() -> Iterator[list[Sweep]]:
    """Yield a list to which the sweeps are added that Hydra starts within the block."""
    sweeps: list[Sweep] = []
    token = _open_sweeps.set(sweeps)
    try:
        yield sweeps
    finally:
        _open_sweeps.reset(token)


class OpenSweep(Callback):
    """Hydra callback that prepares a sweep in the launching process, before the first point starts."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Create the folder, and the parent run if points are processes.

        If points are threads, the first one creates the parent run: the others then wait for servers while
        MLflow is imported.
        """
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        overrides = get_overrides(config.hydra)
        notes = {"name": get_name(config), "fixed": find_fixed(overrides), "overrides": overrides}
        write_notes(folder, notes | {"started": time.time()})
        sweeps = _open_sweeps.get()
        if sweeps is not None:
            sweeps.append(Sweep(folder, config))
        if not config.hydra.launcher.get("in_this_process", False):
            with suppress(RunnerError):  # the points fail with the same error and report it
                open_parent(folder, config)


def open_parent(folder: Path, config: DictConfig) -> str | None:
    """Return the id of the sweep's parent run, created at the first call; None if MLflow cannot be used.

    Raises :class:`runner.core.errors.ConfigError` for a wrong address or experiment name.
    """
    from runner import tracking

    with _parent_lock:
        notes = read_notes(folder)
        if notes.get("parent") is None:
            settings = cast(TrackingConfig, OmegaConf.to_object(config.tracking))
            name, started = notes.get("name", "sweep"), notes.get("started")
            notes["parent"] = tracking.open_sweep(name, folder.name, settings, started=started)
            write_notes(folder, notes)
        return cast("str | None", notes["parent"])


def get_name(config: DictConfig, otherwise: str = "sweep") -> str:
    """Return the name in a config, or ``otherwise`` if it has none that can be resolved."""
    try:
        return str(config.get("name") or otherwise)
    except OmegaConfBaseException:  # such as p${hydra:job.num}, which only a point has
        return otherwise


def find_fixed(overrides: list[str]) -> dict[str, str]:
    """Return the overrides that all points share: key to value, as written.

    >>> find_fixed(["provider=local", "hyperparameter.n_shot=0,1"])
    {'provider': 'local'}
    """
    return {_get_key(item): _get_text(item) for item in _parse(overrides) if not item.is_sweep_override()}


def find_swept(overrides: list[str], folder: Path) -> dict[str, Any]:
    """Return the keys and values among a point's overrides that not all points share."""
    shared = read_notes(folder).get("fixed", {})
    return {
        _get_key(item): item.value()
        for item in _parse(overrides)
        if shared.get(_get_key(item)) != _get_text(item)
    }


def _parse(overrides: list[str]) -> list[Override]:
    return list(OverridesParser.create().parse_overrides(overrides))


def _get_key(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~")


def _get_text(override: Override) -> str:
    return str(override.get_value_element_as_str())
