"""Adapts users' classes that do not inherit from :class:`runner.core.provider.Provider`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.errors import ConfigError
from runner.core.provider import Provider, identify
from runner.core.types import Completion, Request


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


def adapt(made: Any, key: str = "provider") -> Provider:
    """Return an object as a provider. Raises :class:`ConfigError` if it lacks ``complete`` or ``model``."""
    missing = [name for name in ("complete", "model") if not hasattr(made, name)]
    if missing:
        raise ConfigError(f"{key}: {type(made).__name__} has no {' and no '.join(map(repr, missing))}")
    return made if isinstance(made, Provider) else Adapted(made)


def _is_member(name: str) -> bool:
    """Whether an attribute of this name overrides one of :class:`Provider`."""
    return not name.startswith("_") and name not in ("name", "complete") and hasattr(Provider, name)
