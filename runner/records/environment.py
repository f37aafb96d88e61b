"""The commit and the package versions that a run used."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from runner.core.once import once

PACKAGE = "llm-experiment-runner"


@once
def find_git_sha() -> str:
    """The commit of the current folder, with ``-dirty`` for uncommitted changes; ``""`` without checkout."""
    return _describe_checkout(Path.cwd())


@once
def find_code() -> str:
    """The commit of this package's own checkout, or else its version."""
    home = Path(__file__).parents[2]
    commit = _describe_checkout(home) if (home / ".git").exists() else ""
    return commit or find_versions().get(PACKAGE, "")


def _describe_checkout(folder: Path) -> str:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


@once
def find_versions() -> dict[str, str]:
    """Versions of Python, of this package and of the packages that it requires, without extras."""
    found = {"python": platform.python_version()}
    try:
        wanted = [name for name in requires(PACKAGE) or [] if "extra ==" not in name]
    except PackageNotFoundError:  # a checkout that is not installed
        return found
    for name in [PACKAGE, *(re.split(r"[^\w.-]", requirement)[0] for requirement in wanted)]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
