"""Where things lie beside the tests."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from runner.config.dataset_schema import DatasetConfig
from runner.core.paths import CONF

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def dataset_option(name: str, *overrides: str) -> DatasetConfig:
    """An option of the group dataset, with overrides such as ``params.subset=Natural``."""
    layers = (OmegaConf.load(CONF / "dataset" / f"{name}.yaml"), OmegaConf.from_dotlist(list(overrides)))
    option = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DatasetConfig), *layers))
    assert isinstance(option, DatasetConfig)
    return option
