"""Guards the engine against a provider's faults, so that no run hangs and no paid answer is lost."""

from __future__ import annotations

import asyncio
import logging

from runner.core.errors import describe_failure
from runner.core.provider import Provider, RateLimits

log = logging.getLogger(__name__)
_warned_names: set[str] = set()

CLOSE_S = 10.0


def is_interrupt(error: BaseException) -> bool:
    """Whether an error stops the task in which a provider's code raised it: Ctrl-C, or its cancellation.

    ``CancelledError`` also comes from tasks of the provider's own; then this task is not being cancelled.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt)


def read_limits(provider: Provider) -> RateLimits | None:
    """Return the account's limits as the last answer says them; None, with one warning, if that fails."""
    try:
        limits = provider.rate_limits()
        _check_limits(limits)
        return limits
    except (Exception, SystemExit) as error:
        if provider.name not in _warned_names:
            _warned_names.add(provider.name)
            log.warning("%s: its rate limits are unknown: %s", provider.name, describe_failure(error))
        return None


def _check_limits(limits: RateLimits | None) -> None:
    if limits is None:
        return
    for number in (limits.requests, limits.tokens):
        if number is not None and not number >= 0:
            raise ValueError(f"expected numbers or None, got {limits}")


async def close_provider(provider: Provider) -> None:
    """Release a provider's connections within :data:`CLOSE_S`; a failure is only a warning."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await provider.aclose()
    except BaseException as error:
        if is_interrupt(error):
            raise
        log.warning("%s: its connections were not closed: %s", provider.name, describe_failure(error))
