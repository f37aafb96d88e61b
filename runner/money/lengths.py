"""How long a model's answers are, learned from those that were bought: a mean per model and settings.

The ledger keeps a sum and a count of the tokens written, for each identity of a provider with its sampling.
So an estimate knows the length of answers to rows that were never asked, which matters most for models that
think.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.core.errors import ProviderError
from runner.core.identity import digest, read_identity
from runner.core.provider import Provider
from runner.core.types import Sampling
from runner.engine.call import Answer, drop_nulls
from runner.engine.ledger import Ledger

KIND = "length"


def note_lengths(ledger: Ledger, provider: Provider, sampling: Sampling, answers: Iterable[Answer]) -> None:
    """Add the lengths of answers that were bought just now."""
    bought = [answer.completion for answer in answers if not (answer.stored or answer.repeated)]
    written = [completion.output_tokens for completion in bought if completion and completion.output_tokens]
    if not written or not provider.stored:
        return

    def add(known: dict[str, Any] | None) -> dict[str, Any]:
        count, tokens = (known or {}).get("answers", 0), (known or {}).get("tokens", 0)
        return {"answers": count + len(written), "tokens": tokens + sum(written)}

    ledger.change(KIND, _make_key(provider, sampling), add)


def find_mean_length(ledger: Ledger, provider: Provider, sampling: Sampling) -> float | None:
    """Return the mean tokens of the answers bought with these settings, or None if there are none."""
    try:
        known = ledger.get(KIND, _make_key(provider, sampling))
    except ProviderError:  # a local model without its weights on this machine
        return None
    return known["tokens"] / known["answers"] if known else None


def _make_key(provider: Provider, sampling: Sampling) -> str:
    """The seed does not count: it changes each answer, and none of their lengths on average."""
    settings = {name: value for name, value in drop_nulls(sampling).items() if name != "seed"}
    return digest([read_identity(provider), settings])
