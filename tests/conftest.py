"""Shared by all tests."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from absl.logging import get_absl_handler
from asking import KEY
from commandline import CommandLine
from filelock import FileLock
from places import SHARED

from runner.config.schema import TrackingConfig
from runner.tracking import store

# ROUGE brings absl, whose handler closes, when Hydra sets up logging, what was sys.stderr at its import:
# the file that pytest captures into
get_absl_handler().python_handler.stream = sys.__stderr__


LONGEST = (
    "test_docs.py",
    "test_unused.py",
    "test_lifecycle.py",
    "test_published_figures.py",
    "test_trainer.py",
    "test_runs.py",
    "test_batch.py",
    "test_options.py",
    "test_python_api.py",
)
"""Files of 20 s of CPU and more. A file stays in one process, which should not begin it when others end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def shared_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The public files that stand in for downloads, as the data folder; absent, the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip("needs the public data files beside the checkout (../shared/data)")
    monkeypatch.setenv("RUNNER_DATA_DIR", str(SHARED))
    return SHARED


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """All providers have one key, and nothing else that their SDKs would read from the environment."""
    for service in ("OPENAI", "MISTRAL", "AZURE_OPENAI", "ANTHROPIC", "TOGETHER"):
        monkeypatch.setenv(f"{service}_API_KEY", KEY)
    for variable in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)


_experiments = count()


@pytest.fixture(scope="session")
def copy_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A function that puts an MLflow store without a run at a path; making one takes seconds.

    So one is made for all test processes.
    """
    base = tmp_path_factory.getbasetemp()
    empty = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "empty.db"
    with FileLock(f"{empty}.lock"):
        if not empty.exists():
            store.import_mlflow()
            store.create_file(f"sqlite:///{empty}")
    return lambda file: Path(shutil.copy(empty, file))


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory, copy_store: Callable[[Path], Path]) -> Path:
    """One MLflow store for all tests of a process."""
    return copy_store(tmp_path_factory.mktemp("mlflow") / "mlflow.db")


@pytest.fixture
def mlflow_config(mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackingConfig:
    """Tracking into an experiment of the test's own, with artifacts in its own folder."""
    monkeypatch.chdir(tmp_path)
    name = f"test {next(_experiments)}"
    return TrackingConfig(uri=f"sqlite:///{mlflow_database}", experiment_name=name, traces="none")


@pytest.fixture
def runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    """The command line, in a folder of its own."""
    return CommandLine(tmp_path, capsys, monkeypatch)
