"""Note on the errors of Hydra's composition where in one's own files the mistake is."""

from __future__ import annotations

import re
import warnings
from codecs import BOM_UTF8
from contextlib import suppress
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner.config.mistakes.defaults import describe_defaults, describe_header, finish_composed
from runner.config.mistakes.places import (
    KEY,
    MESSAGE,
    Composition,
    add_place,
    find_full_key,
    find_key,
    is_own,
)
from runner.core.errors import ConfigError, RunnerError
from runner.core.paths import CONF, show_file

_load = ConfigLoaderImpl._load_configuration_impl
_read = ConfigRepository.load_config


def install(kind: type) -> None:
    """Watch the compositions of configs of this kind, and of no other.

    This replaces private functions of Hydra, for which it has no hooks.
    """

    merge_before = ConfigLoaderImpl._compose_config_from_defaults_list

    def load(
        self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], *rest: Any, **more: Any
    ) -> DictConfig:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "provider=hydra.searchpath")
                return _load(self, config_name, overrides, *rest, **more)
        except UserWarning as missing:
            folder = str(missing).partition("path=")[2].removesuffix(" is not available.")
            if not folder:
                raise
            raise ConfigError(f"hydra.searchpath: {folder}: no such folder; write file:///path") from None
        except Exception as error:
            if any(source.path.endswith(str(CONF)) for source in self.get_sources()):
                mode = more.get("run_mode", rest[0] if rest else RunMode.RUN)
                with suppress(Exception):  # a mistake that cannot be placed is told without its place
                    _note_place(error, Composition(self, config_name, overrides, mode))
            raise

    def merge(self: ConfigLoaderImpl, defaults: Any, repo: Any) -> DictConfig:
        config = merge_before(self, defaults, repo)
        if OmegaConf.get_type(config) is kind:
            finish_composed(defaults, repo, config)
        return config

    ConfigLoaderImpl._load_configuration_impl = load  # type: ignore[method-assign]
    ConfigLoaderImpl._compose_config_from_defaults_list = merge  # type: ignore[method-assign]
    ConfigRepository.load_config = _read_after_mark  # type: ignore[method-assign]


def _read_after_mark(self: ConfigRepository, config_path: str) -> ConfigResult | None:
    """Read a file whose first line is a header also where a byte order mark stands before it."""
    result = _read(self, config_path)
    if result and result.path.startswith("file://") and not result.header.get("package"):
        name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
        with open(f"{result.path.removeprefix('file://')}/{name}", "rb") as file:
            start = file.read(512)
        if start.startswith(BOM_UTF8):
            result.header = ConfigSource._get_header_dict(start.decode("utf-8-sig", errors="ignore"))
    return result


def _note_place(error: Exception, composition: Composition) -> None:
    """Note what can be found out: all that is to be said, or the place, or nothing."""
    if isinstance(error, RunnerError):
        add_place(error, composition.find_place(find_key(str(error))))
    elif message := _describe(error, composition):
        error.add_note(MESSAGE + message)
    elif composition.parts and (failed := composition.find_failed_merge()):
        part, key = failed
        error.add_note(KEY + key)
        add_place(error, part.show_place(key))
    elif composition.parts and (key := find_full_key(error)):
        add_place(error, composition.find_place(key))
    elif named := re.match(r"In '?([\w/.-]+)'?: ", str(error)):
        file = dict(composition.list_files()).get(named[1])
        add_place(error, show_file(file) if file and is_own(file) else "")


def _describe(error: Exception, composition: Composition) -> str:
    if not composition.parts:
        return describe_defaults(composition, error)
    failed = composition.find_failed_merge()
    return describe_header(composition, *failed) if failed else ""
