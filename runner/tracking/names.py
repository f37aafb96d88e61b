"""Names and values that MLflow accepts: it refuses ``kappa@5`` and cuts long values without a warning."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from runner.core.redact import remove_credentials

KEY_LENGTH = 250
VALUE_LENGTH = 6000
TAG_LENGTH = 8000

# MLflow accepts a colon on Linux and refuses it on Windows
_ILLEGAL = r"[^\w./\- ]+"


def clean_key(name: str) -> str:
    """A name that MLflow accepts on every system for a param, a metric or an artifact.

    >>> [clean_key(name) for name in ("provider._target_", "data@finetune.data", "f1 (macro)_low", "kappa@5")]
    ['provider._target_', 'data_finetune.data', 'f1 macro_low', 'kappa_5']
    """
    legal = re.sub(rf" +{_ILLEGAL}", " ", name)
    legal = re.sub(rf"{_ILLEGAL}(?=_|$)", "", legal)
    legal = re.sub(_ILLEGAL, "_", legal)
    path = posixpath.normpath(legal)
    if path.startswith(("/", "..")):
        path = path.lstrip("/.")
    return "_" if path in {"", "."} else path[:KEY_LENGTH]


def clean_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same mapping under accepted names; a number is added where two names become the same."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        wanted, number = clean_key(name), 1
        unique = wanted
        while unique in named:
            number += 1
            unique = f"{wanted[: KEY_LENGTH - 5]}_{number}"
        named[unique] = value
    return named


def format_value(value: Any) -> str:
    """A value as the text of a param: strings as they are, anything else as JSON.

    Credentials inside a URL are removed.
    """
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return remove_credentials(plain)


def truncate(value: str, limit: int = VALUE_LENGTH, where: str = "") -> str:
    """The value, or its beginning and a note of its length and ``where`` the whole value is."""
    if len(value) <= limit:
        return value
    note = f" … [cut, {len(value)} characters{where and f'; all of it in {where}'}]"
    return value[: limit - len(note)] + note


def clean_model_name(name: str) -> str:
    """A name for a logged model; MLflow refuses ``/ : . % " '`` in it.

    >>> clean_model_name("ft:gpt-4o-mini:acme::9xY:ckpt-step-125")
    'ft-gpt-4o-mini-acme-9xY-ckpt-step-125'
    """
    return re.sub(r"[^\w\-]+", "-", name).strip("-")[:KEY_LENGTH] or "model"
