"""Where things are: options, prompts and rows of this package, the folder of results, the data folder."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_SHIPPED = _PACKAGE / "shipped"
"""The wheel has the three folders here; a checkout has them beside the package."""
_HOME = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent

CONF = _HOME / "conf"
PROMPTS = (Path("prompts"), _HOME / "prompts")
"""Folders that are searched for a prompt file, after the current one."""
ROWS = _HOME / "data"
"""The data files that come with this package."""
OUTPUTS = Path("outputs")
"""Where runs, sweeps, reports and exports are, in the working folder."""


def list_options(group: str) -> list[str]:
    """The shipped options of a group; empty if it is none."""
    folder = CONF / group
    return [file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")]


def show_file(file: Path) -> str:
    """A path for messages: from the working folder if it is there."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def data_folder() -> Path:
    """The folder of downloads: ``RUNNER_DATA_DIR``, by default ``outputs/data``."""
    return Path(os.environ.get("RUNNER_DATA_DIR") or OUTPUTS / "data")
