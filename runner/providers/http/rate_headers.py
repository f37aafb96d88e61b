"""Rate limits as servers tell them in the headers of each answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.core.provider import RateLimits

# OpenAI, Azure and most gateways; after it Mistral
REQUESTS = ("requests", "req-minute")
TOKENS = ("tokens", "tokens-minute")
HEADERS = [
    f"x-ratelimit-{what}-{name}" for what in ("limit", "remaining", "reset") for name in (*REQUESTS, *TOKENS)
]
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """The limits in an answer's headers, or None where there are none."""
    if not any(map(headers.__contains__, HEADERS)):  # asked at every answer
        return None
    limits = RateLimits(requests=_count(headers, REQUESTS), tokens=_count(headers, TOKENS))
    return None if limits == RateLimits() else limits


def duration(text: str | None) -> float | None:
    """Seconds in a span such as ``1s``, ``6m0s``, ``120ms`` or ``17``.

    >>> duration("6m0.5s")
    360.5
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[dhms]?)", text or "")
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * UNITS[unit or "s"] for number, unit in parts)


def _first(headers: Mapping[str, str], what: str, names: tuple[str, ...]) -> str | None:
    values = (headers.get(f"x-ratelimit-{what}-{name}") for name in names)
    return next((value for value in values if value is not None), None)


def _count(headers: Mapping[str, str], what: str, names: tuple[str, ...]) -> int | None:
    value = _first(headers, what, names)
    try:
        return int(float(value)) if value is not None else None
    except ValueError:
        return None
