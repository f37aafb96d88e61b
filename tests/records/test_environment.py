"""What a run notes of the software that made it."""

from __future__ import annotations

import subprocess

from places import ROOT

from runner.records.environment import PACKAGE, find_code, find_versions


def test_the_code_is_this_packages(tmp_path, monkeypatch):
    """It is the commit of the package's own checkout, wherever one stands; without one the version."""
    monkeypatch.chdir(tmp_path)
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    head = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    assert find_code().removesuffix("-dirty") == (head or find_versions()[PACKAGE])
