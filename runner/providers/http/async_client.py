"""JSON over HTTP, as fast as the interpreter allows.

Chat calls do not go through the SDKs: on two cores a bare aiohttp loop made 10,000 calls a second, this
module 9,000, the OpenAI SDK's ``client.post`` over aiohttp 1,900 and its ``chat.completions.create`` 640.
Retries and pacing are the engine's, so little of what an SDK adds would be used.
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
from runner.providers.http.failures import Origin, decoded, failure

CONNECT_S = 30.0
FATAL_ERRORS = (
    aiohttp.InvalidURL,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
)
UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Wire:
    """Posts JSON to one URL over at most ``connections`` kept-alive connections.

    The session is opened by the first call, in the running event loop. After :meth:`aclose` the next call
    opens another one, in any loop. ``headers`` of the last answer are kept for the rate limits they tell.
    """

    def __init__(
        self, origin: Origin, url: str, headers: Mapping[str, str], *, connections: int, timeout_s: float
    ) -> None:
        self._origin = origin
        self._url = URL(url)
        self._send = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        self._connections = connections
        self._timeout_s = timeout_s
        self._proxy = _proxy(self._url)
        self._session: aiohttp.ClientSession | None = None
        self._reached = False
        self.headers: Mapping[str, str] = {}

    async def post(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """The decoded answer. Raises :class:`ProviderError` or a subclass for everything else."""
        session = self._session = self._session or self._open()
        data = json.dumps(body).encode()
        try:
            async with session.post(
                self._url, data=data, headers=headers, allow_redirects=False, **self._proxy
            ) as response:
                raw = await response.read()
        except aiohttp.ClientError as error:
            raise self._broken(error) from error
        except TimeoutError as error:
            raise RetryableError(f"{self._origin.name}: no answer within {self._timeout_s:g} s") from error
        self._reached = True
        self.headers = response.headers
        if not 200 <= response.status < 300:
            raise failure(self._origin, response.status, response.headers, decoded(raw))
        try:
            return json.loads(raw)
        except ValueError as error:
            raise RetryableError(f"{self._origin.name}: the answer is not JSON") from error

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        context: ssl.SSLContext | bool = _trust() if self._url.scheme == "https" else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=context, keepalive_timeout=60),
            headers=self._send,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
        )

    def _broken(self, error: aiohttp.ClientError) -> ProviderError:
        """A connection that failed: for good if the server was never reached, else worth another try."""
        reason = self._origin.clean(str(error) or type(error).__name__)
        never = isinstance(error, UNREACHED) and not self._reached
        if isinstance(error, FATAL_ERRORS) or never:
            return FatalProviderError(
                f"{self._origin.name}: cannot reach {self._origin.url} (provider.base_url): {reason}"
            )
        return RetryableError(f"{self._origin.name}: connection failed: {reason}")


def _trust() -> ssl.SSLContext:
    """The certificates that the SDKs trust: SSL_CERT_FILE or SSL_CERT_DIR, else the system's own."""
    import httpx2  # only for https: local servers need not wait for the import

    return httpx2.create_ssl_context()


def _proxy(url: URL) -> dict[str, Any]:
    """The proxy named by the environment. Looked up once: aiohttp's own way costs a thread a call."""
    address = getproxies().get(url.scheme)
    if not address or not url.host or proxy_bypass(url.host):
        return {}
    proxy = URL(address)
    if not proxy.user:
        return {"proxy": proxy}
    login = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
    return {"proxy": proxy.with_user(None), "proxy_headers": {"Proxy-Authorization": login}}
