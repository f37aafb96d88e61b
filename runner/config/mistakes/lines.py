"""The lines of an option file at which its keys and its defaults stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse

_PARTS = re.compile(r"\[(\w+)\]|([^.\[\]]+)")
_HEADER = re.compile(r"\s*#\s*@\s*package\b", re.IGNORECASE)
_DEFAULT = re.compile(r"(?P<words>(?:(?:override|optional) )*)/?(?P<group>[^@]*)(?:@(?P<package>.*))?")


@dataclass(frozen=True)
class Default:
    """One choice in a defaults list: ``group`` is empty for an option of the file's own folder."""

    line: int
    group: str
    options: tuple[str, ...]
    overrides: bool
    absolute: bool


def split_key(key: str) -> list[str]:
    """The parts of a key of a config.

    >>> split_key("dataset.steps[3].filter")
    ['dataset', 'steps', '3', 'filter']
    """
    return [found[1] or found[2] for found in _PARTS.finditer(key)]


class OptionFile:
    """The text of an option file. What cannot be read as YAML has no keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_bytes().decode("utf-8-sig", errors="replace")
        except OSError:
            self.text = ""

    @cached_property
    def _root(self) -> yaml.Node | None:
        try:
            root: yaml.Node | None = yaml.compose(self.text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError):
            return None
        return root

    def find_line(self, parts: Sequence[str]) -> int | None:
        """The line of a key, counted from 1; None where the file does not have the key."""
        node: Any = self._root
        line = 1
        for part in parts:
            if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
                node = node.value[int(part)]
                line = node.start_mark.line + 1
                continue
            pairs = [(key, value) for key, value in _list_pairs(node) if key.value == part]
            if not pairs:
                return None
            key, node = pairs[-1]
            line = key.start_mark.line + 1
        return int(line)

    def list_values(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """The keys of all plain values, as their parts, with the values as written; lists are empty."""
        yield from _list_values(self._root, ())

    def find_odd_reference(self) -> tuple[int, str] | None:
        """The line and the text of the first value with a ``${`` that begins no reference."""
        for node in _list_scalars(self._root):
            try:
                if "${" in node.value:
                    parse(node.value)
            except GrammarParseError:
                return int(node.start_mark.line) + 1, str(node.value)
        return None

    def list_defaults(self) -> list[Default]:
        """The entries of the defaults list; those of a wrong form are left out."""
        lists = [value for key, value in _list_pairs(self._root) if key.value == "defaults"]
        entries = lists[0].value if lists and isinstance(lists[0], yaml.SequenceNode) else []
        return [default for entry in entries for default in _read_default(entry)]

    def find_odd_default(self) -> int | None:
        """The line of the first thing in the defaults list that is no choice; None if all of it is."""
        lists = [(key, value) for key, value in _list_pairs(self._root) if key.value == "defaults"]
        for key, node in lists:
            if not isinstance(node, yaml.SequenceNode):
                return int(key.start_mark.line) + 1
            for entry in node.value:
                if not _is_choice(entry):
                    return int(entry.start_mark.line) + 1
        return None

    def find_header(self) -> tuple[int, str] | None:
        """The line and the text of the first comment that looks like ``# @package …``."""
        found = (
            (number, line) for number, line in enumerate(self.text.splitlines(), 1) if _HEADER.match(line)
        )
        return next(found, None)


def _list_pairs(node: yaml.Node | None) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """The keys and values of a mapping, those that it merges (``<<``) first."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    for key, value in pairs:
        if key.tag == "tag:yaml.org,2002:merge":
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from _list_pairs(merged)
    yield from ((key, value) for key, value in pairs if isinstance(key, yaml.ScalarNode))


def _list_scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        for inner in part if isinstance(part, tuple) else (part,):
            yield from _list_scalars(inner)


def _list_values(node: yaml.Node | None, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in _list_pairs(node):
            yield from _list_values(value, (*place, key.value))
    elif place:
        yield place, node.value if isinstance(node, yaml.ScalarNode) else ""


def _read_default(entry: yaml.Node) -> Iterator[Default]:
    line = entry.start_mark.line + 1
    if isinstance(entry, yaml.ScalarNode):
        option = entry.value.partition("@")[0]
        yield Default(line, "", (option.lstrip("/"),), False, option.startswith("/"))
    for key, value in _list_pairs(entry):
        found = _DEFAULT.fullmatch(" ".join(key.value.split()))
        if found is None:
            continue
        options = value.value if isinstance(value, yaml.SequenceNode) else [value]
        names = tuple(str(option.value) for option in options)
        group = found["group"] + (f"@{found['package']}" if found["package"] else "")
        absolute = "/" in key.value.split()[-1][:1]
        yield Default(key.start_mark.line + 1, group, names, "override" in found["words"], absolute)


def _is_choice(entry: yaml.Node) -> bool:
    """Whether an entry of a defaults list is a text, or one key with a text, null, or a list of texts."""
    if isinstance(entry, yaml.ScalarNode):
        return bool(entry.tag == "tag:yaml.org,2002:str")
    if not isinstance(entry, yaml.MappingNode) or len(entry.value) != 1:
        return False
    value = entry.value[0][1]
    if isinstance(value, yaml.SequenceNode):
        return all(isinstance(item, yaml.ScalarNode) and item.tag.endswith(":str") for item in value.value)
    return isinstance(value, yaml.ScalarNode) and value.tag.endswith((":str", ":null"))
