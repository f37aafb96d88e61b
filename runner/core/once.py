"""What a process computes once, however many of its threads ask."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache, wraps
from threading import Lock
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def once(function: Callable[P, T]) -> Callable[P, T]:
    """``functools.cache``, but who asks while a value is being computed waits for it.

    The points of a sweep start together: with the cache alone each of them would compute it.
    """
    remembered = cache(function)
    turn = Lock()

    @wraps(cast(Callable[P, T], remembered))
    def value(*given: P.args, **named: P.kwargs) -> T:
        with turn:
            return remembered(*cast(tuple[Hashable, ...], given), **cast(dict[str, Hashable], named))

    return value
