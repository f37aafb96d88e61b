"""Names and values as MLflow takes them: it refuses ``kappa@5`` and cuts long values without a word."""

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

# MLflow takes a colon on Linux and refuses it on Windows
_ILLEGAL = r"[^\w./\- ]+"


def key(name: str) -> str:
    """A name that MLflow accepts on every system for a param, a metric or an artifact.

    >>> key("provider._target_"), key("dataset@finetune.dataset"), key("f1 (macro)_low"), key("kappa@5")
    ('provider._target_', 'dataset_finetune.dataset', 'f1 macro_low', 'kappa_5')
    """
    legal = re.sub(rf" +{_ILLEGAL}", " ", name)
    legal = re.sub(rf"{_ILLEGAL}(?=_|$)", "", legal)
    legal = re.sub(_ILLEGAL, "_", legal)
    path = posixpath.normpath(legal)
    if path.startswith(("/", "..")):
        path = path.lstrip("/.")
    return "_" if path in {"", "."} else path[:KEY_LENGTH]


def keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same mapping under accepted names; two names that become one are told apart by a number."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        wanted, number = key(name), 1
        unique = wanted
        while unique in named:
            number += 1
            unique = f"{wanted[: KEY_LENGTH - 5]}_{number}"
        named[unique] = value
    return named


def text(value: Any) -> str:
    """How a value reads as a param: plain text, ``null``, or JSON for lists and mappings.

    Credentials inside a URL are left out.
    """
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return remove_credentials(plain)


def cut(value: str, limit: int = VALUE_LENGTH, where: str = "") -> str:
    """The value, or its beginning with a note of what is missing and ``where`` all of it is."""
    if len(value) <= limit:
        return value
    note = f" … [cut, {len(value)} characters{where and f'; all of it in {where}'}]"
    return value[: limit - len(note)] + note


def model_name(name: str) -> str:
    """A logged model's name, which may hold none of ``/ : . % " '``.

    >>> model_name("ft:gpt-4o-mini:acme::9xY:ckpt-step-125")
    'ft-gpt-4o-mini-acme-9xY-ckpt-step-125'
    """
    return re.sub(r"[^\w\-]+", "-", name).strip("-")[:KEY_LENGTH] or "model"
