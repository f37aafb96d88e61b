"""What must not leave this machine in a page, a table or a tracking store."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def without_credentials(value: str) -> str:
    """A text with its URLs without user and password.

    >>> without_credentials("postgresql://me:secret@host/runs")
    'postgresql://***@host/runs'
    """
    return _CREDENTIALS.sub("***@", value)
