"""Calls that failed are made again by one rule."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.errors import FatalProviderError, RetryableError, WaitError
from runner.core.retry import Retry


class Failing:
    """Work that fails with these errors before it succeeds; counts its calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_waits_grow_to_the_longest() -> None:
    """Half to all of 1, 2, 4 … seconds, never more than the longest."""
    retry = Retry(tries=100, longest_s=30)
    waits = [retry.wait_s(RetryableError("busy"), attempt) for attempt in range(1, 60)]
    for wait, longest in zip(waits, [1, 2, 4, 8, 16, *[30] * 54], strict=True):
        assert longest / 2 <= wait <= longest


def test_the_server_says_how_long_to_wait() -> None:
    """Its word is taken as it is."""
    error = RetryableError("busy", retry_after=100)
    waited: list[float] = []
    assert Retry().wait_s(error, 1) == 100
    assert Retry(longest_s=30).call(Failing(error), waited.append) == "done"
    assert waited == [100]


@pytest.mark.parametrize("asked", [301.0, 86400, 1e300])
def test_a_long_wait_is_not_waited(asked: float) -> None:
    """It is said at once, with the server's words, the end of the wait and the key."""
    error = RetryableError("daily limit", retry_after=asked, limited=True)
    waited: list[float] = []
    with pytest.raises(WaitError, match=r"daily limit; the server asks .* until 2.*provider\.max_wait_s=300"):
        Retry().call(Failing(error), waited.append)
    assert waited == []
    assert Retry(max_wait_s=asked).wait_s(error, 1) == asked


@pytest.mark.parametrize("asked", [float("nan"), float("inf"), -1, "60", True, [1]])
def test_an_odd_wait_is_none(asked: Any) -> None:
    """The pause is then the rule's own."""
    error = RetryableError("busy", retry_after=asked)
    assert error.retry_after is None
    assert Retry().wait_s(error, 1) <= 1


@pytest.mark.parametrize(("limited", "calls"), [(False, 3), (True, 5)])
def test_the_last_failure_is_raised(limited: bool, calls: int) -> None:
    """A rate limit has its own count, since the call is not at fault."""
    work = Failing(*[RetryableError(f"failure {n}", limited=limited) for n in range(1, 10)])
    with pytest.raises(RetryableError, match=f"failure {calls}"):
        Retry(tries=3, limited_tries=5).call(work, lambda seconds: None)
    assert work.calls == calls


def test_other_errors_are_raised_at_once() -> None:
    """What fails the same way again is not tried again."""
    work = Failing(FatalProviderError("wrong key"))
    with pytest.raises(FatalProviderError, match="wrong key"):
        Retry().call(work, lambda seconds: None)
    assert work.calls == 1
