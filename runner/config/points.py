"""The points of a sweep, composed before the first one starts."""

from __future__ import annotations

import logging

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.composer import Composer
from runner.config.hydra_job import get_overrides
from runner.core.errors import RunnerError

log = logging.getLogger(__name__)


def compose_points(config: DictConfig) -> dict[int, DictConfig]:
    """Return the configs of a sweep's points by number, without those that cannot be composed.

    Empty for sweepers that choose their points one after another.
    """
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
    except (RunnerError, HydraException, OmegaConfBaseException) as error:  # the sweeper reports it
        log.debug("the points are not known: %s", error)
    return found
