"""Calls that failed are made again by one rule."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.errors import FatalProviderError, RetryableError, WaitError
from runner.core.retry import CREATES, Patience, Retry


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


class Clock:
    """A clock that only pauses move; a service that is down until ``back_s``, counting its calls."""

    def __init__(self, back_s: float, error: Exception | None = None) -> None:
        self.now, self.back_s, self.calls = 0.0, back_s, 0
        self.error = error or RetryableError("boom")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def look(self) -> str:
        self.calls += 1
        if self.now < self.back_s:
            raise self.error
        return "done"


@pytest.mark.parametrize(
    "error", [RetryableError("boom"), RetryableError("busy", retry_after=9e9, limited=True)]
)
def test_an_outage_of_an_hour_is_sat_out(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """With pauses up to a minute, whatever the server asks for; the log tells it a few times."""
    clock = Clock(3600, error)
    assert Patience(60.0, clock.sleep).call(clock.look) == "done"
    assert clock.now < 3700
    assert clock.calls < 80
    assert 5 <= len(caplog.records) <= 8
    assert "trying again in" in caplog.text


def test_a_wait_that_was_refused_as_too_long_is_sat_out() -> None:
    """A shorter patience below may have made a stop of it."""

    def refuse() -> str:
        try:
            return clock.look()
        except RetryableError as error:
            raise FatalProviderError("the server asks to wait an hour") from error

    clock = Clock(3600)
    assert Patience(60.0, clock.sleep).call(refuse) == "done"


def test_patience_ends() -> None:
    """After hours a service counts as gone; and what cannot pass is raised at once."""
    clock = Clock(1e9)
    with pytest.raises(RetryableError, match="boom"):
        Patience(60.0, clock.sleep).call(clock.look)
    assert 2 * 3600 < clock.now < 5 * 3600
    gone = Clock(1e9, FatalProviderError("no such job"))
    with pytest.raises(FatalProviderError, match="no such job"):
        Patience(60.0, gone.sleep).call(gone.look)
    assert gone.calls == 1


def test_a_lost_create_is_looked_for_before_it_is_repeated() -> None:
    """Found: not repeated. Not found: repeated, and after some tries given up."""
    create = Failing(*[RetryableError("lost")] * 2)
    patience = Patience(0.0, lambda seconds: None)
    assert patience.make(lambda: "found", create) == "found"
    assert create.calls == 1
    assert patience.make(lambda: None, create) == "done"
    hopeless = Failing(*[RetryableError("lost")] * 99)
    with pytest.raises(RetryableError, match="lost"):
        patience.make(lambda: None, hopeless)
    assert hopeless.calls == CREATES


def test_the_look_for_a_lost_create_has_patience() -> None:
    """A create that was heard just before an outage is not repeated during it."""
    clock = Clock(3600)
    create = Failing(RetryableError("lost"))
    assert Patience(60.0, clock.sleep).make(clock.look, create) == "done"
    assert create.calls == 1


def test_a_refusal_after_a_lost_create_leaves_it_open() -> None:
    """The lost one may have been heard, so that it is what the caller is told."""
    create = Failing(RetryableError("lost"), FatalProviderError("no"))
    with pytest.raises(RetryableError, match="lost"):
        Patience(0.0, lambda seconds: None).make(lambda: None, create)
    with pytest.raises(FatalProviderError, match="no"):
        Patience(0.0, lambda seconds: None).make(lambda: None, Failing(FatalProviderError("no")))
