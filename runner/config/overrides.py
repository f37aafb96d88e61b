"""Apply overrides as Hydra does, but an object is replaced as a whole and takes each key of its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from runner.config.instantiate import check_names
from runner.config.mistakes import watch
from runner.config.secrets import refuse_config_secrets

_apply_as_hydra = ConfigLoaderImpl._apply_overrides_to_config


def install(kind: type) -> None:
    """Make Hydra call :func:`apply_overrides` wherever it composes a config of this kind, and for no other.

    This replaces a private function of Hydra, for which it has no hook.
    """

    def apply(overrides: Sequence[Override], config: DictConfig) -> None:
        ours = OmegaConf.get_type(config) is kind
        (apply_overrides if ours else _apply_as_hydra)(list(overrides), config)

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply)  # type: ignore[assignment]
    watch.install(kind)


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Apply overrides to a composed config.

    A mapping with ``_target_`` replaces the object of an option, since one class does not have the keys of
    another. As after an option, the other overrides change what it gives, wherever they stand. A key that
    the class of an object takes needs no ``+``.
    """
    for override in sorted(map(_set_place, overrides), key=_names_class, reverse=True):
        if _names_class(override) and _is_object(OmegaConf.select(config, override.key_or_group)):
            OmegaConf.update(config, override.key_or_group, None, merge=False)
        _apply_as_hydra([_open_object(override, config)], config)
    refuse_config_secrets(config)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping | DictConfig) and "_target_" in value


def _names_class(override: Override) -> bool:
    """Whether an override says which class an object has; these come first."""
    if override.is_delete() or override.is_hydra_override():
        return False
    return override.key_or_group.endswith("._target_") or _is_object(override.value())


def _set_place(override: Override) -> Override:
    """``provider@judge.provider={_target_: …}`` is ``judge.provider={_target_: …}``."""
    if override.package is None or not _names_class(override):
        return override
    return replace(override, key_or_group=override.package, package=None)


def _open_object(override: Override, config: DictConfig) -> Override:
    """Turn ``key=value`` into ``++key=value`` for a new key of an object. Raises if its class has none."""
    parent, _, name = override.key_or_group.rpartition(".")
    if not parent or override.is_delete() or override.is_hydra_override():
        return override
    node = OmegaConf.select(config, parent)
    if not _is_object(node) or name in node:
        return override
    check_names(node["_target_"], parent, [name])
    return replace(override, type=OverrideType.FORCE_ADD)
