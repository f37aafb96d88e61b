"""Blocking calls, of which there are few: batches, hosting, fine-tuning without an SDK, look-ups.

They go through httpx2, which both SDKs bring along: it has multipart uploads, proxies and timeouts, and needs
no event loop. Answers to rows go through :mod:`runner.providers.http.async_client`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from runner.core.errors import RetryableError
from runner.core.retry import Retry, pause
from runner.providers.http.failures import Service, decode, make_error

RETRY = Retry()
REPEATABLE = {"GET", "PUT", "DELETE"}  # a POST may have been heard although its answer was lost


class Client:
    """Sends requests with headers made anew for each, and raises errors as ours.

    Requests that may be repeated are tried again by ``retry``. Redirects are errors, since they would carry
    the key to another host.
    """

    def __init__(
        self,
        service: Service,
        client: httpx2.Client,
        make_headers: Callable[[], Mapping[str, str]],
        sleep: Callable[[float], None] = pause,
        retry: Retry = RETRY,
    ) -> None:
        self._service = service
        self._client = client
        self._make_headers = make_headers
        self._sleep = sleep
        self._retry = retry

    def request(self, method: str, url: str, **settings: Any) -> Any:
        """The answer as JSON, or as text; ``settings`` are httpx2's, such as ``json`` and ``params``.

        Raises :class:`runner.core.errors.ProviderError` or a subclass.
        """
        return decode(self.download(method, url, **settings))

    def download(self, method: str, url: str, **settings: Any) -> bytes:
        """As :meth:`request`, but the bytes as they came."""
        if method not in REPEATABLE:
            return self._send(method, url, settings)
        return self._retry.call(lambda: self._send(method, url, settings), self._sleep)

    def _send(self, method: str, url: str, settings: Mapping[str, Any]) -> bytes:
        service = self._service
        try:
            request = self._client.build_request(method, url, headers=self._make_headers(), **settings)
            response = self._client.send(request, follow_redirects=False)
        except httpx2.HTTPError as error:
            reason = service.redact(str(error) or type(error).__name__)
            raise RetryableError(f"{service.name}: {method} {url}: {reason}") from error
        if not response.is_success:
            raise make_error(service, response.status_code, response.headers, decode(response.content))
        return response.content
