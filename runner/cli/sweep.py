"""What belongs to a sweep as a whole: its folder, its parent run, its table at the end."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config import hydra_job
from runner.config.schema import TrackingConfig
from runner.core.errors import RunnerError
from runner.core.files import write_atomically
from runner.records.record import SWEEP

IN_THREADS = "hydra_plugins.runner_concurrent_launcher.ConcurrentLauncher"


_opened: list[tuple[Path, DictConfig]] = []
_turn = threading.Lock()


class OpenSweep(Callback):
    """Hydra callback: prepares the sweep in the launching process, before the first point starts."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Create the folder, and where points are processes the parent run, to which they only add.

        Points that are threads make it themselves: they wait for servers while MLflow is imported.
        """
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        overrides = hydra_job.get_overrides(config.hydra)
        told = {"name": _name(config), "fixed": fixed(overrides), "overrides": overrides}
        _write(folder, told | {"started": time.time()})
        _opened.append((folder, config))
        if config.hydra.launcher.get("_target_") != IN_THREADS:
            with suppress(RunnerError):  # points meet it again, and say so
                parent(folder, config)


def parent(folder: Path, config: DictConfig) -> str | None:
    """The sweep's parent run, made by the first who asks; None where MLflow cannot be used.

    Raises :class:`runner.core.errors.ConfigError` for an address or an experiment that cannot be used.
    """
    from runner import tracking

    with _turn:
        told = read(folder)
        if told.get("parent") is None:
            settings = cast(TrackingConfig, OmegaConf.to_object(config.tracking))
            name, started = told.get("name", "sweep"), told.get("started")
            told["parent"] = tracking.open_sweep(name, folder.name, settings, started=started)
            _write(folder, told)
        return cast("str | None", told["parent"])


def _name(config: DictConfig) -> str:
    try:
        return str(config.get("name") or "sweep")
    except OmegaConfBaseException:  # such as p${hydra:job.num}, which only a point has
        return "sweep"


def fixed(overrides: list[str]) -> dict[str, str]:
    """The overrides that all points share: key to value, as written.

    >>> fixed(["provider=local", "hyperparameter.n_shot=0,1"])
    {'provider': 'local'}
    """
    return {_key(item): _text(item) for item in _parse(overrides) if not item.is_sweep_override()}


def swept(overrides: list[str], folder: Path) -> dict[str, Any]:
    """The keys and values that set one point apart, from its overrides."""
    shared = read(folder).get("fixed", {})
    return {_key(item): item.value() for item in _parse(overrides) if shared.get(_key(item)) != _text(item)}


def _parse(overrides: list[str]) -> list[Override]:
    return list(OverridesParser.create().parse_overrides(overrides))


def _key(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~")


def _text(override: Override) -> str:
    return str(override.get_value_element_as_str())


def read(folder: Path) -> dict[str, Any]:
    """What was noted when the sweep was opened: parent run, overrides, start."""
    file = folder / SWEEP
    return dict(json.loads(file.read_text())) if file.exists() else {}


def points(folder: Path) -> list[Path]:
    """The folders of a sweep's points, in the order of their job numbers."""
    found = [child for child in folder.iterdir() if child.is_dir() and child.name.isdigit()]
    return sorted(found, key=lambda child: int(child.name))


def finish(code: int) -> int:
    """Close the sweep that this process launched, if any; 1 if a point failed, else ``code``."""
    from runner.cli import commands

    if not _opened:
        return code
    return commands.close_sweep(*_opened.pop(), code)


def _write(folder: Path, told: dict[str, Any]) -> None:
    with write_atomically(folder / SWEEP) as file:  # points read it
        file.write_text(json.dumps(told, indent=1, default=str))
