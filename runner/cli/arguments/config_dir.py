"""The folders of option files that the command line names."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from runner.core.errors import ConfigError
from runner.core.paths import CONF

CONFIG_DIR, CONFIG_PATH = ("--config-dir", "-cd"), ("--config-path", "-cp")


def list_values(arguments: list[str], option: Iterable[str]) -> list[str]:
    """The values of one of Hydra's options, given as the next word or after ``=``.

    >>> list_values(["-cd", "mine", "--config-dir=other", "seed=1"], CONFIG_DIR)
    ['mine', 'other']
    """
    names = tuple(option)
    apart = [value for name, value in pairwise(arguments) if name in names]
    joined = [word.partition("=")[2] for word in arguments if word.partition("=")[0] in names and "=" in word]
    return [*apart, *joined]


def check_folders(arguments: list[str]) -> None:
    """Raise :class:`ConfigError` for a ``--config-dir`` that is not there or holds no option files."""
    for name in list_values(arguments, CONFIG_PATH):
        if not Path(name).is_absolute() and "://" not in name:
            hint = f"replaces the shipped options and must be absolute; --config-dir {name} adds options"
            raise ConfigError(f"--config-path {name}: {hint}")
    folders = list_values(arguments, CONFIG_DIR)
    if len(folders) > 1:
        second = Path(folders[1]).absolute()
        raise ConfigError(
            f"--config-dir is given twice ({', '.join(folders)}), and only one would be read; add the second"
            f" by 'hydra.searchpath=[file://{second}]'"
        )
    for name in folders:
        folder = Path(name)
        if not folder.is_dir():
            raise ConfigError(
                f"--config-dir {name}: {'is no folder' if folder.exists() else 'no such folder'}"
            )
        if not _holds_options(folder):
            inside = [child for child in sorted(folder.glob("*/")) if _holds_groups(child)]
            hint = f"; did you mean --config-dir {inside[0]}?" if inside else ", such as dataset/mine.yaml"
            raise ConfigError(f"--config-dir {name}: holds no folder with option files{hint}")


def _holds_options(folder: Path) -> bool:
    return _holds_groups(folder) or any(folder.glob("*.yaml")) or any(folder.glob("*/*.yaml"))


def _holds_groups(folder: Path) -> bool:
    groups = {child.name for child in CONF.iterdir() if child.is_dir()} | {"prompts"}
    return any((folder / name).is_dir() for name in groups)
