"""Find and remove credentials, which must not get into a record, a page, a table or a tracking store."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}")  # no name has so long a word with a digit
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


def is_variable_name(text: str) -> bool:
    """Whether a text can be the name of an environment variable, and does not look like a key.

    >>> [is_variable_name(text) for text in ("OPENAI_API_KEY", "sk-12", "gsk_k3Yk3Yk3Yk3Yk3Yk3Yk3Y")]
    [True, False, False]
    """
    return bool(_NAME.fullmatch(text)) and not _KEY.search(text)
