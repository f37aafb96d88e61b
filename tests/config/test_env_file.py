"""The file ``.env`` sets what is not set, and a bad line is named without its text."""

from __future__ import annotations

import os

import pytest

from runner.config.secrets import load_env_file
from runner.core.errors import ConfigError


def test_never_over_what_is_set(tmp_path, monkeypatch):
    """A variable that is set stays, an empty one too; others are set, whatever an editor put before them."""
    monkeypatch.setattr(os, "environ", {"GIVEN": "shell", "EMPTY": ""})
    file = tmp_path / ".env"
    file.write_text("\ufeff# keys\nexport ONE='1 # 2'\n\nGIVEN=file\nEMPTY=file\nTWO=${ONE}\n", "utf-8")
    load_env_file(file)
    assert os.environ == {"GIVEN": "shell", "EMPTY": "", "ONE": "1 # 2", "TWO": "1 # 2"}


@pytest.mark.parametrize(
    "line", ["hunter2", "'hunter2", "KEY: hunter2", "NAME='hunter2"], ids=["word", "quote", "colon", "open"]
)
def test_bad_line(tmp_path, line):
    """A line that is not NAME=value is an error that names the line and does not repeat it."""
    (tmp_path / ".env").write_text(f"A=1\n{line}\n")
    with pytest.raises(ConfigError, match=r"\.env, line 2: it is not NAME=value") as caught:
        load_env_file(tmp_path / ".env")
    assert "hunter2" not in str(caught.value)
    (tmp_path / ".env").write_bytes(b"A=1\nB=\xfc\n")
    with pytest.raises(ConfigError, match=r"\.env, line 2 is not UTF-8"):
        load_env_file(tmp_path / ".env")


def test_no_file(tmp_path):
    """Nothing happens without the file, or where a folder has its name."""
    load_env_file(tmp_path / ".env")
    (tmp_path / ".env").mkdir()
    load_env_file(tmp_path / ".env")
