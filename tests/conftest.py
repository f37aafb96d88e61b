"""Shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from runner.schema import DatasetConfig

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The public files that stand in for downloads, as the data folder; absent, the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip("needs the public data files beside the checkout (../shared/data)")
    monkeypatch.setenv("RUNNER_DATA_DIR", str(SHARED))
    return SHARED


CONF = Path(__file__).parents[1] / "conf"


def dataset_option(name: str, *overrides: str) -> DatasetConfig:
    """An option of the group dataset, with overrides such as ``params.subset=Natural``."""
    layers = (OmegaConf.load(CONF / "dataset" / f"{name}.yaml"), OmegaConf.from_dotlist(list(overrides)))
    option = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DatasetConfig), *layers))
    assert isinstance(option, DatasetConfig)
    return option
