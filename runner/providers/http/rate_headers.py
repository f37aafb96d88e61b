"""Rate limits as servers tell them in the headers of each answer."""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.provider import RateLimits

REQUESTS = (
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-req-minute",
    "anthropic-ratelimit-requests-limit",
)
TOKENS = (
    "x-ratelimit-limit-tokens",
    "x-ratelimit-limit-tokens-minute",
    "anthropic-ratelimit-tokens-limit",
)
"""The names that OpenAI, Azure and most gateways use, then Mistral's, then Anthropic's."""
READ = ("anthropic-ratelimit-input-tokens-limit",)
WRITTEN = ("anthropic-ratelimit-output-tokens-limit",)


def parse_rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Requests and tokens a minute in an answer's headers, or None where they tell nothing.

    >>> parse_rate_limits({"x-ratelimit-limit-requests": "500"}).requests
    500
    """
    limits = RateLimits(*(_parse_first(headers, names) for names in (REQUESTS, TOKENS, READ, WRITTEN)))
    return None if limits == RateLimits() else limits


def _parse_first(headers: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    """The number in the first of these headers that is there; None for what is no number above 0."""
    value = next((headers[name] for name in names if name in headers), None)
    try:
        count = int(float(value)) if value is not None else 0
    except (ValueError, OverflowError):
        return None
    return count if count > 0 else None
