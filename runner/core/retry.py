"""The rule for failed calls: how often they are repeated, and how long to wait before each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from runner.core.errors import RetryableError

T = TypeVar("T")
FIRST_WAIT_S = 1.0


@dataclass(frozen=True)
class Retry:
    """Up to ``tries`` calls with growing pauses, at most ``longest_s`` seconds each.

    ``limited_tries`` counts instead where the server refused for its rate limit: the call is not at fault.
    """

    tries: int = 6
    longest_s: float = 30.0
    limited_tries: int = 6

    def wait_s(self, error: RetryableError, attempt: int) -> float:
        """Return the seconds to wait after call number ``attempt``, from 1; raise ``error`` after the last.

        Waits as long as the server asks, or else exponentially longer: 50 to 100% of 1, 2, 4 … seconds.
        """
        if attempt >= (self.limited_tries if error.limited else self.tries):
            raise error
        if error.retry_after is not None:
            return error.retry_after
        longest = min(self.longest_s, FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
        return longest * random.uniform(0.5, 1)

    def call(self, work: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
        """Return the result of ``work``; repeat it only after :class:`RetryableError`."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return work()
            except RetryableError as error:
                sleep(min(self.wait_s(error, attempt), self.longest_s))
