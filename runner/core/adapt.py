"""Adapts users' classes that do not inherit from :class:`runner.core.provider.Provider`; checks answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import NoneType
from typing import Any

from runner.core.errors import ConfigError, ProviderError
from runner.core.identity import check_identity, identify
from runner.core.provider import Provider
from runner.core.types import Completion, Request

COUNT = (int, NoneType)
FIELDS: dict[str, Any] = {
    "text": str,
    "model": str,
    "finish_reason": str,
    "input_tokens": COUNT,
    "output_tokens": COUNT,
    "cached_tokens": COUNT,
    "cache_write_tokens": COUNT,
    "batch": (bool, NoneType),
    "logprobs": (list, NoneType),
    "latency_s": (float, int, NoneType),
}
"""The types of a completion's fields."""


class Adapted(Provider):
    """Wraps an object that is no :class:`Provider`: its own attributes count, and else the defaults."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self.name = str(getattr(own, "name", type(own).__name__.lower()))
        self.model = own.model
        for name in filter(_is_member, dir(own)):
            value = getattr(own, name)
            if callable(value) == callable(
                getattr(Provider, name)
            ):  # otherwise it only has the same name by chance
                setattr(self, name, value)

    async def complete(self, request: Request) -> Completion:
        """Let the object answer one request."""
        answer: Completion = await self._own.complete(request)
        return answer

    def identity(self) -> Mapping[str, Any]:
        """Identify the answers by the settings of the object; its own ``identity`` replaces this method."""
        return identify(self._own, self.name)


def adapt(made: Any, key: str = "provider", given: Iterable[str] = ()) -> Provider:
    """Return an object as a provider; ``given`` are the settings that it was made with.

    Raises :class:`ConfigError` if it lacks ``complete`` or ``model``, or if its identity lacks a setting.
    """
    missing = [name for name in ("complete", "model") if not hasattr(made, name)]
    if missing:
        raise ConfigError(f"{key}: {type(made).__name__} has no {' and no '.join(map(repr, missing))}")
    check_identity(made, given, key)
    return made if isinstance(made, Provider) else Adapted(made)


def check_completion(answer: Any, name: str) -> Completion:
    """Return what the provider ``name`` answered, as it can be stored.

    A lone surrogate, half a character, is in no encoding; it becomes U+FFFD. Raises :class:`ProviderError`
    for a value of the wrong type.
    """
    if not isinstance(answer, Completion):
        raise ProviderError(f"{name}: expected a Completion, got {type(answer).__name__}")
    check_fields(answer, name)
    try:
        tokens = json.dumps(answer.logprobs, ensure_ascii=False) if answer.logprobs else ""
    except (TypeError, ValueError) as error:
        raise ProviderError(f"{name}: Completion.logprobs: {error}") from None
    if _is_encodable(answer.text + answer.model + answer.finish_reason + tokens):
        return answer
    texts: dict[str, Any] = {
        name: _replace_surrogates(getattr(answer, name)) for name in ("text", "model", "finish_reason")
    }
    return replace(answer, **texts, logprobs=json.loads(_replace_surrogates(tokens)) if tokens else None)


def check_fields(answer: Completion, name: str) -> None:
    """Raise :class:`ProviderError` for a field of a wrong type. What JSON held needs no other check."""
    for field, kinds in FIELDS.items():
        value = getattr(answer, field)
        if not isinstance(value, kinds) or (kinds is COUNT and _is_no_count(value)):
            raise ProviderError(f"{name}: Completion.{field}={value!r:.40} has a wrong type or value")


def _is_member(name: str) -> bool:
    """Whether an attribute of this name overrides one of :class:`Provider`."""
    return not name.startswith("_") and name not in ("name", "complete") and hasattr(Provider, name)


def _is_no_count(value: Any) -> bool:
    return isinstance(value, bool) or (value is not None and value < 0)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
