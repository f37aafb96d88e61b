"""Compose as Hydra does, but a node with a class replaces the object before it.

The node takes each key of its class. This holds for option files, overrides, the points of sweeps and the
Python API alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from runner.config.instantiate import check_names, check_new_class
from runner.config.mistakes import watch
from runner.config.secrets import refuse_config_secrets
from runner.config.trust import TARGET, find_nodes
from runner.core.errors import ConfigError, suggest

NAMED = "metric"
"""The group that holds objects by name, and takes any name."""

FREE = ("require",)
"""Groups in which any key may stand, so that none needs a ``+``; a run checks the names."""

OF_MEMBER = re.compile(r"judge\.members\.\w+\.hyperparameter")
"""The places of hyperparameters that any of a judge's may be added to, so that none needs a ``+``."""

RENAMED = {"judge.reduce": "judge.vote"}
"""Keys that have another name now."""

_apply_as_hydra = ConfigLoaderImpl._apply_overrides_to_config
_compose_as_hydra = ConfigLoaderImpl._compose_config_from_defaults_list


def install(kind: type) -> None:
    """Make Hydra compose configs of this kind as this module does, and no others.

    This replaces two private functions of Hydra, for which it has no hooks.
    """

    def apply(overrides: Sequence[Override], config: DictConfig) -> None:
        ours = OmegaConf.get_type(config) is kind
        (apply_overrides if ours else _apply_as_hydra)(list(overrides), config)

    def compose(loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: Any) -> DictConfig:
        if not any(default.config_path == "schema" for default in defaults):
            return _compose_as_hydra(loader, defaults, repo)
        return _merge_files(loader, defaults, repo)

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply)  # type: ignore[assignment]
    ConfigLoaderImpl._compose_config_from_defaults_list = compose  # type: ignore[assignment,method-assign]
    watch.install(kind, _merge_part)


def _merge_files(loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: Any) -> DictConfig:
    """Merge option files in the order of their defaults."""
    config = OmegaConf.create()
    with flag_override(config, "no_deepcopy_set_nodes", True):
        for default in defaults:
            part = _compose_as_hydra(loader, [default], repo)
            try:
                _merge_part(config, part, default)
            except OmegaConfBaseException as error:
                raise ConfigCompositionException(
                    f"In '{default.config_path}': {type(error).__name__} raised while composing config:"
                    f"\n{error}"
                ) from error
    return config


def _merge_part(config: DictConfig, part: Any, default: ResultDefault) -> None:
    """Merge an option file into a config; a node with a class replaces the object before it.

    What stands at the top of an option file is merged instead: ``defaults: [openai]`` in a file of the group
    ``provider`` says that the file's own class has the settings of that option.
    """
    for place, _ in find_nodes(OmegaConf.to_container(part)):
        if place != (default.package or "") and _is_object(OmegaConf.select(config, place)):
            OmegaConf.update(config, place, None, merge=False)
    config.merge_with(part)


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Apply overrides to a composed config.

    A mapping with ``_target_`` replaces the object that was there, since one class does not have the keys of
    another. As after an option, the other overrides change what it gives, wherever they stand. A key that
    the class of an object takes needs no ``+``, nor does a new metric. Raises :class:`ConfigError` for a new
    ``_target_`` alone whose class does not take the settings that are there.
    """
    for override in sorted(map(_set_place, overrides), key=_names_class, reverse=True):
        opened = _open_object(override, config)
        if _names_class(override):
            _make_room(override, config)
        _empty_mapping(opened, config)
        _apply_as_hydra([opened], config)
    refuse_config_secrets(config)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping | DictConfig) and TARGET in value


def _names_class(override: Override) -> bool:
    """Whether an override says which class an object has; these come first."""
    if override.is_delete() or override.is_hydra_override():
        return False
    return override.key_or_group.endswith(f".{TARGET}") or any(find_nodes(override.value()))


def _set_place(override: Override) -> Override:
    """``provider@judge.provider={_target_: …}`` is ``judge.provider={_target_: …}``."""
    if override.package is None or not _names_class(override):
        return override
    return replace(override, key_or_group=override.package, package=None)


def _make_room(override: Override, config: DictConfig) -> None:
    """Take away the objects in whose places an override puts others."""
    key = override.key_or_group
    if key.endswith(f".{TARGET}"):
        place = key.removesuffix(f".{TARGET}")
        node = OmegaConf.select(config, place)
        if _is_object(node) and node[TARGET] != override.value():
            check_new_class(node, override.value(), place)
        return
    for place, _ in find_nodes(override.value(), key):
        parent = place.rpartition(".")[0]
        if place == NAMED:
            raise ConfigError(f"{NAMED}: holds metrics by name; write {NAMED}.NAME={{{TARGET}: …}}")
        if parent == NAMED or _is_object(OmegaConf.select(config, place)):
            OmegaConf.update(config, place, None, merge=False, force_add=parent == NAMED)


def _empty_mapping(override: Override, config: DictConfig) -> None:
    """Empty the mapping that ``key={}`` names, such as ``judge.members={}``; Hydra would merge."""
    key = override.key_or_group
    if override.is_delete() or override.is_hydra_override() or override.value() != {}:
        return
    node = OmegaConf.select(config, key)
    if isinstance(node, DictConfig) and OmegaConf.get_type(node) is dict and not _is_object(node):
        OmegaConf.update(config, key, {}, merge=False)


def _refuse_unknown(node: Any, parent: str, name: str) -> None:
    """Refuse a key that a closed group does not have; after a ``+`` Hydra adds it, and nothing reads it."""
    kind = OmegaConf.get_type(node) if isinstance(node, DictConfig) else None
    if not is_dataclass(kind) or name in (known := [field.name for field in fields(kind)]):
        return
    if now := RENAMED.get(f"{parent}.{name}"):
        raise ConfigError(f"{parent}.{name}: no such key; it is now {now}")
    deeper = [each for each in known if isinstance(node.get(each), DictConfig) and name in node[each]]
    hint = (
        f"; did you mean '{parent}.{deeper[0]}.{name}'?".replace("'.", "'")
        if deeper
        else suggest(name, known)
    )
    raise ConfigError(f"{parent}.{name}: no such key{hint}".removeprefix("."))


def _refuse_unknown_above(config: DictConfig, key: str) -> None:
    """Refuse a key below one that a closed group does not have, for the same reason."""
    node: Any = config
    above = ""
    for part in key.split(".") if key else ():
        if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
            return
        _refuse_unknown(node, above, part)
        node, above = node._get_node(part), f"{above}.{part}".removeprefix(".")


def _refuse_null(config: DictConfig, key: str) -> None:
    """Refuse a key of what is null: setting it would make a group without its other keys."""
    node: Any = config
    parts = key.split(".")
    for end, part in enumerate(parts[:-1], 1):
        if not isinstance(node, DictConfig) or part not in node:
            return
        if (node := node._get_node(part)) is not None and node._is_none():
            place = ".".join(parts[:end])
            raise ConfigError(f"{place}: is null, so {key} cannot be set; choose an option first, {place}=…")


def _open_object(override: Override, config: DictConfig) -> Override:
    """Turn ``key=value`` into ``++key=value`` for a new key of an object, or of a group in :data:`FREE`.

    Raises if the class of the object has no such key.
    """
    if override.key_or_group.partition(".")[0] in FREE and override.type is OverrideType.CHANGE:
        return replace(override, type=OverrideType.FORCE_ADD)
    parent, _, name = override.key_or_group.rpartition(".")
    if override.is_hydra_override():
        return override
    node = OmegaConf.select(config, parent) if parent else config
    if OF_MEMBER.fullmatch(parent) and not override.is_delete():
        known = [str(each) for each in config.hyperparameter]
        if name not in known:
            raise ConfigError(f"{parent}.{name}: no such key{suggest(name, known)}")
        if isinstance(node, DictConfig):
            return replace(override, type=OverrideType.FORCE_ADD)
    if override.is_delete():
        if isinstance(node, DictConfig) and name not in node.keys():  # noqa: SIM118 - null is there, too
            raise ConfigError(f"~{override.key_or_group}: no such key{suggest(name, map(str, node))}")
        return override
    _refuse_unknown(node, parent, name)
    _refuse_unknown_above(config, parent)
    if not parent:
        return override
    _refuse_null(config, override.key_or_group)
    is_named = parent == NAMED and _is_object(override.value())
    if not is_named and (not _is_object(node) or (name in node and name != TARGET)):
        return override
    if not is_named and name != TARGET:
        check_names(node[TARGET], parent, [name])
    return replace(override, type=OverrideType.FORCE_ADD)
