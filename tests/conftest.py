"""Shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The public files that stand in for downloads, as the data folder; absent, the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip("needs the public data files beside the checkout (../shared/data)")
    monkeypatch.setenv("RUNNER_DATA_DIR", str(SHARED))
    return SHARED
