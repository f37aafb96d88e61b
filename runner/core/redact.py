"""Find and remove credentials in URLs, which must not get into a page, a table or a tracking store."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def remove_credentials(value: str) -> str:
    """A text with user and password removed from its URLs.

    >>> remove_credentials("postgresql://me:secret@host/runs")
    'postgresql://***@host/runs'
    """
    return _CREDENTIALS.sub("***@", value)


def has_password(text: str) -> bool:
    """Whether a URL in the text carries a password.

    >>> has_password("ledger.url=postgresql://me:secret@host/runs"), has_password("postgresql://me@host/runs")
    (True, False)
    """
    return bool(_PASSWORD.search(text))
