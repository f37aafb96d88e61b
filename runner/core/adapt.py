"""Classes of a user's own that do not build on :class:`runner.core.provider.Provider`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.errors import ConfigError
from runner.core.provider import Provider, identity_of
from runner.core.types import Completion, Request


class Adapted(Provider):
    """A class that knows nothing of :class:`Provider`: what it has is taken, the rest are the defaults."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self.name = str(getattr(own, "name", type(own).__name__.lower()))
        for name in dir(own):
            if not name.startswith("_") and name not in ("name", "complete") and hasattr(Provider, name):
                setattr(self, name, getattr(own, name))
        self.model = own.model

    async def complete(self, request: Request) -> Completion:
        """What the class answers."""
        answer: Completion = await self._own.complete(request)
        return answer

    def identity(self) -> Mapping[str, Any]:
        """That of the class."""
        return identity_of(self._own)


def adapt(made: Any, key: str = "provider") -> Provider:
    """What a config node made, as a provider. Raises :class:`ConfigError` if it cannot be one."""
    if isinstance(made, Provider):
        return made
    lacking = [name for name in ("complete", "model") if not hasattr(made, name)]
    if lacking:
        raise ConfigError(f"{key}: {type(made).__name__} has no {' and no '.join(map(repr, lacking))}")
    return Adapted(made)
