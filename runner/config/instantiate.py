"""Instantiate a config node that has a ``_target_``."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

from hydra import utils
from hydra.errors import InstantiationException

from runner.config.annotations import explain_misfit, fits, read_hints
from runner.core.errors import ConfigError, describe_error, find_code_line, suggest
from runner.core.identity import list_settings
from runner.core.paths import list_options
from runner.core.provider import Provider

GIVEN_LATER = ("frame", "text")
"""What a run gives to a metric and to a parser; a config cannot give it."""


def instantiate(node: Any, key: str, method: str = "") -> Any:
    """Make the object of a node; ``key`` is the place of the node in the config, for messages.

    A plain function that needs one of :data:`GIVEN_LATER` first is not called, as with ``_partial_``.

    Raises :class:`ConfigError` if the class does not exist, if an argument is unknown or missing, or if the
    class itself raises. ``method`` is what the object must have.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{key}: expected a mapping with _target_, got {node!r}{_suggest_node(node, key)}")
    target = find_target(node["_target_"], key)
    if method and not hasattr(target, method):
        raise ConfigError(f"{key}: {node['_target_']} has no {method!r}")
    node = _check_nodes(node, key)
    try:
        return utils.instantiate(_shield(node), _convert_="all")
    except (Exception, SystemExit) as error:  # Hydra's own refusals have several types
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, ConfigError):
            raise ConfigError(put_key_first(key, str(cause))) from error
        said = " ".join(str(error).split())  # Hydra breaks its lines
        if cause:
            said = describe_error(cause) if find_code_line(cause) else str(cause).partition("\n")[0]
        raise ConfigError(f"{key}: cannot make {node['_target_']}: {said}") from error


def escape(node: Any) -> Any:
    """Escape what would be read as an interpolation, since in a resolved config ``${`` is only text.

    >>> escape(["costs ${x}"])
    ['costs \\\\${x}']
    """
    if isinstance(node, dict):
        return {key: escape(value) for key, value in node.items()}
    if isinstance(node, list):
        return [escape(value) for value in node]
    if isinstance(node, str):
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", node)
    return node


def _shield(node: Any) -> Any:
    """Escape a node for Hydra, which reads interpolations twice: a text that makes a node there would be run.

    ``_convert_`` is left out, since with another mode Hydra reads them more often.
    """
    return escape(escape(_drop_convert(node)))


def _drop_convert(node: Any) -> Any:
    if isinstance(node, list):
        return [_drop_convert(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {key: _drop_convert(value) for key, value in node.items() if key != "_convert_"}


def find_target(target: Any, key: str) -> Any:
    """Return the class or function of this name, also one of the working folder.

    Raises :class:`ConfigError` with the cause if it cannot.
    """
    name = str(target)
    _add_working_folder(name)
    try:
        found = resolve_name(name)
    except (Exception, SystemExit) as error:  # whatever the user's own module raises
        raise ConfigError(f"{key}._target_: {_explain_missing(name, error)}") from error
    if not callable(found):
        kind = "a module" if isinstance(found, ModuleType) else f"a value ({type(found).__name__})"
        hint = suggest("", _list_public(found)) if isinstance(found, ModuleType) else ""
        raise ConfigError(f"{key}._target_: {name} is {kind} and no class or function{hint}")
    return found


def _add_working_folder(name: str) -> None:
    """Let the modules of the working folder be found, behind all that is installed."""
    folder = os.getcwd()
    if not name.startswith("runner.") and folder not in sys.path:
        sys.path.append(folder)


def check_names(target: Any, key: str, names: Iterable[str]) -> None:
    """Raise :class:`ConfigError` for the first of these keys that the class of a node does not take."""
    found = find_target(target, key)
    known = _list_parameters(found, key)
    if known is None:
        return
    for name in names:
        if not name.startswith("_") and name not in known:
            raise ConfigError(f"{key}.{name}: {_explain_unknown(found, name, known)}")


def check_call(made: Any, key: str, given: str) -> None:
    """Raise :class:`ConfigError` unless an object or a method can be called with one value, ``given``."""
    name = getattr(made, "__qualname__", f"{type(made).__name__}.__call__")
    if not callable(made):
        raise ConfigError(f"{key}: {type(made).__name__} cannot be called; it needs {name}(self, {given})")
    try:
        inspect.signature(made).bind(given)
    except TypeError as error:
        raise ConfigError(f"{key}: {name} cannot be called with ({given}): {error}") from error
    except ValueError:  # a built-in function may have no signature
        return


def check_new_class(node: Mapping[str, Any], target: Any, key: str) -> None:
    """Check that a node's settings, made for its class, may be those of another class, too.

    Raises :class:`ConfigError` that names those which it does not take. Another provider must extend the old
    one, since it would else bear its model's name and price, and so must a class that takes any setting.
    """
    found, old = find_target(target, key), find_target(node["_target_"], key)
    if isinstance(found, type) and isinstance(old, type) and issubclass(found, old):
        known = _list_parameters(found, key)
    else:
        known = [] if hasattr(old, "complete") else _list_parameters(found, key) or []
    given = [str(name) for name in node if not str(name).startswith("_")]
    wrong = [name for name in given if known is not None and name not in known]
    if wrong:
        raise ConfigError(
            f"{key}._target_: {_name(found)} is not made for the settings of {_name(old)} "
            f"({', '.join(wrong)}); {key}={{_target_: {target}}} makes it without them"
        )


def _suggest_node(node: Any, key: str) -> str:
    """How the name of an option or of a shipped parser is written in a place that takes a mapping."""
    place, _, name = key.rpartition(".")
    if name == "_target_":
        return f"; put it below a name: {place}.NAME"
    if name == "parser" and callable(getattr(import_module("runner.parse"), str(node), None)):
        return f"; write {key}={{_target_: runner.parse.{node}}}"
    is_option = place and isinstance(node, str) and node in list_options(name)
    return f"; to choose an option, write {name}@{key}={node}" if is_option else ""


def _check_nodes(node: Any, key: str) -> Any:
    """Check a node and all nodes in it; return them so that a function that the run calls is not called."""
    if isinstance(node, list):
        return [_check_nodes(item, f"{key}[{index}]") for index, item in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    checked = dict(node)
    if "_target_" in node:
        target = find_target(node["_target_"], key)
        later = _find_given_later(node, target)
        _check_arguments(node, target, key, later)
        if later:
            checked["_partial_"] = True
        if node.get("_recursive_") is False:
            return checked
    return {name: _check_nodes(item, f"{key}.{name}") for name, item in checked.items()}


def _check_arguments(node: Mapping[str, Any], target: Any, key: str, later: str | None) -> None:
    """Check the keys of an open node like those of a closed group, so that a typo gets the same help."""
    check_names(node["_target_"], key, node)
    if node.get("_partial_") or "_args_" in node:
        return
    for name in _list_required(target, key):
        if name not in node and name != later:
            hint = "; _partial_: true if the run gives it" if inspect.isfunction(target) else ""
            raise ConfigError(f"{key}.{name}: a value is required{hint}")
    hints, parameters = read_hints(target), _read_signature(target, key)
    for name, value in node.items():
        if name not in hints or fits(value, hints[name]):
            continue
        if value is not None or name not in parameters or parameters[name].default is not None:
            raise ConfigError(f"{key}.{name}: {explain_misfit(value, hints[name], _name(target))}")


def _find_given_later(node: Mapping[str, Any], target: Any) -> str | None:
    """The parameter that a run gives to a plain function, or None."""
    first = _list_required(target, "")[:1] if inspect.isfunction(target) else []
    return next((name for name in first if name in GIVEN_LATER and name not in node), None)


def _list_required(target: Any, key: str) -> list[str]:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [
        name
        for name, parameter in _read_signature(target, key).items()
        if parameter.default is parameter.empty and parameter.kind not in variable
    ]


def _read_signature(target: Any, key: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key}._target_: no class {_name(target)!r} ({error})") from error


def _list_parameters(target: Any, key: str) -> list[str] | None:
    """The keys that a class takes; None for any."""
    parameters = _read_signature(target, key)
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
        return list(parameters)
    if isinstance(target, type) and target.__init__ is Provider.__init__:  # type: ignore[misc]
        return list_settings(target)
    return None


def _explain_unknown(target: Any, name: str, known: list[str]) -> str:
    declared = name in getattr(target, "__annotations__", ()) or hasattr(target, name)
    if declared and not callable(getattr(target, name, None)):
        return (
            f"the constructor of {_name(target)} does not take it; declare it there with a type, "
            "and make the class a dataclass: @dataclass(kw_only=True, eq=False)"
        )
    return f"no such key{suggest(name, known)}" if known else f"no such key; {_name(target)} takes none"


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target))


def _explain_missing(target: str, error: BaseException) -> str:
    """Say why a class cannot be found: its module cannot be imported, or has no such name."""
    *modules, wanted = target.split(".")
    if not wanted or not modules or not all(modules):
        return f"{target!r} is no name of a class, such as my_module.MyClass"
    hint = "; modules are looked for in the working folder, among the installed ones and in PYTHONPATH"
    for end in range(1, len(modules) + 1):
        name = ".".join(modules[:end])
        try:
            module = import_module(name)
            hint = _find_shadow(module) or suggest(wanted, _list_public(module))
        except (Exception, SystemExit) as fault:
            if isinstance(fault, ModuleNotFoundError) and fault.name == name:
                hint = hint if end == 1 else ""
                break
            reason = fault.msg if isinstance(fault, SyntaxError) else fault
            return f"{name} cannot be imported: {type(fault).__name__}: {reason}{find_code_line(fault)}"
    return f"no class {target!r} ({error}){hint}"


def _find_shadow(module: ModuleType) -> str:
    """A hint where a module of the working folder is hidden by one of the same name; else empty."""
    own = [Path.cwd() / f"{module.__name__}.py", Path.cwd() / module.__name__ / "__init__.py"]
    used = getattr(module, "__file__", None) or "Python itself"
    hidden = [file for file in own if file.is_file() and not Path(used).is_relative_to(Path.cwd())]
    return f"; {used} hides your {hidden[0].relative_to(Path.cwd())}, so rename yours" if hidden else ""


def _list_public(module: ModuleType) -> list[str]:
    """The classes and functions of a module, without those that it imports from elsewhere."""
    top = module.__name__.partition(".")[0]
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and str(getattr(value, "__module__", "")).partition(".")[0] == top
    ]


def put_key_first(key: str, message: str) -> str:
    """Put a key before a message that may name the same place in its own words.

    >>> put_key_first("judge.provider", "provider.model=x: no such file")
    'judge.provider.model=x: no such file'
    >>> put_key_first("metric.f1", "metric f1: labels is empty")
    'metric.f1: labels is empty'
    """
    front, _, last = key.rpartition(".")
    if message.startswith(f"{last}."):
        return f"{front}.{message}" if front else message
    return f"{key}: {re.sub(r'^(metric [^ ]+: |parser )', '', message)}"
