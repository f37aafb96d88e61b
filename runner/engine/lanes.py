"""One lane per account: the limits that all requests of this process to an account share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runner.core.errors import RetryableError
from runner.core.identity import digest
from runner.core.provider import Provider, RateLimits
from runner.core.tokens import Calibration, count_chat
from runner.core.types import Completion, Request
from runner.engine.ledger import Ledger
from runner.engine.limits import Gate, Pace


class Lane:
    """The gate, the pace and the token estimates that all requests of this process to one account share."""

    def __init__(self, pace: Pace) -> None:
        self.gate = Gate(1)
        self.pace = pace
        self._users: list[Provider] = []
        self._prompts, self._answers = Calibration(), Calibration()
        self.was_answered = False

    def enter(self, provider: Provider) -> None:
        """Add a provider to those that use the account now."""
        self._users.append(provider)
        self._set_limits()

    def leave(self, provider: Provider) -> None:
        """Remove a provider that is done."""
        self._users.remove(provider)
        if self._users:
            self._set_limits()

    async def wait_turn(self, request: Request) -> None:
        """Wait until the pace allows a request to start."""
        if self.pace.counts_tokens:
            await self.pace.wait_turn(*self.estimate_tokens(request))
        else:
            await self.pace.wait_turn()

    def note_answer(self, request: Request, completion: Completion, limits: RateLimits | None) -> None:
        """Note an answer, and the limits in its headers, if any."""
        self.was_answered = True
        self.gate.note_success()
        self.pace.note_answer(limits)
        if self.pace.counts_tokens:
            self._prompts.add(completion.input_tokens, _count_prompt_tokens(request))
            self._answers.add(completion.output_tokens, 1)

    def note_failure(self, error: RetryableError) -> None:
        """Note a refusal for the rate limit, or another failure of the server."""
        if error.limited:
            self.pace.note_refusal(error.retry_after)
        else:
            self.gate.note_failure()

    def estimate_tokens(self, request: Request) -> tuple[float, float, float]:
        """Estimate the tokens of a request's prompt, of its longest answer, and of a usual one.

        The estimate for the prompt is corrected by what the server counted for earlier ones. A usual answer
        is as long as earlier ones on average, and so is the longest one without ``max_tokens``.
        """
        prompt, mean = self._prompts.ratio * _count_prompt_tokens(request), self._answers.ratio
        most = mean if request.sampling.max_tokens is None else request.sampling.max_tokens
        return prompt, most, mean if self._answers.is_known else most

    def _set_limits(self) -> None:
        """Apply the widest gate and the strictest limits among the providers that use the account now."""
        self.gate.resize(max(user.max_concurrency for user in self._users))
        self.pace.set_limits(
            min((user.requests_per_minute for user in self._users if user.requests_per_minute), default=None),
            min((user.tokens_per_minute for user in self._users if user.tokens_per_minute), default=None),
        )


def _count_prompt_tokens(request: Request) -> int:
    return count_chat(message["content"] for message in request.messages)


_lanes: dict[tuple[str, str], Lane] = {}


@contextmanager
def use_lane(provider: Provider, ledger: Ledger) -> Iterator[Lane]:
    """Yield the lane of a provider's account on this ledger. Enter and leave it only in the event loop."""
    account = digest(dict(provider.account()))
    key = (account, ledger.url)
    if key not in _lanes:
        _lanes[key] = Lane(Pace(ledger, account))
    lane = _lanes[key]
    lane.enter(provider)
    try:
        yield lane
    finally:
        lane.leave(provider)
