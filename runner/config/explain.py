"""Turn any exception into one clear message: the key, the value, the nearest valid choice."""

from __future__ import annotations

import dataclasses
import os
import re
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import hydra
import omegaconf
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError
from yaml.reader import ReaderError

from runner.config.mistakes.interpolation import explain_interpolation
from runner.config.mistakes.kinds import explain_form, explain_kind
from runner.config.mistakes.missing import name_package
from runner.config.mistakes.places import (
    KEY,
    MESSAGE,
    add_place,
    find_config_error,
    find_full_key,
    find_key,
    find_note,
    find_place,
)
from runner.config.mistakes.quoting import quote_override
from runner.config.overrides import RENAMED
from runner.core.errors import (
    ConfigError,
    RunnerError,
    describe_decoding,
    describe_error,
    describe_yaml_error,
    find_code_line,
    is_mistake,
    suggest,
)
from runner.core.paths import CONF, list_options, show_file

_STANDARD, _PACKAGES = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")
_HYDRA = tuple(os.path.join(Path(str(package.__file__)).parent, "") for package in (hydra, omegaconf))
TRACEBACK = "HYDRA_FULL_ERROR=1 shows the traceback."
ADD_M = "to sweep over it, add -m"


def explain(error: Exception) -> tuple[str, int]:
    """The message and the exit code: 2 for a mistake that was found before anything was paid, else 1."""
    if isinstance(error, RunnerError):
        return f"error: {error}", 2 if is_mistake(error) else 1
    if told := find_note(error, MESSAGE):
        return f"error: {told}", 2
    unreadable = isinstance(error, YAMLError | UnicodeDecodeError | RecursionError)
    if unreadable and (file := _find_option_file(error)):
        return f"error: {_describe_unreadable(error, file)}{_find_unquoted(file, error)}", 2
    config_error = find_config_error(error)
    if config_error is not None or isinstance(error, HydraException):
        place = find_note(error)
        said = _explain_composition(error, config_error, has_place=bool(place))
        return f"error: {place}: {said}" if place else f"error: {said}", 2
    if isinstance(error, YAMLError):
        return f"error: {describe_yaml_error(error)}", 2
    own = _find_files(error)
    is_hydras = bool(own) and own[-1].startswith(_HYDRA)
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"error: {place}{error.strerror}", 2 if is_hydras else 1
    if is_hydras:
        return f"error: {_explain_refusal(error)}", 2
    if find_code_line(error):  # a user's own class
        return f"error: {describe_error(error)}\n{TRACEBACK}", 1
    return f"internal error: {type(error).__name__}: {error}\n{TRACEBACK}", 1


@contextmanager
def tell_places(hydra: Any) -> Iterator[None]:
    """Put the file and line first in a message about a key that one's own option file has set.

    ``hydra`` is the job's ``hydra`` node. A value that cannot be resolved is raised as :class:`ConfigError`.
    """
    try:
        yield
    except RunnerError as error:
        add_place(error, find_place(hydra, find_key(str(error))))
        raise
    except OmegaConfBaseException as error:
        refused = ConfigError(explain(error)[0].removeprefix("error: "))
        add_place(refused, find_place(hydra, find_key(str(refused)) or find_full_key(error)))
        raise refused from error


def _find_files(error: BaseException) -> list[str]:
    """The files of the code that took part in an error, without the standard library's."""
    names = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    return [name for name in names if name.startswith(_PACKAGES) or not name.startswith((_STANDARD, "<"))]


def _explain_refusal(error: Exception) -> str:
    """What Hydra or OmegaConf says of an input that it cannot use, whatever the type of its exception."""
    if isinstance(error, RecursionError):
        return "an option file chooses itself in its defaults, or does so by way of others"
    said, _, place = str(error).partition("full_key: ")
    key = place.partition("\n")[0].strip()
    if key and "object_type=NoneType" in place:
        return f"{key}: is null, so no key of it can be set; choose an option first, {key}=…"
    return (f"{key}: " if key else "") + " ".join(said.split()) or type(error).__name__


def _find_option_file(error: BaseException) -> str:
    """The option file that Hydra was reading; empty if it was reading none."""
    frames = [frame.f_locals for frame, _ in walk_tb(error.__traceback__) if "full_path" in frame.f_locals]
    return str(frames[-1]["full_path"]) if frames else ""


def _describe_unreadable(error: Exception, file: str) -> str:
    """The place and the reason of what keeps an option file from being read."""
    shown = show_file(Path(file))
    if isinstance(error, UnicodeDecodeError):
        return f"{shown}, {describe_decoding(error)}"
    if isinstance(error, RecursionError):
        return f"{shown}: its lists and mappings are nested too deeply"
    if isinstance(error, ReaderError):
        line = Path(file).read_bytes().decode(errors="replace")[: error.position].count("\n") + 1
        return f"{shown}, line {line}: has the character {error.character:#04x}, which YAML does not allow"
    return describe_yaml_error(error).replace(file, shown)  # a mark knows the file, too


def _find_unquoted(file: str, error: Exception) -> str:
    """A hint where the line that YAML cannot read begins a value with ``{{``, ``{%`` or ``>``; else empty."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return ""
    lines = Path(file).read_bytes().decode(errors="replace").splitlines()[max(0, mark.line - 1) :][:2]
    if any(re.search(r":\s+\{[{%]", line) for line in lines):
        return "; put quotes around a text that begins with {{ or {%, or write it below |"
    if found := re.search(r"[:\-]\s+(>=?\s*[-+.\d][^#]*)", lines[-1]):
        return f"; put quotes around a text that begins with >, such as '{found[1].strip()}'"
    return ""


def _explain_composition(error: Exception, inner: OmegaConfBaseException | None, has_place: bool) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_missing_option(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not an override ({_find_reason(str(error), error.override)})"
    if found := _ODD_KEY.search(str(error if inner is None else inner)):
        return _explain_odd_key(found, "" if has_place else str(error))
    if inner is None:
        said = re.sub(r"^In '[^']+': ", "", str(error)) if has_place else str(error)
        return _explain_ambiguous(said) or _explain_other_place(said) or " ".join(said.split())
    if isinstance(inner, MissingMandatoryValue):
        return f"{inner.full_key}: a value is required"
    key, first = find_note(error, KEY) or str(inner.full_key or ""), str(inner).splitlines()[0]
    if missing := re.search(r"Missing mandatory value: (\S+)$", first):
        return f"{missing[1]}: a value is required"
    if said := explain_interpolation(inner):
        return f"{key}: {said}" if key else said
    if (
        isinstance(inner, ConfigKeyError)
        or "not in" in first
        or type(inner).__name__ == "ConfigAttributeError"
    ):
        if now := RENAMED.get(key):
            return f"{key}: no such key; it is now {now}"
        return f"{key}: no such key{_suggest_key(inner, key)}"
    file = None if has_place else re.match(r"In '([^']+)'", str(error))
    kind = explain_form(inner, "" if has_place else key) or explain_kind(first)
    return ": ".join(filter(None, [f"{file[1]}.yaml" if file else "", key, kind or first]))


_ODD_KEY = re.compile(
    r"Key (?P<key>.*) \(\w+\) is incompatible with \(str\)(?:\s+full_key: (?P<place>\S+))?"
    r"|Incompatible key type '(?P<kind>\w+)'(?:\s+full_key: (?P<node>\S+))?"
)
"""What OmegaConf says about a key of a mapping that is no text."""


def _explain_odd_key(found: re.Match[str], message: str) -> str:
    """Say which key to quote, and in which option file."""
    file = re.match(r"In '([^']+)'", message)
    place = (found["place"] or "").rpartition(".")[0] or found["node"] or ""
    where = ": ".join(filter(None, (f"{file[1]}.yaml" if file else "", place)))
    key = (
        f"the key {found['key']}"
        if found["key"]
        else "the key null"
        if found["kind"] == "NoneType"
        else "a key"
    )
    return (
        f"{where or 'a mapping'}: {key} is no text; quote it (YAML reads yes, no, on and off as truth values,"
        " as well as true and false)"
    )


def _find_reason(message: str, override: str | None) -> str:
    """Return how to quote an override, else what the parser of overrides says, in one line."""
    if quoted := quote_override(override or ""):
        return f"quote a value with special characters: {quoted}"
    if message.startswith("LexerNoViableAlt") or "no viable alternative" in message:
        return "a bracket or a quote is not closed, or stands where none belongs"
    lines = [line for line in message.splitlines() if not line.startswith("Error parsing override")]
    return lines[0].partition(" expecting {")[0]


def _explain_ambiguous(message: str) -> str:
    """Say what to do about several values without a sweep; empty if the message is about something else.

    >>> _explain_ambiguous("Ambiguous value for argument 'seed=1,2'\\n1. To use it as a list, …")
    'seed=1,2: to sweep over it, add -m'
    """
    found = re.match(r"Ambiguous value for argument '(.*)'", message)
    return f"{found[1]}: {ADD_M}" if found else ""


def _explain_other_place(message: str) -> str:
    """Say why a group cannot be chosen at a place such as ``provider@judge.provider``; else empty."""
    found = re.match(
        r"Could not override '(\w+@([\w-]+)\S*)'\.(?: Did you mean to override (\S+)\?)?", message
    )
    if not found:
        return ""
    if "@" in (found[3] or ""):
        return f"{found[1]}: nothing is chosen there; did you mean {found[3]!r}?"
    if (CONF / found[2]).is_dir():
        return f"{found[1]}: nothing is chosen there; choose another option of {found[2]} first, {found[2]}=…"
    groups = [child.name for child in CONF.iterdir() if child.is_dir()]
    return f"{found[1]}: there is no {found[2]!r}{suggest(found[2], groups)}"


def _explain_missing_option(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file)
    group, _, option = missing.partition("/")
    if group == "hydra" or not (CONF / group).is_dir():
        group, _, option = missing.rpartition("/")
    # Hydra does not list options in folders, nor those where several may be chosen
    choices = {*map(str, error.options or ()), *list_options(group)}
    if not group or str(error).startswith("Cannot find primary config"):
        return f"--config-name {missing}: no such config among the shipped ones and in --config-dir"
    hint = suggest(option, choices) or f"; docs/reference.md lists the options of {group}"
    return f"{group}={option}: {name_package(missing) or 'no such option' + hint}"


def _suggest_key(error: OmegaConfBaseException, key: str) -> str:
    """The nearest valid key at the place of a wrong one, or how one is added to an empty mapping.

    A value with keys of its own is added one level higher.
    """
    (place, _, name), node = key.rpartition("."), error.parent_node
    if dataclasses.is_dataclass(error.object_type):
        return suggest(name, [field.name for field in dataclasses.fields(error.object_type)])
    if isinstance(node, Mapping) and node:
        return suggest(name, map(str, node))
    kind = getattr(getattr(node, "_metadata", None), "element_type", None)
    added = f"{place}={{{name}: …}}" if place and dataclasses.is_dataclass(kind) else f"{key}=…"
    return f"; +{added} adds one"
