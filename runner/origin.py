"""Where the code of a run came from."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache
def git_sha() -> str:
    """Commit of the current folder's checkout, with ``-dirty`` for uncommitted changes, or ``""``."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path.cwd(),
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
