"""Paths of the option files, prompts and rows that come with this package, and of the data folder."""

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


def show_file(file: Path) -> str:
    """A path for messages: from the working folder if it is there."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def data_folder() -> Path:
    """The folder of downloads: ``RUNNER_DATA_DIR``, by default ``outputs/data``."""
    return Path(os.environ.get("RUNNER_DATA_DIR") or "outputs/data")
