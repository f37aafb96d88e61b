"""No secret gets past the config: it is refused by its look or its name, and no message repeats it."""

from __future__ import annotations

import json

import pytest
import yaml
from omegaconf import OmegaConf

import runner
from runner.config.secrets import refuse_config_secrets, refuse_secrets, refuse_typed_secrets
from runner.core.errors import ConfigError
from runner.core.redact import hide_keys, holds_secret, is_secret

HEX = "0123456789abcdef" * 2
KEYS = [
    "sk-proj-1234567890abcdef",
    "sk-abcdefghijklmnopqrstuvwx",
    "sk-ant-api03-AbCd1234efgh5678ijkl",
    "sk-ant-api03-AbCdEfGhIjKlMnOp",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    f"sk-or-v1-{HEX}",
    f"gsk_{HEX}",
    f"hf_{HEX}",
    f"AIzaSyA1{HEX}",
    f"ghp_{HEX}",
    f"github_pat_11{HEX}",
    f"xai-{HEX}",
    f"nvapi-{HEX}",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln",
    f"Bearer {HEX}",
    "Basic dXNlcjpwYXNzd29yZDE=",
    "https://me:hunter2@host/v1",
    "postgresql://me:hun/ter@host/db",
    "https://host/v1?api_key=abc",
    "https://host/f?sv=1&sig=abc%3D",
    "${oc.env:OPENAI_API_KEY}",
]
HARMLESS = [
    "sk-learn-experiments-2024-baseline",
    "task-12345678901234567890",
    "ft:gpt-4o-mini-2024-07-18:org::AbCd1234",
    "hf_internal_testing_tiny_random_2",
    "http://localhost:8000/v1",
    "postgresql://me@host/db",
    "Be basic, and the bearer of good news.",
    HEX * 2,
    "${oc.env:HOME}",
    '{"a": "http://x", "b": "c@d"}',
]


@pytest.mark.parametrize("text", KEYS)
def test_keys_are_known_by_their_look(text):
    """Alone and within a text."""
    assert holds_secret(text)
    assert holds_secret(f"use {text} here")


@pytest.mark.parametrize("text", HARMLESS)
def test_names_and_addresses_are_no_keys(text):
    """Models, columns, digests and prose pass."""
    assert not holds_secret(text)


@pytest.mark.parametrize(
    "name", ["api_key", "X-Api-Key", "apiKey", "azure_subscription_key", "client_secret", "Authorization"]
)
def test_a_name_tells_a_secret(name):
    """Whatever the value looks like; but a placeholder or a variable's name is none."""
    assert is_secret(name, "f3b1")
    assert not any(is_secret(name, value) for value in ("EMPTY", "", "MY_API_KEY", True, None))


@pytest.mark.parametrize("name", ["max_tokens", "stop_token", "prompt_cache_key", "key", "api_key_env"])
def test_other_names_do_not(name):
    """Words that a secret's name also has."""
    assert not is_secret(name, "abc")


@pytest.mark.parametrize("group", ["provider", "dataset", "prompt", "metric", "hydra", "finetune"])
@pytest.mark.parametrize("wrap", ["{}", "[1, {}]", "{{a: {{b: [{}]}}}}", "{{{}: 1}}"])
def test_no_depth_hides_a_key(group, wrap):
    """In lists, mappings and their keys, of any group; the message names the place only."""
    for key in KEYS:
        node = yaml.safe_load(wrap.format(json.dumps(key)))
        with pytest.raises(ConfigError, match=group) as caught:
            refuse_config_secrets(OmegaConf.create({group: {"x": node}}))
        assert key not in str(caught.value)


@pytest.mark.parametrize("form", ["a={}", "+a.b=[{}]", "{}", "{}=1", "a=1,{}", "a=[{}", "~a={}", "--x={}"])
def test_no_argument_repeats_a_key(form):
    """Also one that Hydra cannot parse."""
    for key in KEYS:
        with pytest.raises(ConfigError) as caught:
            refuse_typed_secrets([form.format(key)])
        assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ledger.url", "me:hunter2@host"),
        ("tracking.uri", "host=db password=hunter2"),
        ("hydra.job.env_set.HF_TOKEN", "hunter2"),
        ("provider.options.headers.Ocp-Apim-Subscription-Key", "hunter2"),
        ("finetune.integrations", [{"type": "wandb", "api_key": "hunter2"}]),
        ("provider", {"password": 12345678}),
    ],
)
def test_places_of_passwords(key, value):
    """They are refused even where the value looks like nothing."""
    with pytest.raises(ConfigError, match=key.partition("[")[0]) as caught:
        refuse_secrets(value, key)
    assert "hunter2" not in str(caught.value)


def test_what_the_environment_keeps_secret(monkeypatch):
    """A value of a variable for secrets is known whatever it looks like."""
    monkeypatch.setenv("MY_SERVICE_TOKEN", "correct horse battery")
    with pytest.raises(ConfigError, match=r"provider\.model"):
        refuse_secrets("correct horse battery staple", "provider.model")


def test_columns_and_figures_have_any_name():
    """A data set may have a column ``password``."""
    refuse_secrets({"columns": {"password": "pass"}}, "dataset")
    refuse_secrets({"json_schema": {"properties": {"secret": "string"}}}, "prompt")


def test_an_option_file_is_checked_before_anything_is_saved(tmp_path):
    """Its key is named, whichever file and group it comes from."""
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra: {job: {env_set: {OPENAI_API_KEY: hunter2}}}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"hydra\.job\.env_set\.OPENAI_API_KEY"):
        runner.compose(["experiment=mine"], tmp_path)


def test_messages_hide_keys():
    """The last defence: what is printed about any error."""
    assert (
        hide_keys("cannot use sk-proj-1234567890abcdef at https://a:b@c") == "cannot use *** at https://***@c"
    )


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("provider.api_key_env=ab3de5gh7jk9mn1pq3st5vx7za9cd1fg", "provider.api_key_env"),
        ("provider.base_url=http://me:secret@host/v1", "provider.base_url"),
        ("dataset.url=https://host/x?token=1", "dataset.url"),
    ],
)
def test_named_addresses(word, key):
    """An address that is named for a record is told by its own key."""
    with pytest.raises(ConfigError, match=rf"^{key}: ") as caught:
        refuse_typed_secrets([f"reproduce.named=['{word}']"])
    assert word.partition("=")[2] not in str(caught.value)
