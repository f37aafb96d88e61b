"""What belongs to a sweep as a whole: its folder, its parent run, its table at the end."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

log = logging.getLogger(__name__)

SWEEP = "sweep.json"
_current: list[tuple[Path, DictConfig]] = []


class OpenSweep(Callback):  # type: ignore[misc]
    """Prepares the sweep's folder before the first point starts, in the launching process."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Write ``sweep.json``; create store, experiment and parent run so that points only add to them."""
        from runner import commands

        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        _current.append((folder, config))
        commands.open_sweep(folder, config)


def finish(code: int) -> int:
    """Close the sweep that this process launched, if any, and give the exit code."""
    from runner import commands

    if not _current:
        return code
    folder, config = _current.pop()
    return commands.close_sweep(folder, config, code)


def parent(folder: Path) -> dict[str, Any]:
    """What ``sweep.json`` in a sweep's folder says: id, parent run."""
    file = folder / SWEEP
    return dict(json.loads(file.read_text())) if file.exists() else {}
