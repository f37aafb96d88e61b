"""Which option file set a key of a composed config, and in which line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.mistakes.lines import OptionFile, split_key
from runner.core.errors import RunnerError
from runner.core.paths import CONF, show_file

_KEY = re.compile(r"(?P<key>[A-Za-z_]\w*(?:\.[\w-]+|\[\w+\])*)(?P<end>[:=]| (?:and|is|are) )")
"""A key at the start of a message."""
PLACE, KEY, MESSAGE = "place: ", "key: ", "message: "
"""How notes on an error begin: its place, its whole key, or the place and all that is to be said."""


def list_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that …, each once: OmegaConf's errors can be causes in a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def find_note(error: BaseException, kind: str = PLACE) -> str:
    """What was noted on an error or on its cause, by default the place; empty if nothing was."""
    notes = (note for cause in list_causes(error) for note in getattr(cause, "__notes__", ()))
    return next((str(note.removeprefix(kind)) for note in notes if note.startswith(kind)), "")


def add_place(error: BaseException, place: str) -> None:
    """Note the file and line of a mistake on its error; the message of this package's own begins with it."""
    if not place or find_note(error):
        return
    error.add_note(PLACE + place)
    if isinstance(error, RunnerError):
        error.args = (f"{place}: {error}",)


def find_key(message: str) -> str:
    """The key with which a message begins; empty if it begins with none.

    >>> find_key("dataset.columns.a='b': the file has no such column"), find_key("row 3: is empty")
    ('dataset.columns.a', '')
    """
    found = _KEY.match(message)
    return found["key"] if found else ""


def find_config_error(error: BaseException) -> OmegaConfBaseException | None:
    """What OmegaConf raised: an error, or its cause; None if neither is of OmegaConf."""
    return next((cause for cause in list_causes(error) if isinstance(cause, OmegaConfBaseException)), None)


def find_full_key(error: BaseException) -> str:
    """The key that OmegaConf names for an error or for its cause; empty if it names none."""
    found = find_config_error(error)
    return str(found.full_key or "") if found else ""


def find_place(hydra: Any, key: str) -> str:
    """The file and line at which one's own option file has set a key of the running job; else empty.

    ``hydra`` is the job's ``hydra`` node. A key that the command line or a shipped file has set has no place.
    """
    state = GlobalHydra.instance()
    loader = state.config_loader() if state.is_initialized() else None
    if not key or not isinstance(loader, ConfigLoaderImpl):
        return ""
    typed = OmegaConf.to_container(hydra.overrides)  # as typed, with unresolved interpolations
    assert isinstance(typed, dict)
    try:
        composition = Composition(
            loader, hydra.job.config_name, [*typed["hydra"], *typed["task"]], RunMode.RUN
        )
        return composition.find_place(key)
    except Exception:  # a mistake that cannot be placed is told without its place
        return ""


def show_place(file: Path, line: int | None) -> str:
    """The place of a line in an option file, as messages name it."""
    return f"{show_file(file)}, line {line}" if line else show_file(file)


MergePart = Callable[[DictConfig, Any, ResultDefault], None]
"""Merges an option file into a config, as configs are composed."""


@dataclass
class Part:
    """An option file with the package that its keys are put into, in the order in which they are merged."""

    default: ResultDefault
    file: Path | None

    @cached_property
    def lines(self) -> OptionFile | None:
        return OptionFile(self.file) if self.file else None

    def show_place(self, key: str) -> str:
        """The place of a key of the whole config, or of the nearest one above it; empty without a file."""
        parts = split_key(key)
        lines = (self.find_line(parts[:end]) for end in range(len(parts), 0, -1))
        return show_place(self.file, next(filter(None, lines), None)) if self.file else ""

    @property
    def folder(self) -> str:
        """The group of the option, as far as its first name."""
        return (self.default.config_path or "").partition("/")[0]

    @property
    def package(self) -> list[str]:
        return split_key(self.default.package or "")

    def find_line(self, parts: Sequence[str]) -> int | None:
        """The line of a key of the whole config; 0 for the package itself, None if it is not set here."""
        package = self.package
        if self.lines is None or list(parts[: len(package)]) != package:
            return None
        return self.lines.find_line(parts[len(package) :]) if len(parts) > len(package) else 0


class Composition:
    """One composition of a config: its option files and what was typed."""

    def __init__(
        self, loader: ConfigLoaderImpl, config_name: str | None, overrides: list[str], mode: RunMode
    ) -> None:
        self._loader, self._name, self._mode = loader, config_name, mode
        self._tried: list[str] = [config_name or ""]
        self.overrides, self.repository = self._read(overrides)

    def _read(self, overrides: list[str]) -> tuple[list[Override], CachingConfigRepository]:
        overrides_read, repository = self._loader._parse_overrides_and_create_caching_repo(
            self._name, overrides
        )
        read = repository.delegate.load_config

        def load(config_path: str) -> ConfigResult | None:
            self._tried.append(config_path)
            return read(config_path)

        repository.delegate.load_config = load  # type: ignore[method-assign]
        return overrides_read, repository

    @cached_property
    def parts(self) -> list[Part]:
        """The option files as they are merged; empty where the defaults cannot be followed."""
        try:
            found = create_defaults_list(
                repo=self.repository,
                config_name=self._name,
                overrides_list=self.overrides,
                prepend_hydra=True,
                skip_missing=self._mode == RunMode.MULTIRUN,
            )
        except Exception:  # it is the mistake to be described
            return []
        return [Part(default, find_file(self.repository, default)) for default in found.defaults]

    def list_files(self) -> list[tuple[str, Path]]:
        """The option files that were read, with their names in the search path, the last one first."""
        found = []
        for name in dict.fromkeys(reversed(self._tried)):
            source = self.repository.delegate._find_object_source(name, ObjectType.CONFIG)  # type: ignore[attr-defined]
            if source and source.scheme() == "file":
                found.append((name, _complete(Path(source.path), name)))
        return found

    def list_folders(self) -> list[Path]:
        """The folders of options that are searched, without the shipped one."""
        folders = [Path(source.path) for source in self.repository.get_sources() if source.scheme() == "file"]
        return [folder for folder in folders if folder != CONF]

    def find_place(self, key: str) -> str:
        """The place of a key, or of the nearest one above it; empty if no file of one's own has set it."""
        if not self.list_folders() and not is_own(CONF):
            return ""
        wanted = split_key(key)
        swept = ["hydra", "sweeper", "params", key]
        typed = self._list_typed()
        above = [wanted[:length] for length in range(len(wanted), 0, -1)]
        if any(wanted[: len(key)] == key for key in typed):
            above = []
        elif any(key[: len(wanted)] == wanted for key in typed):
            above = [wanted]
        for parts in [swept, *above]:
            for part in reversed(self.parts):
                line = part.find_line(parts)
                if line is not None and part.file and (line or parts is not swept):
                    return show_place(part.file, line) if is_own(part.file) else ""
        return ""

    def _list_typed(self) -> list[list[str]]:
        """The keys that the command line sets, as their parts."""
        keys = (item.key_or_group for item in self.overrides)
        return [split_key(key) for key in keys if not self.repository.group_exists(key)]

    def find_failed_merge(self, merge_part: MergePart) -> tuple[Part, str] | None:
        """The part that cannot be merged into what is there, and the key at which it fails."""
        config = OmegaConf.create()
        for part in self.parts:
            loaded = self._loader._load_single_config(part.default, self.repository).config
            try:
                merge_part(config, loaded, part.default)
            except OmegaConfBaseException as error:
                key = str(error.full_key or "")
                if not key or part.find_line(split_key(key)) is None:
                    key = _complete_key(key, _find_refused(loaded, config))
                return part, key
        return None

    def find_owner(self, part: Part) -> Part:
        """The option whose defaults chose this part, by way of others or not, and which is of the group whose
        name its keys are put below; the part itself where there is none."""
        owner, seen = part, [part]
        while owner.folder != part.package[0]:
            above = [other for other in self.parts if other.default.config_path == owner.default.parent]
            if not above or above[0] in seen:
                return part
            owner = above[0]
            seen.append(owner)
        return owner


def is_own(file: Path) -> bool:
    """Whether an option file may be the user's own: it is not shipped, or lies in the working folder."""
    return not file.is_relative_to(CONF) or file.is_relative_to(Path.cwd())


def find_file(repository: CachingConfigRepository, default: ResultDefault) -> Path | None:
    """The file of an option; None for what is no file."""
    name = default.config_path
    return _locate(name, repository.load_config(name)) if name else None


def _locate(name: str, result: ConfigResult | None) -> Path | None:
    scheme, _, folder = result.path.partition("://") if result else ("", "", "")
    return _complete(Path(folder), name) if scheme == "file" else None


def _complete(folder: Path, name: str) -> Path:
    return folder / (name if name.endswith(".yaml") else f"{name}.yaml")


def _complete_key(key: str, refused: str) -> str:
    """The whole key of a value: OmegaConf names none for some values, and forgets what is above a list."""
    if not key or not refused or refused.endswith(key):
        return refused or key
    return f"{refused}.{key}"


def _find_refused(given: Any, there: Any, key: str = "") -> str:
    """The key of the first value that cannot be merged by itself."""
    if OmegaConf.is_list(given) and OmegaConf.is_list(there):
        for index, item in enumerate(given._iter_ex(resolve=False)):
            probe = deepcopy(there)
            try:
                probe.merge_with([item])
            except OmegaConfBaseException:
                return f"{key}[{index}]"
    if not OmegaConf.is_dict(given) or not OmegaConf.is_dict(there) or there._is_none():
        return key
    for name in given:
        value, probe = given._get_node(name), deepcopy(there)
        try:
            probe.merge_with({name: value})
        except OmegaConfBaseException:
            before = there._get_node(name, validate_access=False, validate_key=False)
            return _find_refused(value, before, f"{key}.{name}" if key else str(name))
    return key
