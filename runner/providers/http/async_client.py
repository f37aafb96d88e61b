"""Live calls, of which there are many: one JSON request and answer for each row.

They go through aiohttp, since it is the fastest: on two cores a bare aiohttp loop made 10,000 calls a
second, this module 9,000, the OpenAI SDK's ``client.post`` over aiohttp 1,900 and its
``chat.completions.create`` 640. The engine retries and paces, so little of what an SDK adds would be used.
All other calls go through :mod:`runner.providers.http.client`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from runner.core.errors import FatalProviderError, ProviderError, RetryableError
from runner.providers.http.certificates import make_ssl_context
from runner.providers.http.failures import Service, decode, make_error

CONNECT_S = 30.0
SHOWN = 80  # bytes of an answer that cannot be read
FATAL_ERRORS = (
    aiohttp.InvalidURL,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
)
UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class AsyncClient:
    """Posts JSON to one URL over at most ``connections`` kept-alive connections.

    The first call opens the session, in the running event loop. After :meth:`aclose` the next call opens
    another one, in any loop. ``last_headers`` are those of the last answer, which tell rate limits.
    """

    def __init__(
        self, service: Service, url: str, headers: Mapping[str, str], *, connections: int, timeout_s: float
    ) -> None:
        self._service = service
        self._url = URL(url)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        self._connections = connections
        self._timeout_s = timeout_s
        self._proxy = _find_proxy(self._url)
        self._session: aiohttp.ClientSession | None = None
        self._reached = False
        self.last_headers: Mapping[str, str] = {}

    async def post(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """The decoded JSON answer. Raises :class:`ProviderError` or a subclass for everything else."""
        session = self._session = self._session or self._open()
        data = json.dumps(body).encode()
        try:
            async with session.post(
                self._url, data=data, headers=headers, allow_redirects=False, **self._proxy
            ) as response:
                raw = await response.read()
        except aiohttp.ClientError as error:
            raise self._to_error(error) from error
        except TimeoutError as error:
            raise RetryableError(f"{self._service.name}: no answer within {self._timeout_s:g} s") from error
        self._reached = True
        self.last_headers = response.headers
        if not 200 <= response.status < 300:
            raise make_error(self._service, response.status, response.headers, decode(raw))
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            start = self._service.redact(raw[:SHOWN].decode(errors="replace")) if raw else "nothing"
            raise RetryableError(f"{self._service.name}: the answer is not JSON: {start}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        context: ssl.SSLContext | bool = make_ssl_context() if self._url.scheme == "https" else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=context, keepalive_timeout=60),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
        )

    def _to_error(self, error: aiohttp.ClientError) -> ProviderError:
        """Fatal where the server was never reached, else worth another try."""
        reason = self._service.redact(str(error) or type(error).__name__)
        never = isinstance(error, UNREACHED) and not self._reached
        if isinstance(error, FATAL_ERRORS) or never:
            return FatalProviderError(
                f"{self._service.name}: cannot reach {self._service.url} (provider.base_url): {reason}"
            )
        return RetryableError(f"{self._service.name}: connection failed: {reason}")


def _find_proxy(url: URL) -> dict[str, Any]:
    """The proxy that the environment names. Looked up once: aiohttp would start a thread for each call."""
    address = getproxies().get(url.scheme)
    if not address or not url.host or proxy_bypass(url.host):
        return {}
    proxy = URL(address)
    if not proxy.user:
        return {"proxy": proxy}
    login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
    return {"proxy": proxy.with_user(None), "proxy_headers": {"Proxy-Authorization": login}}
