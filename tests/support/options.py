"""A config folder of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_options(folder: Path, files: Mapping[str, str]) -> None:
    """Write option files, by their paths in ``mine``, into a folder."""
    for name, text in files.items():
        file = folder / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
