"""Say why a text with ``${…}`` has no value."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import Container, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.mistakes.lines import split_key
from runner.core.errors import suggest

_REFERENCE = re.compile(r"\$\{\s*(\.*[A-Za-z_][^${}:,\s]*)\s*\}")
UNREADABLE = "cannot be read as a reference such as ${dataset.name}; write \\${ for a plain ${"
_RESOLVER = re.compile(r"Unsupported interpolation type (\S+)")
_VARIABLE = re.compile(r"Environment variable '([^']*)' not found")
_MISSING = re.compile(r"Interpolation key '([^']*)' not found")


def explain_interpolation(error: OmegaConfBaseException) -> str:
    """What is wrong with the interpolation at the error's key; empty for an error of another kind.

    The message begins without the key.
    """
    said = str(error).splitlines()[0]
    if "Recursive interpolation" in said:
        return f"refers to itself in a circle: {' → '.join(_follow(error))}"
    if found := _VARIABLE.search(said):
        return f"the environment variable {found[1]} is not set"
    if found := _RESOLVER.search(said):
        known = [name for name in type_names() if not name.startswith("hydra")]
        return f"${{{found[1]}:…}} is no function of a config{suggest(found[1], known)}"
    if found := _MISSING.search(said):
        return f"${{{found[1]}}} refers to a key that is not there{_suggest_key(found[1], error)}"
    if type(error).__name__ == "GrammarParseError":
        return f"{_read_text(error)} {UNREADABLE}"
    return ""


def type_names() -> list[str]:
    """The names of the functions that a config can call as ``${name:…}``."""
    from omegaconf.basecontainer import BaseContainer

    return list(BaseContainer._resolvers)


def _follow(error: OmegaConfBaseException) -> list[str]:
    """The keys of the circle, the first one again at the end."""
    root, key = _root(error), str(error.full_key)
    seen: list[str] = []
    todo = [(key, [key])]
    while todo:
        here, way = todo.pop()
        for name in _list_references(root, here):
            if name in way:
                return [*way[way.index(name) :], name]
            if name not in seen:
                seen.append(name)
                todo.append((name, [*way, name]))
    return [key, key]


def _list_references(root: Any, key: str) -> list[str]:
    """The keys that the text at a key refers to; those of all texts below it where it is no text."""
    node = _find_node(root, key)
    return [] if node is None else _read_references(node, key)


def _find_node(root: Any, key: str) -> Any:
    node: Any = root
    for part in split_key(key):
        if not isinstance(node, Container) or node._is_none() or node._is_missing():
            return None
        node = node._get_node(int(part) if OmegaConf.is_list(node) else part)
    return node


def _read_references(node: Any, key: str) -> list[str]:
    value = node._value()
    if isinstance(value, str):
        return [_resolve(found[1], key) for found in _REFERENCE.finditer(value)]
    if isinstance(value, dict):
        return [name for part in value for name in _read_references(value[part], f"{key}.{part}")]
    if isinstance(value, list):
        return [name for at, item in enumerate(value) for name in _read_references(item, f"{key}[{at}]")]
    return []


def _resolve(reference: str, key: str) -> str:
    """The full key of a reference that may be relative."""
    dots = len(reference) - len(reference.lstrip("."))
    parts = split_key(key)
    above = parts[: max(0, len(parts) - dots)] if dots else []
    return ".".join([*above, *split_key(reference.lstrip("."))])


def _suggest_key(reference: str, error: OmegaConfBaseException) -> str:
    """The nearest key beside the one that a reference lacks."""
    root = _root(error)
    written = _list_references(root, str(error.full_key))  # what OmegaConf names has lost its leading dots
    ending = [name for name in written if name.endswith(reference)]
    node = root
    for part in split_key(ending[0] if ending else reference):
        names = [str(name) for name in node] if OmegaConf.is_dict(node) and not node._is_none() else []
        if part not in names:
            return suggest(part, names)
        node = node._get_node(part)
    return ""


def _root(error: OmegaConfBaseException) -> Any:
    return error.parent_node._get_root() if error.parent_node is not None else None


def _read_text(error: OmegaConfBaseException) -> str:
    node = _find_node(_root(error), str(error.full_key))
    return "the text" if node is None else repr(node._value())
