"""Providers of a user's own, as the docs say that they may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from runner.core.provider import Provider
from runner.core.types import Completion, Request
from runner.providers.openai import OpenAICompatible


class Mine(Provider):
    """Answers with its style."""

    model: str = "m"
    style: str = "brief"

    async def complete(self, request: Request) -> Completion:
        return Completion(text=self.style)


class Plain:
    """The least that a class needs: no base, no constructor."""

    model = "x"

    async def complete(self, request: Request) -> Completion:
        return Completion(text="3")


class PlainToo(Plain):
    """Extends it."""


class Greeting(OpenAICompatible):
    """Declares a field, but is no dataclass."""

    greeting: str = "hello"


@dataclass(kw_only=True, eq=False)
class Polite(Greeting):
    """Declares the field so that its constructor takes it."""

    greeting: str = "hello"


class Faulty(Plain):
    """Fails when it is made."""

    def __init__(self) -> None:
        raise KeyError("grade")


class Given:
    """Keeps what a config gives it."""

    def __init__(self, **settings: object) -> None:
        self.settings = settings


class Typed:
    """Says what it takes."""

    def __init__(
        self,
        n: int = 3,
        ratio: float = 0.5,
        name: str = None,  # type: ignore[assignment]  # noqa: RUF013
        tags: list[str] | None = None,
        mode: Literal["a", "b"] = "a",
        inner: Any = None,
    ) -> None:
        self.n, self.ratio, self.name, self.tags, self.mode, self.inner = n, ratio, name, tags, mode, inner


class Unidentified(Mine):
    """Fails when its identity is read."""

    def identity(self) -> dict[str, Any]:
        raise KeyError("grade")


class Alone(Plain):
    """Takes no request."""

    async def complete(self) -> Completion:  # type: ignore[override]
        return Completion(text="3")


class Waiting(Plain):
    """Is not written as async def."""

    def complete(self, request: Request) -> Completion:  # type: ignore[override]
        return Completion(text="3")
