"""Finding files: paths, the data folder, downloads from a real local server."""

from __future__ import annotations

import gzip
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runner.config.dataset_schema import FileConfig
from runner.core.errors import ConfigError, DataError
from runner.core.paths import ROWS
from runner.data import fetch

CONTENT = b"a,b\n1,2\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/rows.csv"  # the discard port: nothing listens


class Server(ThreadingHTTPServer):
    """Serves CONTENT at /rows.csv (/moved.csv leads there) and half of it at /short.csv."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        name = self.path.split("?")[0]
        if name == "/moved.csv":
            self.send_response(302)
            self.send_header("Location", "/rows.csv")
            self.end_headers()
            return
        if name not in ("/rows.csv", "/short.csv"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if name == "/rows.csv" else CONTENT[:4])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and an empty current folder."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("RUNNER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def locate(file: FileConfig, key: str = "dataset") -> Path:
    """The one file that is meant."""
    ((path, _),) = fetch.locate(file, key)
    return path


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_relative_path_means_current_folder_then_data_folder_then_packaged(data: Path) -> None:
    """The nearest of the three places that has the file wins."""
    assert locate(FileConfig(path="human_evaluator.csv")).parent == ROWS
    in_data = put(data / "human_evaluator.csv")
    assert locate(FileConfig(path="human_evaluator.csv")) == in_data
    put(Path("human_evaluator.csv"))
    assert locate(FileConfig(path="human_evaluator.csv")) == Path("human_evaluator.csv")


def test_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    """No folder is searched for an absolute path."""
    path = put(tmp_path / "elsewhere" / "rows.csv")
    assert locate(FileConfig(path=str(path))) == path


def test_file_with_the_right_hash_is_found_in_a_subfolder_without_network(data: Path) -> None:
    """Of two files with the wanted name, the one with the wanted content is used."""
    put(data / "a" / "rows.csv", b"other")
    right = put(data / "b" / "deep" / "rows.csv")
    assert locate(FileConfig(url=NOWHERE, sha256=DIGEST.upper())) == right


def test_download_is_kept_and_not_asked_for_again(server: Server, data: Path) -> None:
    """The second time the file comes from the data folder, and nothing else is left in it."""
    file = FileConfig(url=server.url("rows.csv?raw=1"), sha256=DIGEST)
    first, second = locate(file), locate(file)
    assert first.read_bytes() == CONTENT
    assert second.samefile(first)
    assert server.asked == ["/rows.csv?raw=1"]
    assert [path.name for path in data.rglob("*") if path.is_file()] == ["rows.csv"]


def test_download_without_hash_is_kept_per_url(server: Server) -> None:
    """Without a hash the URL itself tells files apart."""
    first = locate(FileConfig(url=server.url("rows.csv?one")))
    second = locate(FileConfig(url=server.url("rows.csv?two")))
    assert first != second
    assert locate(FileConfig(url=server.url("rows.csv?one"))) == first
    assert server.asked == ["/rows.csv?one", "/rows.csv?two"]


def test_redirects_are_followed(server: Server) -> None:
    """The content of the last address is the file; it keeps the name of the first one."""
    found = locate(FileConfig(url=server.url("moved.csv"), sha256=DIGEST))
    assert (found.name, found.read_bytes()) == ("moved.csv", CONTENT)
    assert server.asked == ["/moved.csv", "/rows.csv"]


def test_a_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``HTTP_PROXY`` set, the proxy is asked for the whole address."""
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(DataError, match="404"):
        locate(FileConfig(url="http://data.invalid/rows.csv"))
    assert server.asked == ["http://data.invalid/rows.csv"]


def test_file_url_is_a_download_too(tmp_path: Path, data: Path) -> None:
    """A file:// URL is copied into the data folder."""
    source = put(tmp_path / "source" / "rows.csv")
    found = locate(FileConfig(url=source.as_uri(), sha256=DIGEST))
    assert found.is_relative_to(data)
    assert found.read_bytes() == CONTENT


def test_download_with_wrong_hash_shows_both_and_leaves_nothing(server: Server, data: Path) -> None:
    """What was wanted and what came are both in the message."""
    with pytest.raises(DataError) as caught:
        locate(FileConfig(url=server.url("rows.csv"), sha256="0" * 64), "dataset.files[2]")
    assert DIGEST in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert "dataset.files[2].sha256" in str(caught.value)
    assert not [path for path in data.rglob("*") if path.is_file()]


def test_local_file_with_wrong_hash_is_refused(tmp_path: Path) -> None:
    """A path is no way around the hash."""
    path = put(tmp_path / "rows.csv", b"changed")
    with pytest.raises(DataError, match=f"the config asks for {DIGEST}"):
        locate(FileConfig(path=str(path), sha256=DIGEST))


def test_cut_download_is_an_error(server: Server) -> None:
    """Fewer bytes than announced are not taken for the file, even without a hash."""
    with pytest.raises(DataError, match="received 4 bytes, expected 8"):
        locate(FileConfig(url=server.url("short.csv")))


@pytest.mark.parametrize("path", ["missing.csv", "rows.csv"])
def test_failed_download_says_where_to_put_the_file(server: Server, data: Path, path: str) -> None:
    """An HTTP error and a refused connection both name the URL and the data folder."""
    url = server.url(path) if path == "missing.csv" else NOWHERE
    with pytest.raises(DataError) as caught:
        locate(FileConfig(url=url, sha256=DIGEST))
    assert url in str(caught.value)
    assert str(data) in str(caught.value)


def test_missing_file_names_the_nearest_one(data: Path) -> None:
    """A typo in a path is answered with the file that was probably meant."""
    put(data / "reviews.csv")
    with pytest.raises(DataError, match=r"dataset\.path='review\.csv'.*did you mean 'reviews\.csv'"):
        locate(FileConfig(path="review.csv"))


def test_a_missing_folder_is_said_alone(data: Path) -> None:
    """So forty points with one wrong folder have one message."""
    put(data / "runs" / "a" / "r.csv")
    said = set()
    for name in ("a/r.csv", "b/r.csv", "*/r.csv"):
        with pytest.raises(DataError) as caught:
            fetch.locate(FileConfig(path=f"rums/{name}"))
        said.add(str(caught.value))
    (message,) = said
    assert message.startswith("dataset.path: there is no folder 'rums' in ")
    assert "did you mean 'runs'?" in message
    with pytest.raises(DataError, match=r"dataset\.path='runs/a': is a folder; runs/a/\* means the files"):
        fetch.locate(FileConfig(path="runs/a"))


def test_neither_path_nor_url_is_a_config_error() -> None:
    """The message names both keys."""
    with pytest.raises(ConfigError, match=r"dataset\.path and dataset\.url are both empty"):
        locate(FileConfig())


def test_a_pattern_is_each_file_that_fits_in_order(data: Path) -> None:
    """Each has its name from the first folder on that the pattern leaves open, on any machine the same."""
    for name in ("runs/b/r.csv", "runs/a/r.csv", "runs/.c/r.csv", "runs/a/s.csv"):
        put(data / name)
    found = fetch.locate(FileConfig(path="runs/*/r.csv"))
    assert [name for _, name in found] == ["a/r.csv", "b/r.csv"]
    assert fetch.locate(FileConfig(path=str(data / "runs/*/r.csv"))) == found
    put(Path("runs/x[1]*.csv"))
    assert locate(FileConfig(path="runs/x[1]*.csv")) == Path("runs/x[1]*.csv")
    with pytest.raises(DataError, match=r"dataset\.path='runs/\*/q\.csv': no file fits the pattern"):
        fetch.locate(FileConfig(path="runs/*/q.csv"))
    with pytest.raises(ConfigError, match=r"\.\. must come before the first \*"):
        fetch.locate(FileConfig(path="runs/*/../r.csv"))


def test_the_hash_of_a_pattern_is_of_names_and_contents(data: Path) -> None:
    """It is that of what ``sha256sum`` writes of the files; one that is added later changes it."""
    put(data / "a.csv")
    put(data / "b.csv", b"other")
    lines = f"{DIGEST}  a.csv\n{hashlib.sha256(b'other').hexdigest()}  b.csv\n"
    file = FileConfig(path="*.csv", sha256=hashlib.sha256(lines.encode()).hexdigest())
    assert len(fetch.locate(file)) == 2
    put(data / "c.csv")
    with pytest.raises(DataError, match=r"dataset\.sha256: 3 files that fit \*\.csv have sha256"):
        fetch.locate(file)


def test_members_of_archives_are_parts(server: Server, data: Path) -> None:
    """By name, by pattern, of several archives, and with the hash of the archive."""
    for name in ("a.zip", "b.zip"):
        (data / name).parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(data / name, "w") as packed:
            packed.writestr("x/1.csv", CONTENT)
            packed.writestr("x/2.csv.gz", gzip.compress(CONTENT))
    digest = fetch.hash_file(data / "a.zip")
    (one,) = fetch.locate_parts(FileConfig(path="a.zip!x/2.csv.gz", sha256=digest))
    assert (one.name, one.file, one.read()) == (f"{data}/a.zip!x/2.csv.gz", None, CONTENT)
    assert fetch.locate_parts(FileConfig(url=f"{NOWHERE}/a.zip!x/1.csv", sha256=digest))[0].read() == CONTENT
    many = fetch.locate_parts(FileConfig(path="*.zip!x/*"))
    assert [part.file for part in many] == ["a.zip!1.csv", "a.zip!2.csv.gz", "b.zip!1.csv", "b.zip!2.csv.gz"]
    with pytest.raises(DataError, match=r"a\.zip: there is no 'x/3\.csv' in it; did you mean 'x/1\.csv'"):
        fetch.locate_parts(FileConfig(path="a.zip!x/3.csv"))
    with pytest.raises(DataError, match=r"is an archive; name a file in it, a\.zip!NAME: x/1\.csv, x/2"):
        fetch.locate_parts(FileConfig(path="a.zip"))
