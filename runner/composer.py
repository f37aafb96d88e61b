"""Hydra's composition of the points of a sweep, as far as they differ."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class Composer:
    """A loader that composes a point once: sweepers compose each to check it, launchers to run it.

    Points that choose the same options and differ in single values are copies of the first of them with
    these values set: composing takes Hydra a tenth of a second, copying a hundredth.
    """

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self._loader = loader
        self._is_group = cache(loader.repository.group_exists)
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._firsts: dict[tuple[str, ...], tuple[list[Override], DictConfig]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """What a sweeper calls."""
        parsed = OverridesParser.create().parse_overrides(sweep_overrides)
        shape = tuple(
            f"{item.key_or_group}=" if self._single(item) else str(item.input_line) for item in parsed
        )
        config = _varied(*self._firsts[shape], parsed) if shape in self._firsts else None
        if config is None:
            config = self._loader.load_sweep_config(master_config, sweep_overrides)
            self._firsts[shape] = parsed, deepcopy(config)
        self._composed[tuple(sweep_overrides)] = config
        return config

    def take(self, master_config: DictConfig, overrides: list[str]) -> DictConfig:
        """The config of one point, which is nobody else's."""
        config = self._composed.pop(tuple(overrides), None)
        if config is None:
            return self._loader.load_sweep_config(master_config, overrides)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _single(self, override: Override) -> bool:
        """Whether it gives one key of the experiment one value, and chooses no option."""
        return (
            override.type is OverrideType.CHANGE
            and not override.is_hydra_override()
            and override.package is None
            and not isinstance(override.value(), (dict, list))
            and not self._is_group(override.key_or_group)
        )


def _varied(
    first: Sequence[Override], config: DictConfig, overrides: Sequence[Override]
) -> DictConfig | None:
    """A copy of ``first``'s config with other single values; None where one is refused, for Hydra to tell."""
    config = deepcopy(config)
    for known, override in zip(first, overrides, strict=True):
        if known.input_line == override.input_line:
            continue
        try:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return None
    task = [override for override in overrides if not override.is_hydra_override()]
    config.hydra.overrides.task = [override.input_line for override in task]
    naming = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(
        task,
        kv_sep=naming.kv_sep,
        item_sep=naming.item_sep,
        exclude_keys=naming.exclude_keys,
    )
    return config
