"""Adapts users' classes that do not inherit from :class:`runner.core.provider.Provider`; checks answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from inspect import isawaitable
from numbers import Integral, Real
from typing import Any, TypeGuard

from runner.core.errors import ConfigError, FatalProviderError, ProviderError
from runner.core.identity import check_identity, identify
from runner.core.provider import Provider
from runner.core.types import Completion, Request

MOST = 10**15  # of tokens; no answer has more, and a column of whole numbers holds it
HIGHEST = 0.1  # a log-probability is at most 0, but for rounding
TEXTS = ("text", "model", "finish_reason", "reasoning")
COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")


class Adapted(Provider):
    """Wraps an object that is no :class:`Provider`: its own attributes count, and else the defaults."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self.name = str(getattr(own, "name", type(own).__name__.lower()))
        self.model = own.model
        for name in filter(_is_member, dir(own)):
            value = getattr(own, name)
            # otherwise it only has the same name by chance
            if callable(value) == callable(getattr(Provider, name)):
                setattr(self, name, value)

    async def complete(self, request: Request) -> Completion:
        """Let the object answer one request."""
        answer: Completion = await wait_for_answer(self._own.complete(request), self.name)
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


async def wait_for_answer(answer: Any, name: str) -> Any:
    """Wait for what ``complete`` of the provider ``name`` gave.

    Raises :class:`FatalProviderError` if that cannot be waited for, since no call of it can succeed.
    """
    if not isawaitable(answer):
        raise FatalProviderError(f"{name}: complete must be written as async def")
    return await answer


def check_completion(answer: Any, name: str) -> Completion:
    """Return what the provider ``name`` answered, as plain data that is stored and read back the same.

    A lone surrogate, half a character, is in no encoding; it becomes U+FFFD. Raises :class:`ProviderError`
    for a value of the wrong type.
    """
    if not isinstance(answer, Completion):
        raise ProviderError(f"{name}: complete gave {answer!r:.60}, expected a Completion")
    for field, is_right in CHECKS.items():
        value = getattr(answer, field)
        if not is_right(value):
            raise ProviderError(f"{name}: Completion.{field}={value!r:.40} has a wrong type or value")
    changed: dict[str, Any] = {
        field: clean for field in TEXTS if (clean := clean_text(value := getattr(answer, field))) is not value
    }
    for field in COUNTS:
        if (value := getattr(answer, field)) is not None and type(value) is not int:
            changed[field] = int(value)
    if answer.latency_s is not None and not isinstance(answer.latency_s, int | float):
        changed["latency_s"] = float(answer.latency_s)
    if answer.logprobs is not None:
        changed["logprobs"] = make_plain_logprobs(answer.logprobs, f"{name}: Completion.logprobs")
    return replace(answer, **changed) if changed else answer


def make_plain_logprobs(tokens: Any, where: str, top: str = "top") -> list[dict[str, Any]]:
    """Log-probabilities as a :class:`Completion` holds them; ``top`` is their name for the alternatives.

    An alternative of probability 0 (minus infinity) is left out. Raises :class:`ProviderError`, which begins
    with ``where``, for anything but a list of tokens with their log-probabilities.
    """
    found = []
    for token in _list(tokens, where):
        options = (
            [
                _make_plain_token(option, where)
                for option in _list(token.get(top) or [], where)
                if not (isinstance(option, Mapping) and option.get("logprob") == -math.inf)
            ]
            if isinstance(token, Mapping)
            else []
        )
        found.append({**_make_plain_token(token, where), "top": options})
    return found


def _make_plain_token(token: Any, where: str) -> dict[str, Any]:
    parts: Mapping[str, Any] = token if isinstance(token, Mapping) else {}
    text, logprob = parts.get("token"), parts.get("logprob")
    if isinstance(text, str) and _is_number(logprob) and logprob <= HIGHEST:
        return {"token": clean_text(text), "logprob": float(logprob)}
    raise ProviderError(f"{where}: expected a token and its logprob, got {token!r:.60}")


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ProviderError(f"{where}: expected a list, got {value!r:.60}")
    return value


def clean_text(text: Any) -> Any:
    """A text that can be encoded, with U+FFFD for each half of a character; None stays None."""
    if text is None or (type(text) is str and _is_encodable(text)):
        return text
    return str.__str__(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_member(name: str) -> bool:
    """Whether an attribute of this name overrides one of :class:`Provider`."""
    return not name.startswith("_") and name not in ("name", "complete") and hasattr(Provider, name)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number, also one of numpy's, and not so large that it is no float."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_count(value: Any) -> bool:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return value is None or (is_whole and 0 <= int(value) < MOST)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("text", "model", "finish_reason"), _is_text),
    "reasoning": lambda value: value is None or _is_text(value),
    **dict.fromkeys(COUNTS, _is_count),
    "batch": lambda value: value is None or isinstance(value, bool),
    "logprobs": lambda value: value is None or isinstance(value, list | tuple),
    "latency_s": lambda value: value is None or _is_number(value),
}
"""What a completion's fields may be."""
