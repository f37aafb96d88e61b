"""How an override is written whose value has characters that Hydra's grammar reads in its own way."""

from __future__ import annotations

import re
import shlex

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def quote_override(override: str) -> str:
    """Return an override with quotes where Hydra needs them, as it is typed in a shell; empty if none help.

    A list or a mapping keeps its form, and the texts in it are quoted.

    >>> print(quote_override("dataset.steps=[{filter: rating > 3}]"))
    'dataset.steps=[{filter: "rating > 3"}]'
    >>> print(quote_override("prompt.user=Is it {{ text }}?"))
    'prompt.user="Is it {{ text }}?"'
    >>> quote_override("hyperparameter.stop=['a'")
    ''
    """
    key, separator, value = override.partition("=")
    if not separator or not value.strip() or "\n" in override or len(override) > 200:
        return ""
    is_nested = re.match(r"\s*(\[|\{(?![{%]))", value)
    written = _write_nested(value) if is_nested else _quote(value)
    try:
        if written:
            OverridesParser.create().parse_override(f"{key}={written}")
    except HydraException:
        return ""
    return shlex.quote(f"{key}={written}") if written else ""


def _write_nested(value: str) -> str:
    try:
        return _write(yaml.compose(value, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, TypeError):
        return ""


def _write(node: yaml.Node | None) -> str:
    """A node in Hydra's grammar. Raises :class:`TypeError` for what it has no form for."""
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(map(_write, node.value))}]"
    if isinstance(node, yaml.MappingNode):
        return "{" + ", ".join(f"{_write_key(key)}: {_write(value)}" for key, value in node.value) + "}"
    if not isinstance(node, yaml.ScalarNode):
        raise TypeError(node)
    return node.value if node.style is None and re.fullmatch(r"[\w.+-]+", node.value) else _quote(node.value)


def _write_key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise TypeError(node)
    return str(node.value)


def _quote(text: str) -> str:
    return '"' + re.sub(r'(\\*)"', r'\1\1\\"', text) + '"'
