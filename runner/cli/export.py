"""``runner export``: write a run or a sweep as one folder or ``.zip`` for another machine, or for Inspect."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from runner.cli.screen import console
from runner.core.errors import ConfigError
from runner.core.files import write_atomically
from runner.core.paths import OUTPUTS
from runner.records.folder import SWEEP, find_given
from runner.reproduce import inspect_log, past_run
from runner.reproduce.export import export

EXPORTS = OUTPUTS / "exports"


def export_command(config: DictConfig) -> None:
    """Export one run or sweep. Raises :class:`ConfigError` if the target exists."""
    if len(config.export.folders) != 1:
        raise ConfigError("runner export FOLDER: name the folder of one run or one sweep")
    source = find_given(config.export.folders[0], OUTPUTS, "export.folders")
    if past_run.find_export(source).is_export:
        raise ConfigError(f"{source} is already an export; copy it as it is")
    if config.export.data and Path(config.export.to or "").suffix == inspect_log.SUFFIX:
        raise ConfigError(f"export.data: a log for Inspect ({config.export.to}) holds no data files")
    target = Path(config.export.to or EXPORTS / f"{_name_export(source)}.zip")
    if target.exists():
        raise ConfigError(f"export.to={target}: already exists; choose another name")
    try:
        summary = _write(source, target, config)
    except OSError as error:
        raise ConfigError(f"export.to={target}: {error.strerror or error}") from error
    console.print(f"{target}: {summary}")


def _write(source: Path, target: Path, config: DictConfig) -> str:
    """Write the export beside its place, move it there when it is complete, and return its summary."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == inspect_log.SUFFIX:
        with write_atomically(target) as file:
            return inspect_log.write_log(source, file)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as partial:
        staged = Path(partial, "export")
        summary = export(source, staged, config.ledger.url, config.export.named, config.export.data)
        made = Path(shutil.make_archive(str(staged), "zip", staged)) if target.suffix == ".zip" else staged
        made.rename(target)
    return summary


def _name_export(source: Path) -> str:
    """Name an export after the folder of its run or sweep; for a point, sweep and number."""
    place = source.absolute()
    return f"{place.parent.name}-{place.name}" if (place.parent / SWEEP).exists() else place.name
