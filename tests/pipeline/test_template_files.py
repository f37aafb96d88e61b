"""Where the files of templates are looked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runner.config.hydra_job import use_settings
from runner.core.errors import ConfigError
from runner.pipeline.template import compile_template


def test_places(tmp_path, monkeypatch):
    """Beside the config first, then in ./prompts, then among the shipped ones; a miss names the places."""
    monkeypatch.chdir(tmp_path)
    for folder in ("mine/prompts/fib_judge", "prompts/fib_judge", "prompts/own"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "user.jinja").write_text(folder)
    source = SimpleNamespace(schema="file", path=str(tmp_path / "mine"))
    settings = SimpleNamespace(runtime=SimpleNamespace(config_sources=[source]))
    with use_settings(settings):
        assert compile_template("fib_judge/user.jinja", "prompt.user").source == "mine/prompts/fib_judge"
        assert compile_template("own/user.jinja", "prompt.user").source == "prompts/own"
        assert "prompts/" not in compile_template("llmbar/user.jinja", "prompt.user").source
        said = r"'own/usr.jinja' in mine/prompts, prompts, .*; did you mean 'own/user.jinja'\?"
        with pytest.raises(ConfigError, match=said):
            compile_template("own/usr.jinja", "prompt.user")
    assert compile_template("fib_judge/user.jinja", "prompt.user").source == "prompts/fib_judge"
