"""Instantiate a config node that has a ``_target_``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from hydra import utils
from hydra.errors import InstantiationException

from runner.core.errors import ConfigError, suggest

GIVEN_LATER = ("frame", "text")
"""What a run gives to a metric and to a parser; a config cannot give it."""


def instantiate(node: Any, key: str) -> Any:
    """Make the object of a node; ``key`` is the place of the node in the config, for messages.

    A plain function that needs one of :data:`GIVEN_LATER` first is not called, as with ``_partial_``.

    Raises :class:`ConfigError` if the class does not exist, if an argument is unknown or missing, or if the
    class itself raises.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{key}: expected a mapping with _target_, got {node!r}")
    partial = {"_partial_": True} if _check_arguments(dict(node), key) else {}
    try:
        return utils.instantiate(dict(node) | partial, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise ConfigError(f"{key}: {cause}") from error
        reason = str(cause or error).splitlines()[0]
        raise ConfigError(f"{key}: cannot make {node['_target_']}: {reason}") from error


def _check_arguments(node: dict[str, Any], key: str) -> str | None:
    """Check the keys of an open node like those of a closed group, so that a typo gets the same help.

    Returns the parameter that a run gives to a plain function, or None.
    """
    target = str(node["_target_"])
    try:
        found = resolve_name(target)
        parameters = inspect.signature(found).parameters
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{key}._target_: no class {target!r} ({error})") from error
    is_function = inspect.isfunction(found)
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    later = next(
        (name for name in needed[:1] if is_function and name in GIVEN_LATER and name not in node), None
    )
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return later
    for name in node:
        if not name.startswith("_") and name not in parameters:
            raise ConfigError(f"{key}.{name}: no such key{suggest(name, parameters)}")
    for name in needed if not node.get("_partial_") else ():
        if name not in node and name != later:
            hint = "; _partial_: true if the run gives it" if is_function else ""
            raise ConfigError(f"{key}.{name}: a value is required{hint}")
    return later
