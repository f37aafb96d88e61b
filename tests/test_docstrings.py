"""What the docstrings show is what happens."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest
from places import ROOT

FILES = [file for file in sorted((ROOT / "runner").rglob("*.py")) if ">>> " in file.read_text()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT / "runner").as_posix())
def test_examples_hold(file):
    """Every example of a module runs and gives what stands below it."""
    module = import_module(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 0) == (0, True)
