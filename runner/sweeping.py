"""What belongs to a sweep as a whole: its folder, its parent run, its table at the end."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from runner.errors import RunnerError
from runner.record import SWEEP
from runner.schema import TrackingConfig

IN_THREADS = "hydra_plugins.runner_concurrent_launcher.ConcurrentLauncher"


@dataclass(frozen=True)
class _Opened:
    folder: Path
    config: DictConfig
    opening: threading.Thread | None = None


_opened: list[_Opened] = []


class OpenSweep(Callback):
    """Hydra callback: prepares the sweep in the launching process, before the first point starts."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Create folder, tracking store and parent run; points, wherever they run, only add to them."""
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        overrides = [str(override) for override in config.hydra.overrides.task]
        started = time.time()
        told = {"fixed": fixed(overrides), "overrides": overrides, "started": started}
        _write(folder, told)
        opening = None
        if config.hydra.launcher.get("_target_") == IN_THREADS:
            # importing MLflow takes seconds, in which points that are threads already wait for servers
            opening = threading.Thread(target=_try_to_open, args=(folder, config, told), daemon=True)
            opening.start()
        else:
            _open(folder, config, told)
        _opened.append(_Opened(folder, config, opening))


def _try_to_open(folder: Path, config: DictConfig, told: dict[str, Any]) -> None:
    with suppress(RunnerError):  # points meet it again, and say so when they are logged
        _open(folder, config, told)


def _open(folder: Path, config: DictConfig, told: dict[str, Any]) -> None:
    from runner import tracking

    settings = cast(TrackingConfig, OmegaConf.to_object(config.tracking))
    name = str(config.get("name") or "sweep")
    parent = tracking.open_sweep(name, folder.name, settings, started=told["started"])
    _write(folder, told | {"parent": parent})


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
    from runner import commands

    if not _opened:
        return code
    sweep = _opened.pop()
    if sweep.opening:
        sweep.opening.join()
    return commands.close_sweep(sweep.folder, sweep.config, code)


def _write(folder: Path, told: dict[str, Any]) -> None:
    """Whole or not at all: points read it while it is written."""
    partial = folder / f"{SWEEP}.partial"
    partial.write_text(json.dumps(told, indent=1, default=str))
    partial.replace(folder / SWEEP)
