"""The few blocking JSON calls for which an SDK has no method."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from runner.core.errors import RetryableError
from runner.providers.http.failures import Origin, decoded, failure

TRIES = 6
LONGEST_WAIT_S = 30.0
REPEATABLE = {"GET", "PUT", "DELETE"}  # a POST may have been heard although its answer was lost


class Rest:
    """Calls with fresh headers, errors as ours, and another try where a call may be repeated."""

    def __init__(
        self,
        origin: Origin,
        client: httpx2.Client,
        headers: Callable[[], Mapping[str, str]],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._origin = origin
        self._client = client
        self._headers = headers
        self._sleep = sleep

    def call(self, method: str, url: str, **settings: Any) -> Any:
        """The decoded answer; ``settings`` are httpx2's, such as ``json`` and ``params``."""
        for attempt in range(1, TRIES + 1):
            try:
                return self._once(method, url, settings)
            except RetryableError as error:
                if method not in REPEATABLE or attempt == TRIES:
                    raise
                self._sleep(min(error.retry_after or 0.5 * 2**attempt, LONGEST_WAIT_S))
        raise AssertionError("the last try either returns or raises")

    def _once(self, method: str, url: str, settings: Mapping[str, Any]) -> Any:
        try:
            request = self._client.build_request(method, url, headers=self._headers(), **settings)
            response = self._client.send(request)
        except httpx2.HTTPError as error:
            reason = self._origin.clean(str(error) or type(error).__name__)
            raise RetryableError(f"{self._origin.name}: {method} {url}: {reason}") from error
        body = decoded(response.content)
        if not response.is_success:
            raise failure(self._origin, response.status_code, response.headers, body)
        return body
