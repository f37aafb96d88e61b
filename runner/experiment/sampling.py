"""From hyperparameters to what a request carries, and what a service has no counterpart for."""

from __future__ import annotations

import logging

from runner.config.schema import HyperparameterConfig, PromptConfig
from runner.core.errors import ConfigError
from runner.core.provider import Provider
from runner.core.types import Sampling

log = logging.getLogger(__name__)

REPEATABLE = ("temperature", "seed")
"""Settings whose 0 means: as repeatable as the service allows."""
_warned: set[str] = set()


def leave_out_lacking(hyperparameter: HyperparameterConfig, provider: Provider, key: str = "") -> None:
    """Set to null what the provider has no counterpart for, so that the record says what was asked.

    Only a temperature of 0 and a seed of 0 are left out, with one warning: they ask for answers as repeatable
    as the service allows. Raises :class:`ConfigError` for any other value, since a reading would be wrong
    that claims it. ``key`` is ``judge.`` for a judge.
    """
    left_out = []
    for name in provider.lacking():
        value = getattr(hyperparameter, name)
        if name in REPEATABLE and value == 0:
            setattr(hyperparameter, name, None)
            left_out.append(f"{key}hyperparameter.{name}")
        elif value is not None:
            raise ConfigError(
                f"{key}hyperparameter.{name}={value}: provider={provider.name} has none; null leaves it out"
            )
    text = f"{provider.name} has no {' and no '.join(left_out)}: left out (null in the record)"
    if left_out and text not in _warned:
        _warned.add(text)
        log.warning("%s", text)


def make_sampling(hyperparameter: HyperparameterConfig, prompt: PromptConfig) -> Sampling:
    """Return the hyperparameters that an inference request carries."""
    return Sampling(
        temperature=hyperparameter.temperature,
        top_p=hyperparameter.top_p,
        max_tokens=hyperparameter.max_tokens,
        seed=hyperparameter.seed,
        stop=tuple(hyperparameter.stop) if hyperparameter.stop else None,
        logprobs=hyperparameter.logprobs,
        response_format=prompt.response_format.value,
        json_schema=prompt.json_schema,
        reasoning_effort=hyperparameter.reasoning_effort,
        verbosity=hyperparameter.verbosity,
        thinking_tokens=hyperparameter.thinking_tokens,
    )
