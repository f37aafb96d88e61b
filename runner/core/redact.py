"""What must not leave this machine in a page, a table or a tracking store."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def remove_credentials(value: str) -> str:
    """A text with its URLs without user and password.

    >>> without_credentials("postgresql://me:secret@host/runs")
    'postgresql://***@host/runs'
    """
    return _CREDENTIALS.sub("***@", value)


def has_password(text: str) -> bool:
    """Whether a URL in the text carries a password.

    >>> password_in("ledger.url=postgresql://me:secret@host/runs"), password_in("postgresql://me@host/runs")
    (True, False)
    """
    return bool(_PASSWORD.search(text))
