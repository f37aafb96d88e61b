"""Archives and compressed files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from backports import zstd
from backports.zstd import zipfile as zstd_zipfile
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.data.files import archive

QUICK = settings(max_examples=40, deadline=None, database=None, derandomize=True)
NAMES = st.lists(st.text("ab.", min_size=1, max_size=3).filter(lambda part: part.strip(".")), min_size=1)
FILES = {"runs/a/r.json": b"[1]", "runs/b/r.json": b"[2]", "runs/.c/r.json": b"[3]", "runs/r.txt": b"4"}


def write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_members_are_found_by_name_and_by_pattern(tmp_path: Path, name: str) -> None:
    """In the order of their names; a hidden folder fits no star."""
    path = write(tmp_path / name, FILES)
    assert archive.read_members(path, "runs/.c/r.json") == [("runs/.c/r.json", b"[3]")]
    many = archive.read_members(path, "runs/*/r.json")
    assert many == [("runs/a/r.json", b"[1]"), ("runs/b/r.json", b"[2]")]
    assert [name for name, _ in archive.read_members(path, "**/r.*")] == [
        "runs/a/r.json",
        "runs/b/r.json",
        "runs/r.txt",
    ]
    with pytest.raises(ValueError, match=r"no 'runs/a/s\.json' in it; did you mean 'runs/a/r\.json'"):
        archive.read_members(path, "runs/a/s.json")


@QUICK
@given(st.dictionaries(NAMES.map("/".join), st.binary(max_size=9), min_size=1, max_size=4))
def test_whatever_is_put_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Of each name its own content."""
    path = write(tmp_path_factory.mktemp("packed") / "x.zip", files)
    for name, content in files.items():
        assert archive.read_members(path, name) == [(name, content)]


@QUICK
@given(NAMES)
def test_a_name_fits_itself_and_the_stars_in_its_place(parts: list[str]) -> None:
    """A star is one name between slashes, two are any number; neither is a hidden one."""
    name, hidden = "/".join(parts), any(part.startswith(".") for part in parts)
    assert archive.find_matches(name, [name]) == [name]
    for pattern in ("**", "/".join("*" * len(parts))):
        assert archive.find_matches(pattern, [name]) == ([] if hidden else [name])
    assert archive.find_matches("/".join("*" * (len(parts) + 1)), [name]) == []


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("gz", gzip.compress), ("zst", zstd.compress), ("bz2", bz2.compress), ("xz", lzma.compress)],
)
def test_a_compressed_file_is_unpacked_by_its_name(suffix: str, pack: type[bytes]) -> None:
    """What is cut short, or is not compressed at all, is no file."""
    packed = pack(b"some rows" * 99)
    assert archive.unpack(f"a.csv.{suffix}", packed) == b"some rows" * 99
    assert archive.unpack("a.csv", packed) == packed
    assert archive.unpack(f"a.csv.{suffix}", packed + pack(b", more")) == b"some rows" * 99 + b", more"
    for wrong in (packed[:-9], b"some rows", packed + b"odd" + packed[3:], packed + packed[:-9]):
        with pytest.raises(ValueError, match="not compressed as its name says"):
            archive.unpack(f"a.csv.{suffix}", wrong)


def test_members_compressed_by_zstandard_are_read(tmp_path: Path) -> None:
    """As in the logs of Inspect, which Python before 3.14 cannot read."""
    with zstd_zipfile.ZipFile(tmp_path / "x.eval", "w", zstd_zipfile.ZIP_ZSTANDARD) as packed:
        for name, content in FILES.items():
            packed.writestr(name, content)
    assert archive.read_members(tmp_path / "x.eval", "runs/b/r.json") == [("runs/b/r.json", b"[2]")]
    content = (tmp_path / "x.eval").read_bytes()
    (tmp_path / "x.eval").write_bytes(content.replace(b"[2]", b"[3]"))
    with pytest.raises(ValueError, match=r"cannot be unpacked .*Bad CRC"):
        archive.read_members(tmp_path / "x.eval", "runs/b/r.json")


def test_links_in_a_tar_file_are_files(tmp_path: Path) -> None:
    """``tar`` writes the second name of a file as a link, and a file in a folder is found by a link, too."""
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "a.json").write_bytes(b"[1]")
    (tmp_path / "r" / "b.json").hardlink_to(tmp_path / "r" / "a.json")
    for name, target in {
        "c.json": "a.json",
        "d.json": "../r/c.json",
        "e.json": "f.json",
        "g.json": ".",
    }.items():
        (tmp_path / "r" / name).symlink_to(target)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "r", "r")
    found = archive.read_members(tmp_path / "x.tar", "r/*.json")
    assert found == [(f"r/{letter}.json", b"[1]") for letter in "abcd"]


def test_a_tar_file_that_ends_with_a_zip_file_is_a_tar_file(tmp_path: Path) -> None:
    """Else ``a.json`` would be that of the inner archive."""
    inner = write(tmp_path / "y.zip", {"a.json": b"[2]"}).read_bytes()
    path = write(tmp_path / "x.tar", {"a.json": b"[1]", "y.zip": inner})
    assert archive.read_members(path, "a.json") == [("a.json", b"[1]")]


def test_what_is_no_archive_or_has_a_name_twice_is_refused(tmp_path: Path) -> None:
    """Which of the two is meant, nobody knows."""
    (tmp_path / "no.zip").write_bytes(b"PK no")
    with pytest.raises(ValueError, match=r"neither a \.zip nor a \.tar"):
        archive.read_members(tmp_path / "no.zip", "a")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed.writestr("a", b"1")
        packed.writestr("a", b"2")
    with pytest.raises(ValueError, match="'a' is in it 2 times"):
        archive.read_members(tmp_path / "x.zip", "*")
