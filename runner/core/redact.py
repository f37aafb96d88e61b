"""Find and remove credentials, which must not get into a record, a page, a table or a tracking store."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache

_PASSWORD = re.compile(r"://[^/@\s:\"'<>,]*:(?!\d+/)[^@\s\"'<>]+@")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")

_RUN = r"(?=[A-Za-z]*\d)[A-Za-z0-9]"  # letters and digits, with a digit: no part of a name is so long
_WORD = re.compile(rf"{_RUN}{{20,}}")
_KEYS = [  # what the keys of services look like
    rf"sk-(?:[A-Za-z0-9]+-)*(?:{_RUN}{{10,}}|\w{{20,}})[\w-]*",  # OpenAI, Anthropic, OpenRouter and others
    rf"(?:gsk_|csk-|hf_|r8_|fw_|nvapi-|pplx-|xai-|jina_|npm_|pcsk_|[sr]k_(?:live|test)_){_RUN}{{10,}}[\w-]*",
    rf"(?:gh[opsur]_|github_pat_|glpat-|xox[abeoprs]-|tgp_v1_|dop_v1_|lsv2_\w\w_|wandb_v1_){_RUN}{{10,}}[\w-]*",
    r"sk-(?:ant|proj|svcacct|admin)-[\w-]{16,}",  # also without a digit
    rf"(?:ya29\.|SG\.|pypi-){_RUN}{{6,}}[\w.-]{{10,}}",
    r"AIza[\w-]{35}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    r"dapi[0-9a-f]{32}",
    r"eyJ[\w-]{10,}\.[\w-]{4,}(?:\.[\w-]*)?",  # a signed token (JWT)
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"(?i:bearer)\s+(?=[^\s\"']*\d)[\w.~+/=-]{12,}",  # headers
    r"(?i:basic)\s+(?=[A-Za-z+/]*\d)[A-Za-z0-9+/]{14,}={0,2}(?![\w-])",
]
_KEY = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_KEYS)})")
_QUERY = re.compile(
    r"://\S*[?&;](?:x-amz-)?(?:(?:api|access|subscription|account)[-_]?)?"
    r"(?:key|token|secret|signature|sig|password|passwd|pwd)=(?!\$\{)[^&;\s]+",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"(^|_)((api|access|secret|subscription|account|sas|private|auth)_?keys?|secrets?|passw(or)?d|passphrase|pwd"
    r"|authori[sz]ation|credentials?|cookies?|(access|auth|api|bearer|refresh|session|security|hf|git\w*)_?token)$"
)
_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|_PWD|CREDENTIALS?)$")
_READS_SECRET = re.compile(r"\$\{oc\.env:\s*['\"]?\w*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)\b")
_NO_SECRETS = {"", "???", "none", "null", "empty", "dummy", "no", "unused", "not-needed"}
LEAST_LETTERS = 16
"""Shorter values of environment variables are not looked for in a config."""
_MASKED = re.compile(
    r"(?P<head>[\w-]{2,}?)?(?:\*{2,}|\.{3,}|…|•{2,}|x{4,}|X{4,}|[\[<(][A-Za-z ]+[\])>])(?P<tail>[\w-]{2,})?"
    r"|\b(?:ends?|ending) (?:in|with)\W{1,3}(?P<end>[\w-]{2,})"
)
"""A part of a key as servers quote it: ``ab12****ef90``, ``ab12...``, ``ending in ef90``."""
_PART, _LETTERS = 8, re.compile(r"[\w-]{8,}")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_known: set[str] = set()


def remove_credentials(value: str) -> str:
    """A text with user and password removed from its URLs.

    >>> remove_credentials("postgresql://me:secret@host/runs")
    'postgresql://***@host/runs'
    """
    return _CREDENTIALS.sub("***@", value)


def hide_keys(text: str, secrets: Iterable[str] = ()) -> str:
    """A message with passwords, known secrets and what looks like a key replaced by ``***``.

    >>> hide_keys("no such key: sk-proj-1234567890abcdef")
    'no such key: ***'
    """
    for secret in {*_known, *filter(None, secrets)}:
        text = _hide_secret(text, secret)
    return _KEY.sub("***", _PASSWORD.sub("://***@", text))


def remember_secret(secret: str) -> str:
    """Let :func:`hide_keys` remove this secret from now on, also a part of it. Returns it."""
    if len(secret) >= LEAST_LETTERS:
        _known.add(secret)
    return secret


def drop_controls(text: str) -> str:
    """A text without control characters, which a terminal would obey.

    >>> drop_controls("a\\x1b[2Jb")
    'a[2Jb'
    """
    return _CONTROLS.sub("", text)


def _hide_secret(text: str, secret: str) -> str:
    """A text without a secret, or a part of it that is masked, or eight letters with a digit from it."""
    text, lower = text.replace(secret, "***"), secret.lower()
    if len(secret) < LEAST_LETTERS:
        return text
    parts = {lower[at : at + _PART] for at in range(len(lower) - _PART + 1)}
    parts = {part for part in parts if re.search(r"\d", part)}

    def hide_part(found: re.Match[str]) -> str:
        word = found[0].lower()
        known = any(word[at : at + _PART] in parts for at in range(len(word) - _PART + 1))
        return "***" if known else found[0]

    def hide_masked(found: re.Match[str]) -> str:
        head, tail, end = (found[name].lower() if found[name] else "" for name in ("head", "tail", "end"))
        if end and lower.endswith(end):
            return found[0].replace(found["end"], "***")
        known = (head and lower.startswith(head)) or (tail and lower.endswith(tail))
        return "***" if known else found[0]

    return _MASKED.sub(hide_masked, _LETTERS.sub(hide_part, text))


def has_password(text: str) -> bool:
    """Whether a URL in the text carries a password.

    >>> has_password("ledger.url=postgresql://me:secret@host/runs"), has_password("postgresql://me@host/runs")
    (True, False)
    """
    return bool(_PASSWORD.search(text))


def holds_secret(text: str, secrets: Iterable[str] | None = None) -> bool:
    """Whether a text holds what looks like a key, a password in a URL, or one of the secrets.

    These are by default those of the environment. Who asks for many texts gives :func:`list_secrets`.

    >>> [holds_secret(text) for text in ("gsk_k3Yk3Yk3Yk3Yk3Yk3Yk3Y", "https://host/?api_key=1", "sk-learn")]
    [True, True, False]
    """
    if _KEY.search(text) or _PASSWORD.search(text) or _QUERY.search(text) or _READS_SECRET.search(text):
        return True
    if len(text) < LEAST_LETTERS:  # most keys of a config: to look through the environment takes a while
        return False
    return any(value in text for value in (list_secrets() if secrets is None else secrets))


def is_secret(name: str, value: object) -> bool:
    """Whether a setting of this name holds a secret and no placeholder, path or variable's name.

    >>> is_secret("X-Api-Key", "f3b1"), is_secret("apiKey", "EMPTY"), is_secret("api_key", "MY_API_KEY")
    (True, False, False)
    >>> is_secret("max_tokens", 512), is_secret("password", 12345678)
    (False, True)
    """
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    text = str(value).strip()
    if plain == "token":  # may be a token of a tokenizer
        return bool(_WORD.search(text))
    allowed = text.lower() in _NO_SECRETS or "${" in text or re.fullmatch(r"[A-Z]+_[A-Z0-9_]*|[./~].*", text)
    return bool(_SECRET_NAME.search(plain)) and not allowed


@cache
def names_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name mostly holds a secret.

    >>> names_secret_variable("OPENAI_API_KEY"), names_secret_variable("OMP_NUM_THREADS")
    (True, False)
    """
    return bool(_SECRET_VARIABLE.search(name))


def is_variable_name(text: str) -> bool:
    """Whether a text can be the name of an environment variable, and does not look like a key.

    >>> [is_variable_name(text) for text in ("OPENAI_API_KEY", "sk-12", "gsk_k3Yk3Yk3Yk3Yk3Yk3Yk3Y")]
    [True, False, False]
    """
    return bool(_NAME.fullmatch(text)) and not _WORD.search(text) and not _KEY.search(text)


def list_secrets() -> list[str]:
    """The values of environment variables that hold secrets; paths are none."""
    found = (os.environ[name].strip() for name in os.environ if names_secret_variable(name))
    return [value for value in found if len(value) >= LEAST_LETTERS and not value.startswith(("/", "."))]
