"""Turn any exception into one clear message: the key, the value, the nearest valid choice."""

from __future__ import annotations

import dataclasses
import re
import traceback
from collections.abc import Mapping

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from runner.core.errors import RunnerError, is_mistake, suggest
from runner.core.paths import CONF

TRACEBACK = "HYDRA_FULL_ERROR=1 shows the traceback."
ADD_M = "to sweep over it, add -m"


def explain(error: Exception) -> tuple[str, int]:
    """The message and the exit code: 2 for a mistake that was found before anything was paid, else 1."""
    if isinstance(error, RunnerError):
        return f"error: {error}", 2 if is_mistake(error) else 1
    if isinstance(error, YAMLError):
        return f"error: {_explain_yaml(error)}", 2
    if isinstance(error, UnicodeDecodeError) and (file := _find_loaded(error)):
        return f"error: {file}: is not UTF-8 ({error.reason} at byte {error.start})", 2
    config_error = _find_config_error(error)
    if config_error is not None or isinstance(error, HydraException):
        return f"error: {_explain_composition(error, config_error)}", 2
    return f"internal error: {type(error).__name__}: {error}\n{TRACEBACK}", 1


def _explain_yaml(error: YAMLError) -> str:
    """File, line and column of what is no YAML, and the parser's words for it."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _find_loaded(error: Exception) -> str:
    """The option file that Hydra was reading: only its variables name it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = [frame.f_locals.get("full_path") for frame in frames if "hydra" in frame.f_code.co_filename]
    return next((str(file) for file in found if file), "")


def _find_config_error(error: BaseException | None) -> OmegaConfBaseException | None:
    while error is not None:
        if isinstance(error, OmegaConfBaseException):
            return error
        error = error.__cause__
    return None


def _explain_composition(error: Exception, inner: OmegaConfBaseException | None) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_missing_option(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not an override ({_find_reason(str(error))})"
    if found := _ODD_KEY.search(str(error if inner is None else inner)):
        return _explain_odd_key(found, str(error))
    if inner is None:
        return _explain_ambiguous(str(error)) or " ".join(str(error).split())
    if isinstance(inner, MissingMandatoryValue):
        return f"{inner.full_key}: a value is required"
    key, first = str(inner.full_key), str(inner).splitlines()[0]
    if (
        isinstance(inner, ConfigKeyError)
        or "not in" in first
        or type(inner).__name__ == "ConfigAttributeError"
    ):
        siblings = _list_siblings(inner)
        hint = suggest(key.split(".")[-1], siblings) if siblings else f"; +{key}=… adds one"
        return f"{key}: no such key{hint}"
    return f"{key}: {first}"


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


def _find_reason(message: str) -> str:
    """Return what the parser of overrides says, in one line without the list of what it expects."""
    if message.startswith("LexerNoViableAlt"):
        return "quote a value with special characters"
    lines = [line for line in message.splitlines() if not line.startswith("Error parsing override")]
    return lines[0].partition(" expecting {")[0]


def _explain_ambiguous(message: str) -> str:
    """Say what to do about several values without a sweep; empty if the message is about something else.

    >>> _explain_ambiguous("Ambiguous value for argument 'seed=1,2'\\n1. To use it as a list, …")
    'seed=1,2: to sweep over it, add -m'
    """
    found = re.match(r"Ambiguous value for argument '(.*)'", message)
    return f"{found[1]}: {ADD_M}" if found else ""


def _explain_missing_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    choices = [str(choice) for choice in error.options or _list_options(group)]
    if not group:
        return f"no config named {option!r}"
    return f"{group}={option}: no such option{suggest(option, choices)}"


def _list_options(group: str) -> list[str]:
    """The options of a group. Hydra does not list them where several may be chosen."""
    folder = CONF / group
    return [file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")]


def _list_siblings(error: OmegaConfBaseException) -> list[str]:
    """The valid keys at the place of a wrong one."""
    if dataclasses.is_dataclass(error.object_type):
        return [field.name for field in dataclasses.fields(error.object_type)]
    node = error.parent_node
    return [str(name) for name in node] if isinstance(node, Mapping) else []
