"""Instantiate a config node that has a ``_target_``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from hydra import utils
from hydra.errors import InstantiationException

from runner.core.errors import ConfigError, suggest


def instantiate(node: Any, key: str) -> Any:
    """Make the object of a node; ``key`` is the place of the node in the config, for messages.

    Raises :class:`ConfigError` if the class does not exist, if an argument is unknown or missing, or if the
    class itself raises.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{key}: expected a mapping with _target_, got {node!r}")
    _check_arguments(dict(node), key)
    try:
        return utils.instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise ConfigError(put_key_first(key, str(cause))) from error
        reason = str(cause or error).splitlines()[0]
        raise ConfigError(f"{key}: cannot make {node['_target_']}: {reason}") from error


def _check_arguments(node: dict[str, Any], key: str) -> None:
    """Check the keys of an open node like those of a closed group, so that a typo gets the same help."""
    target = str(node["_target_"])
    try:
        parameters = inspect.signature(resolve_name(target)).parameters
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{key}._target_: no class {target!r} ({error})") from error
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in node:
        if not name.startswith("_") and name not in parameters:
            raise ConfigError(f"{key}.{name}: no such key{suggest(name, parameters)}")
    for name, parameter in parameters.items() if not node.get("_partial_") else ():
        if parameter.default is parameter.empty and name not in node:
            raise ConfigError(f"{key}.{name}: a value is required")


def put_key_first(key: str, message: str) -> str:
    """Put a key before a message that may name the same place in its own words.

    >>> put_key_first("judge.provider", "provider.model=x: no such file")
    'judge.provider.model=x: no such file'
    >>> put_key_first("metric.f1", "metric f1: labels is empty")
    'metric.f1: labels is empty'
    """
    front, _, last = key.rpartition(".")
    if message.startswith(f"{last}."):
        return f"{front}.{message}" if front else message
    return f"{key}: {re.sub(r'^(metric [^ ]+: |parser )', '', message)}"
