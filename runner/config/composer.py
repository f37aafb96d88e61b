"""Compose a run and the points of a sweep once each, and write the files that Hydra writes for each point."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hydra.core.utils
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException

from runner.config import hydra_job

_find_mode = Hydra.get_mode
_save_as_hydra = hydra.core.utils._save_config


@contextmanager
def compose_once() -> Iterator[None]:
    """Within the block Hydra composes a config once, and writes it with libyaml.

    It composes twice, to see whether it is a sweep and to run it, and needs a tenth of a second each time.
    """
    Hydra.get_mode = _compose_for_mode  # type: ignore[method-assign]
    hydra.core.utils._save_config = _save
    try:
        yield
    finally:
        Hydra.get_mode = _find_mode  # type: ignore[method-assign]
        hydra.core.utils._save_config = _save_as_hydra


def _compose_for_mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
    """Find whether a config is a run or a sweep (None where it does not say so), and keep it for that."""
    kind = RunMode.RUN
    try:
        if any(item.is_sweep_override() for item in OverridesParser.create().parse_overrides(overrides)):
            kind = RunMode.MULTIRUN
        composed = self.compose_config(config_name, overrides, kind)
    except Exception as error:
        _keep(self.config_loader, error, kind, len(overrides))
        if kind is RunMode.RUN and "You must specify" in str(error):  # the option that a sweep will choose
            return _find_mode(self, config_name, overrides)
        return None
    _keep(self.config_loader, composed, kind, len(overrides))
    return composed.hydra.mode


def _keep(loader: Any, composed: DictConfig | Exception, kind: RunMode, n_overrides: int) -> None:
    """Make the loader give what it composed, or raise why it could not, when it is next asked for it."""

    def load(*, overrides: list[str], run_mode: RunMode, **rest: Any) -> Any:
        if not rest.get("validate_sweep_overrides", True):
            return as_before(overrides=overrides, run_mode=run_mode, **rest)
        del loader.load_configuration
        if isinstance(composed, DictConfig) and kind in (
            run_mode,
            RunMode.RUN,
        ):  # nothing is missing in a run
            for added in overrides[n_overrides:]:  # by Hydra, where the config names no mode
                composed.hydra.mode = added.removeprefix("hydra.mode=")
                composed.hydra.overrides.hydra.append(added)
            return composed
        if isinstance(composed, Exception) and kind is run_mode:
            raise composed
        return as_before(overrides=overrides, run_mode=run_mode, **rest)

    as_before = loader.load_configuration
    loader.load_configuration = load


class Composer:
    """A config loader that composes each point once. Hydra does so twice: to check it and to run it.

    Points that choose the same options and differ only in single values are copies of the first such point
    with these values set. Hydra needs a tenth of a second to compose a point, a copy needs a hundredth.
    """

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self._loader, self._compose = loader, loader.load_sweep_config
        self._is_group = cache(loader.repository.group_exists)
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._firsts: dict[tuple[str, ...], tuple[list[Override], bytes]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose one point; called by the sweeper."""
        parsed = OverridesParser.create().parse_overrides(sweep_overrides)
        shape = tuple(
            f"{item.key_or_group}=" if self._is_single(item) else str(item.input_line) for item in parsed
        )
        config = _copy_with(*self._firsts[shape], parsed) if shape in self._firsts else None
        if config is None:
            config = self._compose(master_config, sweep_overrides)
            self._firsts[shape] = parsed, pickle.dumps(config)
        self._composed[tuple(sweep_overrides)] = config
        return config

    def take(self, master_config: DictConfig, overrides: list[str]) -> DictConfig:
        """The config of one point, for the caller alone to keep and change."""
        config = self._composed.pop(tuple(overrides), None)
        if config is None:
            return self._compose(master_config, overrides)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def serve(self) -> None:
        """Compose the points for whoever asks the loader for one: the sweeper, and then a launcher."""

        def load(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
            self.load_sweep_config(master_config, sweep_overrides)
            return self.take(master_config, sweep_overrides)

        self._loader.load_sweep_config = load  # type: ignore[method-assign]

    def _is_single(self, override: Override) -> bool:
        """Whether an override sets one key of the experiment to one value, and chooses no option."""
        return (
            override.type is OverrideType.CHANGE
            and not override.is_hydra_override()
            and override.package is None
            and not override.key_or_group.endswith("._target_")  # the class says which keys may stay
            and not isinstance(override.value(), (dict, list))
            and not self._is_group(override.key_or_group)
        )


class _Dumper(getattr(yaml, "CDumper", yaml.Dumper)):  # type: ignore[misc]
    """Writes values as OmegaConf does, but with libyaml, which is three times as fast."""

    yaml_representers = get_omega_conf_dumper().yaml_representers


def save_job(config: DictConfig, task: DictConfig, folder: Path) -> None:
    """Write what Hydra writes for a job: its config, Hydra's own settings, and its overrides."""
    _save(task, "config.yaml", folder)
    _save(OmegaConf.masked_copy(config, "hydra"), "hydra.yaml", folder)
    _save(hydra_job.get_overrides(config.hydra), "overrides.yaml", folder)


def _save(cfg: Any, filename: str, output_dir: Path) -> None:
    output_dir.mkdir(parents=True, exist_ok=True)
    content = OmegaConf.to_container(cfg, enum_to_str=True) if OmegaConf.is_config(cfg) else cfg
    with (output_dir / filename).open("w", encoding="utf-8") as file:
        yaml.dump(content, file, _Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)


def copy_config(config: DictConfig) -> DictConfig:
    """A deep copy, in half the time that ``deepcopy`` needs."""
    copy: DictConfig = pickle.loads(pickle.dumps(config))
    return copy


def _copy_with(first: Sequence[Override], pickled: bytes, overrides: Sequence[Override]) -> DictConfig | None:
    """A copy of ``first``'s config with other single values; None where Hydra should report a wrong one."""
    config: DictConfig = pickle.loads(pickled)
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
