"""What is wrong in the defaults list of an option file, with the line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError

from runner.config.mistakes.interpolation import UNREADABLE
from runner.config.mistakes.lines import Default, OptionFile
from runner.config.mistakes.missing import describe_missing, name_package
from runner.config.mistakes.places import Composition, Part, find_config_error, find_file, is_own, show_place
from runner.core.errors import ConfigError, suggest

SHAPE = (
    "defaults is a list of '- option', '- group: option', '- group: [option, option]' and"
    " '- override /group: option', with names that are texts"
)


HEADER = "# @package _global_"


def describe_header(composition: Composition, part: Part, key: str) -> str:
    """The place and the reason where a file's keys are put below a key that a config lacks; else empty.

    ``key`` is the one that the config lacks.
    """
    if part.lines is None or key != (part.package or [""])[0]:
        return ""
    owner = composition.find_owner(part)
    if owner.lines is None or (key != "experiment" and owner.lines.find_header() is None):
        return ""
    return _explain_header(owner.lines, key)


def _explain_header(lines: OptionFile, group: str) -> str:
    line, header = lines.find_header() or (1, "")
    if line > 1:
        return f"{show_place(lines.path, line)}: this must be the first line: {HEADER}"
    if header:
        return f"{show_place(lines.path, line)}: {header.strip()!r} must be {HEADER!r}"
    why = f"without it the keys of this file are put below {group!r}"
    return f"{show_place(lines.path, 1)}: the first line must be {HEADER!r}; {why}"


def describe_defaults(composition: Composition, error: Exception) -> str:
    """The place and the reason of the first mistake in the defaults of one's own files; else empty.

    ``error`` is Hydra's.
    """
    if isinstance(error, RecursionError):
        return _describe_circle(composition)
    if typed := _describe_typed(composition):
        return typed
    for name, file in composition.list_files():
        if not is_own(file):
            continue
        lines, folder = OptionFile(file), name.rpartition("/")[0]
        if isinstance(find_config_error(error), GrammarParseError) and (found := lines.find_odd_reference()):
            return f"{show_place(file, found[0])}: {found[1]!r} {UNREADABLE}"
        odd = lines.find_odd_default()
        if odd is not None:
            return f"{show_place(file, odd)}: {SHAPE}"
        if f"In {name!r}: Could not override" in str(error) and f"@{folder}." in str(error):
            return _explain_header(lines, folder)
        for line, reason in _list_mistakes(name, lines.list_defaults(), composition):
            return f"{show_place(file, line)}: {reason}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return describe_missing(str(error.missing_cfg_file), composition.list_folders())
    return ""


def _describe_typed(composition: Composition) -> str:
    """What is wrong in the choices of options on the command line; else empty."""
    for item in composition.overrides:
        group, options = item.key_or_group, item.value()
        if item.is_delete() or not composition.repository.group_exists(group):
            continue
        if isinstance(options, list) and any(isinstance(option, list | dict) for option in options):
            write = f"write {group}.NAME={{_target_: …}}"
            return f"{item.input_line}: such a list has only names of options; {write}"
        place = f"{group}@{item.package}" if item.package else group
        if item.is_add() and _is_chosen(place, composition):
            return f"{item.input_line}: an option of {group} is chosen already; leave the + out"
    return ""


def _describe_circle(composition: Composition) -> str:
    """The files of a circle in which options choose each other."""
    files = dict(composition.list_files())
    chosen = {name: _list_chosen(name, OptionFile(file)) for name, file in files.items()}
    for start in chosen:
        todo = [(start, [start])]
        seen = set()
        while todo:
            here, way = todo.pop()
            for name, line in chosen.get(here, {}).items():
                if name == start:
                    place = show_place(files[here], line)
                    return f"{place}: options choose each other in a circle: {' → '.join([*way, name])}"
                if name not in seen:
                    seen.add(name)
                    todo.append((name, [*way, name]))
    return ""


def _list_chosen(name: str, lines: OptionFile) -> dict[str, int]:
    """The options that a file chooses, with their lines."""
    folder = name.rpartition("/")[0]
    found: dict[str, int] = {}
    for item in lines.list_defaults():
        group = item.group.partition("@")[0]
        place = "/".join(filter(None, ["" if item.absolute else folder, group]))
        found |= {"/".join(filter(None, [place, option])): item.line for option in item.options}
    return found


def _list_mistakes(name: str, defaults: list[Default], composition: Composition) -> Iterator[tuple[int, str]]:
    folder, nested = name.rpartition("/")[0], "/" in name
    repository = composition.repository
    yield from list_repeated(defaults)
    last = max((item.line for item in defaults if item.group and not item.overrides), default=0)
    for item in defaults:
        typed = item.group.partition("@")[0]
        if not item.group:
            yield from _check_option(item, "" if item.absolute else folder, composition)
            continue
        group = typed if item.absolute or not folder else f"{folder}/{typed}"
        if not repository.group_exists(group):
            if nested and not item.absolute and repository.group_exists(typed):
                words = "override " if item.overrides else ""
                yield item.line, f"{typed} is no group below {folder}; write '{words}/{typed}: …'"
            else:
                groups = repository.get_group_options(group.rpartition("/")[0], ObjectType.GROUP)
                known = {*groups} - {"prompts"}  # a folder of templates
                yield item.line, f"{typed}: no such group{suggest(typed.rpartition('/')[2], known)}"
            continue
        if item.overrides and item.line < last:
            yield item.line, f"'override /{item.group}' must stand at the end of defaults; move it there"
        if nested and not item.overrides and item.absolute and _is_chosen(item.group, composition):
            what = f"/{item.group}: {', '.join(item.options)}"
            yield item.line, f"an option of {item.group} is chosen already; write 'override {what}'"
        yield from _check_option(item, group, composition)


def list_repeated(defaults: list[Default]) -> Iterator[tuple[int, str]]:
    """The lines of the choices that a list makes a second time, of which one would be lost."""
    seen: dict[tuple[str, ...], int] = {}
    for item in defaults:
        key = (item.group,) if item.group else ("", *item.options)
        if key in seen:
            yield item.line, f"{item.group or item.options[0]} is chosen twice, first in line {seen[key]}"
        seen.setdefault(key, item.line)


def _check_option(item: Default, group: str, composition: Composition) -> Iterator[tuple[int, str]]:
    for option in item.options:
        path = f"{group}/{option}" if group else option
        if option in ("_self_", "null", "???", "~") or "${" in option:
            continue
        if not composition.repository.config_exists(path):
            options = composition.repository.get_group_options(group)
            shown = f"{group or 'defaults'}={option}"
            package = name_package(path)
            yield item.line, f"{shown}: {package or 'no such option' + suggest(option, options)}"


def _is_chosen(group: str, composition: Composition) -> bool:
    """Whether the primary config chooses an option of a group."""
    primary = next(iter(composition.repository.cache.values()), None)
    lists = primary.defaults_list if primary else None
    return any(getattr(default, "group", None) == group for default in lists or ())


def finish_composed(defaults: list[Any], repository: Any, config: DictConfig) -> None:
    """Look at the files of a composed config for what Hydra passes over in silence.

    A second choice in one defaults list raises :class:`ConfigError`. A key with ``???`` needs a value even
    where an earlier file has given one.
    """
    parts = [Part(default, find_file(repository, default)) for default in defaults]
    own = [part.lines for part in parts if part.lines and is_own(part.lines.path)]
    for part in own:
        for line, reason in list_repeated(part.list_defaults()):
            raise ConfigError(f"{show_place(part.path, line)}: {reason}")
    if any(part.lines and "???" in part.lines.text for part in parts):
        _require_missing(parts, config)


def _require_missing(parts: list[Part], config: DictConfig) -> None:
    """Set the keys to ``???`` whose last file does so, since a merge keeps an earlier value."""
    required: dict[str, None] = {}
    for part in parts:
        for key, value in part.lines.list_values() if part.lines else ():
            name = ".".join([*part.package, *key])
            required.pop(name, None)
            if value == "???" and key[0] != "defaults":
                required[name] = None
    for name in required:
        OmegaConf.update(config, name, "???", merge=False)
