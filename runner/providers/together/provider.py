"""Together: the chat dialect, with log-probabilities and endpoints of its own."""

from __future__ import annotations

from dataclasses import dataclass

from runner.core.errors import ConfigError
from runner.core.provider import Batcher, Tuner
from runner.providers.together.account import Account


@dataclass(kw_only=True, eq=False)
class Together(Account):
    """Chat completions at Together.

    ``thinking``     whether a model that can choose thinks, where ``hyperparameter.reasoning_effort`` is not
                     set; null leaves it to the model
    ``stands_for``   the model behind an endpoint; its name identifies answers, not the endpoint's
    ``deployment``   how fine-tuned models are hosted: :class:`runner.providers.together.hosting.Deployment`
    """

    def batcher(self) -> Batcher:
        """Batches in this account; an endpoint of one's own has none."""
        from runner.providers.together.batch import TogetherBatcher  # httpx2 takes 0.1 s to import

        if self.stands_for:
            raise ConfigError(
                "provider.batch=true: together asks only its shared models in batches, and a fine-tuned one"
                " is on an endpoint of its own; set provider.batch=false"
            )
        return TogetherBatcher(self)

    def tuner(self) -> Tuner:
        """Fine-tuning in this account."""
        from runner.providers.together.tuning import TogetherTuner

        return TogetherTuner(self)
