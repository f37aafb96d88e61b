"""Compute a value once per process, however many threads ask for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache, wraps
from threading import Lock
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Like ``functools.cache``, but a caller waits while another thread computes the value.

    The points of a sweep start at the same time; with ``cache`` alone each of them would compute it.
    """
    remembered = cache(function)
    turn = Lock()

    @wraps(cast(Callable[P, T], remembered))
    def get(*given: P.args, **named: P.kwargs) -> T:
        with turn:
            return remembered(*cast(tuple[Hashable, ...], given), **cast(dict[str, Hashable], named))

    return get
