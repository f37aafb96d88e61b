"""The points of a sweep, composed before the first one starts."""

from __future__ import annotations

import logging

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


def compose_sample(config: DictConfig) -> DictConfig | None:
    """The config of one point of a sweep whose swept keys have their first values; None if it has none."""
    params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create())
    assert isinstance(params, dict)
    lines = [*(f"{key!s}={value}" for key, value in params.items()), *get_overrides(config.hydra)]
    loader = GlobalHydra.instance().config_loader()
    try:
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(lines)
        return loader.load_sweep_config(config, [_choose_first(override) for override in overrides])
    except (HydraException, OmegaConfBaseException, StopIteration) as error:  # the sweeper reports it
        log.debug("no point can be composed: %s", error)
        return None


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
