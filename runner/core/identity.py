"""What identifies content: its digest; and, for an answer, the settings and the code of what gave it.

Equal content has an equal key on every machine.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from runner.core.errors import ConfigError
from runner.core.source import read_code

NOT_SHAPING = {
    "name", "model", "max_concurrency", "requests_per_minute", "tokens_per_minute", "priced_as", "stands_for",
    "batch", "batch_poll_s", "stored",
}  # fmt: skip
"""Settings that do not change what is answered."""
NOT_ASKING = {
    "account", "rate_limits", "shutdown_date", "count_tokens", "check_limits", "aclose", "__repr__",
}  # fmt: skip
"""Methods that do not change it."""
REMEDY = "so it cannot identify answers; give the class a method identity()"


def digest(content: Any) -> str:
    """The SHA-256 of the canonical JSON of ``content``, in hex.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def identify(provider: Any, name: str | None = None) -> dict[str, Any]:
    """Name, class, model, every setting and all own code of a provider that may shape its answers.

    Settings are found as in scikit-learn: each parameter of the constructor has an attribute of its name.
    Where the constructor takes any, the plain data that the object holds are settings, too.
    Raises :class:`ConfigError` where one has none, or holds what is not plain data: two settings with one
    identity would share their answers.
    """
    kind = type(provider)
    model = getattr(provider, "stands_for", None) or provider.model
    found = {"provider": name or provider.name, "class": f"{kind.__module__}.{kind.__qualname__}"}
    settings = _read_settings(provider, _list_shaping(provider))
    return found | {"model": model} | settings | identify_code(kind)


def identify_more(provider: Any) -> dict[str, Any]:
    """The settings and the code that a user's subclass of a provider of this package adds to its base."""
    kind = type(provider)
    base = next(base for base in kind.__mro__ if _is_ours(base))
    known = {*list_settings(base), *list_declared(base)}
    added = _read_settings(provider, [name for name in list_settings(kind) if name not in known])
    return added | identify_code(kind)


def identify_code(kind: type) -> dict[str, str]:
    """The digest of a user's own code behind a class, as ``code``; nothing for a class of this package.

    Raises :class:`ConfigError` for a class whose code cannot be read.
    """
    return {} if _is_ours(kind) else {"code": _digest_code(kind)}


@cache
def _digest_code(kind: type) -> str:
    code = read_code(kind, NOT_SHAPING | NOT_ASKING)
    if not code:
        raise ConfigError(f"provider: the code of {kind.__name__} cannot be read, {REMEDY}")
    return digest(code)[:32]


def read_identity(provider: Any) -> dict[str, Any]:
    """What a provider says identifies its answers; raises :class:`ConfigError` unless that is plain data."""
    identity = provider.identity()
    try:
        json.dumps(found := dict(identity))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"provider: identity() of {provider.name} must return plain data by name, got {identity!r:.80}"
        ) from error
    return found


def check_identity(provider: Any, given: Iterable[str], key: str = "provider") -> None:
    """Raise :class:`ConfigError` if a given setting is in no identity: its values would share answers."""
    kind, identity = type(provider), getattr(provider, "identity", None)
    if _is_ours(kind) or (callable(identity) and not _is_ours(identity)):
        return
    known = {*NOT_SHAPING, *_list_shaping(provider)}
    if hidden := [name for name in given if name not in known]:
        raise ConfigError(f"{key}.{hidden[0]}: is no parameter or attribute of {kind.__name__}, {REMEDY}")


def list_settings(kind: type) -> list[str]:
    """The parameters of a class's constructor.

    Where it takes any, also those of its bases' constructors and the attributes that the class declares.
    """
    names, is_open = _read_signature(kind)
    if not is_open:
        return names
    bases = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
    inherited = [name for base in bases for name in _read_signature(base)[0] if name != "self"]
    return list(dict.fromkeys([*names, *inherited, *list_declared(kind)]))


def _list_shaping(provider: Any) -> list[str]:
    """The settings of an object; where its constructor takes any, also the plain data that it holds."""
    kind = type(provider)
    held = vars(provider).items() if _read_signature(kind)[1] and hasattr(provider, "__dict__") else ()
    plain = [name for name, value in held if not name.startswith("_") and _is_plain(value)]
    return list(dict.fromkeys([*list_settings(kind), *plain]))


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def list_declared(kind: type) -> list[str]:
    """Public attributes that a class and its bases declare and that are not methods."""
    names = {name for base in kind.__mro__ for name in (*vars(base), *vars(base).get("__annotations__", ()))}
    return sorted(name for name in names if not name.startswith("_") and _is_data(kind, name))


def _read_signature(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """The named parameters, and whether there may be others."""
    parameters = inspect.signature(function).parameters.values()
    named = [item.name for item in parameters if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)]
    return named, len(named) < len(parameters)


def _is_data(kind: type, name: str) -> bool:
    value = inspect.getattr_static(kind, name, None)
    return not callable(value) and not isinstance(value, property | classmethod | staticmethod)


def _is_ours(thing: Any) -> bool:
    return str(thing.__module__).split(".")[0] == "runner"


def _read_settings(provider: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: _read_plain(provider, name) for name in names if name not in NOT_SHAPING}


def _read_plain(provider: Any, name: str) -> Any:
    try:
        json.dumps(value := getattr(provider, name))
    except (AttributeError, TypeError, ValueError) as error:
        fault = "not an attribute" if isinstance(error, AttributeError) else "not plain data"
        raise ConfigError(f"provider.{name}: is {fault} of {type(provider).__name__}, {REMEDY}") from error
    return value
