"""Note on the errors of Hydra's composition where in one's own files the mistake is."""

from __future__ import annotations

import pickle
import re
import warnings
from codecs import BOM_UTF8
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import Overrides
from hydra.core.default_element import InputDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner.config.mistakes.defaults import describe_defaults, describe_header, finish_composed
from runner.config.mistakes.places import (
    KEY,
    MESSAGE,
    Composition,
    MergePart,
    add_place,
    find_full_key,
    find_key,
    is_own,
)
from runner.core.errors import ConfigError, RunnerError
from runner.core.paths import CONF, show_file

CHOICES = ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP
_load = ConfigLoaderImpl._load_configuration_impl
_read = ConfigRepository.load_config
_list_choices = defaults_list._create_interpolation_map
_files: dict[tuple[str, ...], tuple[object, bytes]] = {}
"""Option files as they were read, with the state in which each was found."""


def install(kind: type, merge_part: MergePart) -> None:
    """Watch the compositions of configs of this kind, and of no other; ``merge_part`` merges an option file.

    This replaces private functions of Hydra, for which it has no hooks.
    """

    merge_before = ConfigLoaderImpl._compose_config_from_defaults_list

    def load(
        self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], *rest: Any, **more: Any
    ) -> DictConfig:
        ours = any(source.path.endswith(str(CONF)) for source in self.get_sources())
        mode = more.get("run_mode", rest[0] if rest else RunMode.RUN)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "provider=hydra.searchpath")
                first = _list_first_options(self, overrides) if ours and mode == RunMode.MULTIRUN else []
                config = _load(self, config_name, [*first, *overrides], *rest, **more)
                del config.hydra.overrides.task[: len(first)]
                return config
        except UserWarning as missing:
            folder = str(missing).partition("path=")[2].removesuffix(" is not available.")
            if not folder:
                raise
            raise ConfigError(f"hydra.searchpath: {folder}: no such folder; write file:///path") from None
        except Exception as error:
            if ours:
                with suppress(Exception):  # a mistake that cannot be placed is told without its place
                    _note_place(error, Composition(self, config_name, overrides, mode), merge_part)
            raise

    def merge(self: ConfigLoaderImpl, defaults: Any, repo: Any) -> DictConfig:
        config = merge_before(self, defaults, repo)
        if OmegaConf.get_type(config) is kind:
            finish_composed(defaults, repo, config)
        return config

    ConfigLoaderImpl._load_configuration_impl = load  # type: ignore[method-assign]
    ConfigLoaderImpl._compose_config_from_defaults_list = merge  # type: ignore[method-assign]
    ConfigRepository.load_config = _read_once  # type: ignore[method-assign]
    defaults_list._create_interpolation_map = _list_choices_if_read


def _list_first_options(loader: ConfigLoaderImpl, overrides: list[str]) -> list[str]:
    """The first option of each swept group, for the config that a sweep begins with.

    Hydra would leave out the group there, so that a key that only the swept options have were unknown.
    """
    parsed = OverridesParser.create().parse_overrides(overrides)
    fixed = {each.get_key_element() for each in parsed if not each.is_sweep_override()}
    swept = [
        each
        for each in parsed
        if each.value_type in CHOICES
        and loader.repository.group_exists(each.key_or_group)
        and each.get_key_element() not in fixed
    ]
    return [f"{each.get_key_element()}={next(iter(each.sweep_string_iterator()))}" for each in swept]


def _list_choices_if_read(
    overrides: Overrides, defaults_list: list[InputDefault], self_added: bool
) -> DictConfig:
    """The options chosen so far. Hydra lists them for each file and reads them for ``db: mine_${server}``."""
    if any(default.is_interpolation() for default in defaults_list):
        return _list_choices(overrides, defaults_list, self_added)
    return OmegaConf.create()


def _read_once(self: ConfigRepository, config_path: str) -> ConfigResult | None:
    """Read an option file, once for all compositions of the process as long as the file stays the same."""
    source = self._find_object_source(config_path, ObjectType.CONFIG)
    if source is None or source.scheme() not in ("file", "pkg"):
        return _read(self, config_path)
    name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
    file = Path(source.path, name) if source.scheme() == "file" else None
    found = file.stat() if file else None  # Hydra's own files stay as they are
    state = found and (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    key = source.provider, source.path, name
    known, pickled = _files.get(key, (None, b""))
    if not pickled or known != state:
        read = _read_after_mark(self, config_path, file) if file else _read(self, config_path)
        pickled = pickle.dumps(read)
        _files[key] = state, pickled
    result: ConfigResult = pickle.loads(pickled)  # a copy, since Hydra changes what it gets
    return result


def _read_after_mark(repository: ConfigRepository, config_path: str, file: Path) -> ConfigResult | None:
    """Read a file whose first line is a header also where a byte order mark stands before it."""
    result = _read(repository, config_path)
    if result and not result.header.get("package"):
        with file.open("rb") as opened:
            start = opened.read(512)
        if start.startswith(BOM_UTF8):
            result.header = ConfigSource._get_header_dict(start.decode("utf-8-sig", errors="ignore"))
    return result


def _note_place(error: Exception, composition: Composition, merge_part: MergePart) -> None:
    """Note what can be found out: all that is to be said, or the place, or nothing."""
    if isinstance(error, RunnerError):
        add_place(error, composition.find_place(find_key(str(error))))
    elif not composition.parts and (message := describe_defaults(composition, error)):
        error.add_note(MESSAGE + message)
    elif failed := composition.find_failed_merge(merge_part):
        part, key = failed
        if message := describe_header(composition, part, key):
            error.add_note(MESSAGE + message)
            return
        error.add_note(KEY + key)
        add_place(error, part.show_place(key))
    elif composition.parts and (key := find_full_key(error)):
        add_place(error, composition.find_place(key))
    elif named := re.match(r"In '?([\w/.-]+)'?: ", str(error)):
        file = dict(composition.list_files()).get(named[1])
        add_place(error, show_file(file) if file and is_own(file) else "")
