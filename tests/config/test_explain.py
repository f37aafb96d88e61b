"""Mistakes in an option file are told with its name and the place in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import runner
from runner.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"name: d\nparams: {x: Gr\xf6\xdfe}\n", r"dataset/d\.yaml, line 2 is not UTF-8"),
        (b"name: d\n\tpath: r.csv\n", r"dataset/d\.yaml, line 2: found character '\\t'"),
        (b"name: d\npath: a\npath: b\n", r"dataset/d\.yaml, line 3: found duplicate key path"),
        (b"name: d\nlimt: 3\n", r"dataset\.limt: no such key; did you mean 'limit'"),
        (b"name: d\nlimit: ten\n", r"dataset/d\.yaml: dataset\.limit: Value 'ten'"),
    ],
)
def test_mistakes_in_an_option_file(tmp_path: Path, text: bytes, said: str) -> None:
    """What YAML cannot read, an unknown key and a value of a wrong type."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "d.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=said):
        runner.compose(["dataset=d"], config_dir=tmp_path)
