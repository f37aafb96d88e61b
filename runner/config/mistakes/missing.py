"""Say what keeps an option from being found."""

from __future__ import annotations

from pathlib import Path

from runner.core.paths import CONF, show_file

PACKAGES = {
    "hydra/launcher/joblib": "hydra-joblib-launcher",
    "hydra/launcher/submitit_local": "hydra-submitit-launcher",
    "hydra/launcher/submitit_slurm": "hydra-submitit-launcher",
    "hydra/launcher/ray": "hydra-ray-launcher",
    "hydra/launcher/ray_aws": "hydra-ray-launcher",
    "hydra/sweeper/optuna": "hydra-optuna-sweeper",
}
"""The package on PyPI that an option of Hydra's own comes with."""


def name_package(option: str) -> str:
    """What to install for an option of Hydra's, such as ``hydra/sweeper/optuna``; empty for any other."""
    package = PACKAGES.get(option)
    return f"its package is not installed: pip install {package}" if package else ""


def describe_missing(option: str, folders: list[Path]) -> str:
    """Why ``group/option`` is not found although something like it is there; empty if there is nothing.

    ``folders`` are one's own folders of options.
    """
    group, _, name = option.rpartition("/")
    if package := name_package(option):
        return f"{group}={name}: {package}"
    for folder in folders:
        for file in _list_similar(folder, group, name):
            where = f"{folder.name}/{group}/{name}.yaml"
            return f"{group}={name}: {show_file(file)} is not read; its name must be {where}"
        for below in sorted(folder.glob("*/")):
            if (below / group / f"{name}.yaml").is_file():
                inner = show_file(below)
                return f"{group}={name}: it is in {inner}/{group}; give --config-dir {inner}"
    return ""


def _list_similar(folder: Path, group: str, name: str) -> list[Path]:
    """Files of an option whose name or folder is almost right: another ending, case, or number."""
    top, _, rest = group.partition("/")
    folders = [folder / f"{spelt}/{rest}" for spelt in (top, f"{top}s", top.removesuffix("s"), top.title())]
    here = [file for place in folders if place.is_dir() for file in sorted(place.iterdir())]
    here += [folder / f"{name}.yaml"] if top and not (CONF / f"{name}.yaml").is_file() else []
    return [
        file
        for file in here
        if file.is_file()
        and file.stem.lower() == name.lower()
        and file.suffix.lower() in (".yaml", ".yml", ".json", ".toml", "")
    ]
