"""Downloads from the hub and from object stores."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from servers import Call, Reply, serving

from runner.config.dataset_schema import FileConfig
from runner.core.errors import ConfigError, DataError
from runner.data import fetch

CONTENT = b"a,b\n1,2\n"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("RUNNER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that installs it."""
    for url, library, extra in [
        ("hf://datasets/o/n/r.csv", "huggingface_hub", "hub"),
        ("s3://b/r.csv", "s3fs", "s3"),
        ("gs://b/r.csv", "gcsfs", "gcs"),
        ("az://b/r.csv", "adlfs", "az"),
    ]:
        monkeypatch.setitem(sys.modules, library, None)
        said = rf"dataset\.url: \w+:// needs {library}: pip install 'llm-experiment-runner\[{extra}\]'"
        with pytest.raises(ConfigError, match=said):
            fetch.locate(FileConfig(url=url))


def test_a_store_is_asked_once_and_the_hash_decides(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there with the right content is not fetched again; what is not there is said by the store."""
    fsspec = pytest.importorskip("fsspec")
    memory = pytest.importorskip("fsspec.implementations.memory")

    class Store(memory.MemoryFileSystem):  # type: ignore[misc, name-defined]
        protocol = "s3"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.removeprefix("s3://").strip("/")

    monkeypatch.setitem(sys.modules, "s3fs", memory)
    fsspec.register_implementation("s3", Store, clobber=True)
    Store().pipe_file("/b/runs/r.csv", CONTENT)
    file = FileConfig(url="s3://b/runs/r.csv", sha256=hashlib.sha256(CONTENT).hexdigest())
    ((path, _),) = fetch.locate(file)
    Store().rm("/b/runs/r.csv")
    assert path.read_bytes() == CONTENT
    assert fetch.locate(file)[0][0].samefile(path)
    assert [found.name for found in data.rglob("*") if found.is_file()] == ["r.csv"]
    with pytest.raises(DataError, match=r"dataset\.url='s3://b/runs/q\.csv' cannot be downloaded"):
        fetch.locate(FileConfig(url="s3://b/runs/q.csv"))
    with pytest.raises(ConfigError, match=r"dataset\.token_env=HF_TOKEN is for hf:// only"):
        fetch.locate(FileConfig(url="s3://b/runs/q.csv", token_env="HF_TOKEN"))
    with pytest.raises(ConfigError, match="a pattern is for local files"):
        fetch.locate(FileConfig(url="s3://b/runs/*.csv"))


def test_the_hub_is_asked_for_a_revision_with_a_token_by_name(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is in no message and no file."""
    pytest.importorskip("huggingface_hub")
    digest = hashlib.sha256(CONTENT).hexdigest()

    def answer(call: Call) -> Reply:
        if not call.path.startswith("/datasets/o/n/resolve/v1/sub/r.csv"):
            return Reply({"error": "Entry not found"}, status=404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": "c" * 40, "Content-Type": "text/csv"}
        return Reply(CONTENT, headers=headers)

    monkeypatch.setenv("MY_TOKEN", "hf_secret")
    with serving(answer) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        file = FileConfig(url="hf://datasets/o/n@v1/sub/r.csv", token_env="MY_TOKEN")
        ((path, _),) = fetch.locate(file)
        assert path.read_bytes() == CONTENT
        asked = [call for call in server.calls if "/resolve/" in call.path]
        assert asked
        assert {call.headers.get("authorization") for call in asked} == {"Bearer hf_secret"}
        with pytest.raises(DataError, match="cannot be downloaded") as caught:
            fetch.locate(FileConfig(url="hf://datasets/o/n@v1/sub/q.csv", token_env="MY_TOKEN"))
    assert "hf_secret" not in str(caught.value)
    assert [found.name for found in data.rglob("*") if found.is_file()] == ["r.csv"]
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(ConfigError, match=r"dataset\.token_env=MY_TOKEN: this variable is not set"):
        fetch.locate(FileConfig(url="hf://datasets/o/n@v1/q.csv", token_env="MY_TOKEN"))
    with pytest.raises(ConfigError, match="expected hf://datasets/owner/name@revision/path"):
        fetch.locate(FileConfig(url="hf://n"))
