"""Rate limits are read from the headers of any of the services."""

import pytest

from runner.core.provider import RateLimits
from runner.providers.http.rate_headers import parse_rate_limits


def test_openai_headers() -> None:
    """Requests and tokens a minute; what is left of them is not used."""
    found = parse_rate_limits(
        {
            "x-ratelimit-limit-requests": "5000",
            "x-ratelimit-remaining-requests": "4999",
            "x-ratelimit-reset-requests": "12ms",
            "x-ratelimit-limit-tokens": "2000000",
        }
    )
    assert found == RateLimits(requests=5000, tokens=2000000)


def test_mistral_headers() -> None:
    """Mistral has other names."""
    found = parse_rate_limits(
        {"x-ratelimit-limit-req-minute": "720", "x-ratelimit-limit-tokens-minute": "5000000"}
    )
    assert found == RateLimits(requests=720, tokens=5000000)


def test_one_limit_alone() -> None:
    """The other one stays unknown."""
    assert parse_rate_limits({"x-ratelimit-limit-tokens": "1e5"}) == RateLimits(tokens=100_000)


@pytest.mark.parametrize("value", ["lots", "", "0", "-1", "nan", "inf"])
def test_what_is_no_limit_is_none(value: str) -> None:
    """Most local servers tell nothing; nonsense is nothing too."""
    assert parse_rate_limits({"content-type": "application/json"}) is None
    assert parse_rate_limits({"x-ratelimit-limit-requests": value}) is None
