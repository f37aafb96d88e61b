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
        (b"a:\n  b: >= 0.8\n", r"line 2, column 7: a '>' begins .* quotes .* such as '>= 0.8'$"),
        (b"name: d\n\tpath: r.csv\n", r"dataset/d\.yaml, line 2, column 1: a tab"),
        (b"name: d\npath: a\npath: b\n", r"dataset/d\.yaml, line 3, column 1: found duplicate key path"),
        (b"name: d\nlimt: 3\n", r"dataset/d\.yaml, line 2: dataset\.limt: no such key; did you mean 'limit'"),
        (b"name: d\nlimit: ten\n", r"dataset/d\.yaml, line 2: dataset\.limit: 'ten' must be a whole number"),
        (
            b"name: d\ncolumns: [a]\n",
            r"dataset/d\.yaml, line 2: dataset\.columns: a list cannot replace",
        ),
        (
            b"name: {{ a }}\n",
            r"dataset/d\.yaml, line 1, column \d+: .*; put quotes around a text that begins with \{\{",
        ),
        (b"name: {{ a }} and\npath: b\n", r"dataset/d\.yaml, line 1, column \d+: .*; put quotes around"),
    ],
)
def test_mistakes_in_an_option_file(tmp_path: Path, text: bytes, said: str) -> None:
    """What YAML cannot read, an unknown key and a value of a wrong type."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "d.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=said):
        runner.compose(["dataset=d"], config_dir=tmp_path)


@pytest.mark.parametrize("text", ["defaults: [{override /dataset: fib}]\n", "checkpoint: base\n"])
def test_an_experiment_without_its_package(tmp_path: Path, text: str) -> None:
    """The line that Hydra needs is named, whether or not the option chooses others."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "e.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"experiment/e\.yaml, line 1: the first line must be '# @package"):
        runner.compose(["experiment=e"], config_dir=tmp_path)
