"""Defaults stand in the class, and each option file shows them all."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from omegaconf import OmegaConf

from runner.core.paths import CONF

FILES = [file for file in sorted((CONF / "provider").glob("*.yaml")) if "defaults:" not in file.read_text()]
"""All but the presets of services, which have ``openai_compatible`` among their defaults."""


def shown(file: Path) -> tuple[type, dict[str, Any]]:
    """The class and the settings in an option file."""
    node = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    assert isinstance(node, dict)
    settings = {str(key): value for key, value in node.items() if not str(key).startswith("_")}
    return resolve_name(node["_target_"]), settings


def defaults(kind: type) -> dict[str, Any]:
    """A class's settings: null where it has no default."""
    found = {}
    for field in fields(kind):
        made = field.default if field.default_factory is MISSING else field.default_factory()
        found[field.name] = None if made is MISSING else made
    if "deployment" in found:
        terms = resolve_name(f"{kind.__module__.rpartition('.')[0]}.hosting:Deployment")
        found["deployment"] = asdict(terms())
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_option_files_show_the_defaults(file: Path) -> None:
    """No key is missing, none is too many, and no value differs."""
    kind, settings = shown(file)
    assert is_dataclass(kind), f"{kind.__name__}: a shipped provider is a dataclass (kw_only=True, eq=False)"
    assert settings == defaults(kind)
