"""The points of a sweep, composed before the first one starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.composer import Composer
from runner.config.hydra_job import get_overrides
from runner.core.errors import RunnerError

log = logging.getLogger(__name__)

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def compose_sample(config: DictConfig) -> dict[int, DictConfig]:
    """One point of a sweep, as number 0, whose swept keys have their first values; empty if it has none."""
    params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create())
    assert isinstance(params, dict)
    lines = [*(f"{key!s}={value}" for key, value in params.items()), *get_overrides(config.hydra)]
    loader = GlobalHydra.instance().config_loader()
    try:
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(lines)
        return {0: loader.load_sweep_config(config, [_choose_first(override) for override in overrides])}
    except (HydraException, OmegaConfBaseException, StopIteration) as error:  # the sweeper reports it
        log.debug("no point can be composed: %s", error)
        return {}


def _choose_first(override: Override) -> str:
    """An override with the first of its values in place of a sweep."""
    if not override.is_sweep_override():
        return str(override.input_line)
    swept = override.value()
    if isinstance(swept, IntervalSweep):
        return f"{override.get_key_element()}={swept.start:g}"
    return f"{override.get_key_element()}={next(override.sweep_iterator(transformer=Transformer.encode))}"


def compose_points(config: DictConfig) -> dict[int, DictConfig]:
    """Return the configs of a sweep's points by number, without those that cannot be composed.

    Empty for sweepers that choose their points one after another.
    """
    # Hydra imports this module anew when it looks for plugins, and then an earlier class is another one
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeper = config.hydra.sweeper
    if sweeper.get("_target_") != f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
        return {}
    params = OmegaConf.to_container(sweeper.get("params") or OmegaConf.create())
    lines = [*BasicSweeper(None, params)._parse_config(), *get_overrides(config.hydra)]  # type: ignore[arg-type]
    loader = GlobalHydra.instance().config_loader()
    composer = Composer(loader)  # type: ignore[arg-type]
    found = {}
    try:
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(lines)
        (points,) = BasicSweeper.split_arguments(overrides, None)
        for number, point in enumerate(points):
            found[number] = composer.load_sweep_config(config, list(point))
        if config.hydra.launcher.get("_target_") == BASIC_LAUNCHER:  # others send the loader to processes
            composer.serve()
    except (RunnerError, HydraException, OmegaConfBaseException) as error:  # the sweeper reports it
        log.debug("the points are not known: %s", error)
    return found


def find_fixed(overrides: list[str]) -> dict[str, str]:
    """The overrides that all points share: key to value, as written, the last one of each key.

    >>> find_fixed(["provider=local", "hyperparameter.n_shot=0,1"])
    {'provider': 'local'}
    """
    items = _parse(overrides)
    swept = {_get_key(item) for item in items if item.is_sweep_override()}
    return {key: _get_text(item) for item in items if (key := _get_key(item)) not in swept}


def find_swept(overrides: list[str], fixed: Mapping[str, str]) -> dict[str, Any]:
    """The keys and values among a point's overrides that not all points share (:func:`find_fixed`)."""
    items = {_get_key(item): item for item in _parse(overrides)}
    return {key: item.value() for key, item in items.items() if fixed.get(key) != _get_text(item)}


def list_swept(overrides: list[str]) -> list[str]:
    """The keys of the overrides that have several values."""
    return [_get_key(item) for item in _parse(overrides) if item.is_sweep_override()]


def _parse(overrides: list[str]) -> list[Override]:
    return list(OverridesParser.create().parse_overrides(overrides))


def _get_key(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~")


def _get_text(override: Override) -> str:
    return str(override.get_value_element_as_str())
