"""Rate limits are read from the headers of any of the services."""

import pytest

from runner.core.provider import RateLimits
from runner.providers.http.rate_headers import duration, rate_limits


def test_openai_headers() -> None:
    """Requests and tokens: allowed, left, and when all are back."""
    found = rate_limits(
        {
            "x-ratelimit-limit-requests": "5000",
            "x-ratelimit-remaining-requests": "4999",
            "x-ratelimit-reset-requests": "12ms",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-tokens": "1999990",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    assert found == RateLimits(5000, 4999, 0.012, 2000000, 1999990, 360.0)


def test_mistral_headers() -> None:
    """Mistral calls them otherwise and tells no reset."""
    found = rate_limits(
        {
            "x-ratelimit-limit-req-minute": "720",
            "x-ratelimit-remaining-req-minute": "717",
            "x-ratelimit-limit-tokens-minute": "5000000",
            "x-ratelimit-remaining-tokens-minute": "4999911",
        }
    )
    assert found == RateLimits(720, 717, None, 5000000, 4999911, None)


def test_no_headers_are_no_limits() -> None:
    """Most local servers say nothing; nonsense is nothing too."""
    assert rate_limits({"content-type": "application/json"}) is None
    assert rate_limits({"x-ratelimit-limit-requests": "lots"}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("1h2m3s", 3723.0), ("8.64s", 8.64), ("59", 59.0), ("2d", 172800.0), ("250ms", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    """Go's notation and plain seconds."""
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [None, "", "soon", "1x", "s", "-1s"])
def test_no_durations(text: str | None) -> None:
    """Anything else counts as not said."""
    assert duration(text) is None
