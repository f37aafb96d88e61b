"""Which certificates are trusted: one SSL context for all clients of a process."""

from __future__ import annotations

import os
import ssl
from functools import cache


def make_ssl_context() -> ssl.SSLContext:
    """The certificates that the SDKs trust: SSL_CERT_FILE or SSL_CERT_DIR, else the system's own.

    To read them takes a thirtieth of a second of CPU, so this is done once, and again only if one of the
    variables has changed.
    """
    return _make(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _make(file: str | None, folder: str | None) -> ssl.SSLContext:
    import httpx2  # only for https: local servers need not wait for the import

    return httpx2.create_ssl_context()
