"""Refuse secrets in a config before Hydra, a record or a message repeats them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from runner.core.errors import ConfigError, describe_decoding
from runner.core.redact import (
    has_password,
    hide_keys,
    holds_secret,
    is_secret,
    is_variable_name,
    list_secrets,
    names_secret_variable,
)

FREE_NAMES = ("dataset", "extra", "reference", "json_schema")
"""Below these keys any name may stand: of a column, of a figure, of a property."""
NAMED = ("reproduce.named", "export.named")
"""Lists of ``key=value`` of the command line."""
WITHOUT_SECRETS = ("runtime", "overrides", "help", "hydra_help", "job_logging", "hydra_logging")
"""Parts of Hydra's own settings that are not looked at: they are not the user's, or repeat the overrides."""

ENV_FILE = Path(".env")


_INTEGRATION_KEY = re.compile(
    r"integrations\b.*[.\]](\w*_)?(api_?key|key|token|password|secret)$", re.IGNORECASE
)
"""Where a credential of a service that a training reports to would be; only ``api_key_env`` names one."""
_ADDRESS_PASSWORD = re.compile(r":[^/@\s]+@|\b(?:password|pwd)=", re.IGNORECASE)


def refuse_config_secrets(config: DictConfig) -> None:
    """Raise :class:`ConfigError` for a secret anywhere in a composed config, Hydra's settings included."""
    for name in map(str, config):
        node = config._get_node(name)
        if name != "hydra":
            refuse_secrets(node, name)
        elif isinstance(node, DictConfig):
            for part in map(str, node):
                if part not in WITHOUT_SECRETS:
                    refuse_secrets(node._get_node(part), f"hydra.{part}")


def refuse_secrets(node: Any, key: str) -> None:
    """Raise :class:`ConfigError` where a node holds a secret. The message has its key and not its value.

    A secret is what looks like a key or a password, what an environment variable for secrets holds, any text
    under a key such as ``api_key``, and under a key that ends in ``_env`` what is no variable's name.
    """
    _refuse(OmegaConf.to_container(node) if OmegaConf.is_config(node) else node, key, list_secrets())


def _refuse(node: Any, key: str, secrets: Sequence[str]) -> None:
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            place, value = f"{key}[{index}]", item
            if key in NAMED:
                place, _, value = str(item).lstrip("+").partition("=")
            _refuse(value, place, secrets)
    elif isinstance(node, Mapping):
        for name, value in node.items():
            if holds_secret(str(name), secrets):
                raise _make_error(f"a key in {key}")
            _refuse(value, f"{key}.{name}", secrets)
    elif node is not None:
        _refuse_value(node, key, secrets)


def refuse_typed_secrets(arguments: Sequence[str]) -> None:
    """Raise as :func:`refuse_secrets` for arguments, since a sweep saves them before it composes a point."""
    for argument in arguments:
        if argument.startswith("-") or "=" not in argument:
            if holds_secret(argument):
                raise _make_error("the command line")
            continue
        for key, value in _list_values(argument):
            if holds_secret(key):
                raise _make_error("the key of an override")
            refuse_secrets(value, key)
        if holds_secret(argument):
            raise _make_error(argument.partition("=")[0].lstrip("+~"))


def _refuse_value(value: Any, key: str, secrets: Sequence[str]) -> None:
    text, parts = str(value), key.split(".")
    is_free = any(part.partition("[")[0] in FREE_NAMES or part.endswith("dataset") for part in parts[:-1])
    if key.endswith("_env") and not is_free and not _may_name(text):
        raise ConfigError(
            f"{hide_keys(key)}: must be the name of an environment variable, not the key itself"
        )
    if key in ("ledger.url", "tracking.uri") and (has_password(text) or _ADDRESS_PASSWORD.search(text)):
        raise ConfigError(
            f"{key}: contains a password, which every run would save; leave it out and set PGPASSWORD "
            "or use ~/.pgpass for PostgreSQL, MLFLOW_TRACKING_USERNAME and _PASSWORD for a tracking server"
        )
    if _INTEGRATION_KEY.search(key) and text:
        raise _make_error(key)
    name = parts[-1].partition("[")[0]
    is_variable = parts[:3] == ["hydra", "job", "env_set"] and names_secret_variable(name)
    if holds_secret(text, secrets) or is_variable or (not is_free and is_secret(name, value)):
        raise _make_error(key)


def _make_error(place: str) -> ConfigError:
    return ConfigError(
        f"{hide_keys(place)}: holds what looks like a key or a password, which every run would save; put it "
        "into an environment variable and give the name of that, as in provider.api_key_env"
    )


def _list_values(argument: str) -> Iterator[tuple[str, Any]]:
    """The key of an override with each of its values."""
    try:
        override = OverridesParser.create().parse_override(argument)
        values = override.sweep_iterator() if override.is_discrete_sweep() else [override.value()]
        found = [(override.key_or_group, getattr(value, "text", value)) for value in values]
    except HydraException:
        found = [(argument.partition("=")[0].lstrip("+~"), argument.partition("=")[2])]
    yield from found


def _may_name(text: str) -> bool:
    return text in ("", "???") or "${" in text or is_variable_name(text)


def load_env_file(file: Path = ENV_FILE) -> None:
    """Set the environment variables of a file of lines ``NAME=value``, never over one that is set.

    Raises :class:`ConfigError` naming a line that is something else; the message does not repeat it.
    """
    if not file.is_file():  # a virtual environment may have this name
        return
    from dotenv import load_dotenv
    from dotenv.parser import parse_stream

    try:
        with file.open(encoding="utf-8-sig") as lines:
            for line in parse_stream(lines):
                if line.error or (line.key is not None and line.value is None):
                    raise ConfigError(f"{file}, line {line.original.line}: it is not NAME=value")
        load_dotenv(file, override=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}, {describe_decoding(error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: it cannot be read ({error})") from error
