"""One lane for each account: what all requests of a process to it share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runner.core.digest import digest
from runner.core.errors import RetryableError
from runner.core.provider import Provider, RateLimits
from runner.core.tokens import Calibration, count_chat
from runner.core.types import Completion, Request
from runner.engine.ledger import Ledger
from runner.engine.limits import Gate, Pace


class Lane:
    """What all requests of this process to one account share: gate, pace, and how many tokens texts have."""

    def __init__(self, pace: Pace) -> None:
        self.gate = Gate(1)
        self.pace = pace
        self._users: list[Provider] = []
        self._prompts, self._answers = Calibration(), Calibration()

    def enter(self, provider: Provider) -> None:
        """Count a provider among those that use the account now."""
        self._users.append(provider)
        self._set_limits()

    def leave(self, provider: Provider) -> None:
        """Forget one that is through."""
        self._users.remove(provider)
        if self._users:
            self._set_limits()

    async def wait_turn(self, request: Request) -> None:
        """Wait until a request may start."""
        await self.pace.wait_turn(self.estimate_tokens(request) if self.pace.counts_tokens else 0.0)

    def note_answer(self, request: Request, completion: Completion, limits: RateLimits | None) -> None:
        """The server answered, and told perhaps what it allows."""
        self.gate.note_success()
        self.pace.note_answer(limits)
        if self.pace.counts_tokens:
            self._prompts.add(completion.input_tokens, _prompt_tokens(request))
            self._answers.add(completion.output_tokens, 1)

    def note_failure(self, error: RetryableError) -> None:
        """The server refused for its rate limit, or does not keep up."""
        if error.limited:
            self.pace.note_refusal(error.retry_after)
        else:
            self.gate.note_failure()

    def estimate_tokens(self, request: Request) -> float:
        """Tokens that a request counts for: its prompt, as counted so far for others, and its longest answer.

        Where nothing bounds the answer, it is as long as the others were on average.
        """
        answer = request.sampling.max_tokens
        return self._prompts.ratio * _prompt_tokens(request) + (
            self._answers.ratio if answer is None else answer
        )

    def _set_limits(self) -> None:
        """Of several that use the account at once, the strictest limit and the widest gate count."""
        self.gate.resize(max(user.max_concurrency for user in self._users))
        self.pace.set_limits(
            min((user.requests_per_minute for user in self._users if user.requests_per_minute), default=None),
            min((user.tokens_per_minute for user in self._users if user.tokens_per_minute), default=None),
        )


def _prompt_tokens(request: Request) -> int:
    return count_chat(message["content"] for message in request.messages)


_lanes: dict[tuple[str, str], Lane] = {}


@contextmanager
def use_lane(provider: Provider, ledger: Ledger) -> Iterator[Lane]:
    """The lane of a provider's account on this ledger. Entered and left in the event loop only."""
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
