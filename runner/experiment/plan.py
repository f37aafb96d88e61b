"""From a config to a plan: everything instantiated and checked before anything is paid."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

import polars as pl
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from runner.config.schema import HyperparameterConfig, PromptConfig, RunnerConfig
from runner.config.validate import validate
from runner.core.errors import ConfigError, suggest
from runner.core.provider import Provider, Tuner
from runner.core.types import Score
from runner.money import budget, prices
from runner.money.prices import Book
from runner.parse import Text
from runner.pipeline.prompt import compile_prompt
from runner.pipeline.respond import Responder, sampling

Metric = Callable[[pl.DataFrame], dict[str, Score]]


@dataclass(frozen=True)
class Plan:
    """An experiment, ready to run."""

    config: RunnerConfig
    responder: Responder
    judge: Responder | None
    metrics: Mapping[str, Metric]
    tuner: Tuner | None
    """The fine-tuning half of the provider, where the config asks for it."""


def plan(config: DictConfig, asks: bool = True) -> Plan:
    """Check a composed config and build what it names; raises :class:`ConfigError`, never pays.

    Without ``asks`` it is for looking only, and keys are not wanted.
    """
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, RunnerConfig)
    validate(typed)
    book = prices.load_prices(typed.prices)
    responder = _responder(typed.prompt, typed.provider, typed.hyperparameter, book, asks)
    judge = _judge(typed, book, asks)
    if typed.budget_usd is not None:
        _payable(typed, responder, judge)
    return Plan(
        config=typed,
        responder=responder,
        judge=judge,
        tuner=_tuner(typed, responder.provider),
        metrics={
            name: build(node, f"metric.{name}") for name, node in typed.metric.items() if node is not None
        },
    )


def _payable(config: RunnerConfig, responder: Responder, judge: Responder | None) -> None:
    """Refuse a budget where what is spent could not be told, or not bounded."""
    budget.payable(responder)
    if judge:
        budget.payable(judge, "judge.")
    name, model = responder.provider.name, responder.provider.model
    if config.finetune.name != "none":
        price = responder.book.tuned(name, getattr(responder.provider, "priced_as", None) or model)
        if price is None or price.training is None:
            raise ConfigError(
                f"budget_usd: no price is known for fine-tuning {model} ({name}); see prices.models"
            )


def _tuner(config: RunnerConfig, provider: Provider) -> Tuner | None:
    if config.finetune.name == "none":
        return None
    if config.hyperparameter.n_shot:
        raise ConfigError(
            "hyperparameter.n_shot: a fine-tuned model is trained and asked without shots; set 0"
        )
    make = getattr(provider, "tuner", None)
    if make is None:
        raise ConfigError(f"finetune: provider {provider.name} cannot fine-tune; provider=local can")
    tuner: Tuner = make()
    return tuner


def _judge(config: RunnerConfig, book: Book, asks: bool) -> Responder | None:
    judge = config.judge
    if judge is None:
        return None
    return _responder(
        judge.prompt, judge.provider or config.provider, judge.hyperparameter, book, asks, "judge."
    )


def _responder(
    prompt: PromptConfig,
    provider_node: Any,
    hyperparameter: HyperparameterConfig,
    book: Book,
    asks: bool,
    prefix: str = "",
) -> Responder:
    compiled = compile_prompt(prompt, f"{prefix}prompt")
    parser = build(prompt.parser, f"{prefix}prompt.parser") if prompt.parser else Text()
    provider = build(provider_node, f"{prefix}provider")
    if not isinstance(provider, Provider):
        raise ConfigError(f"{prefix}provider: {type(provider).__name__} has no 'complete' and 'identity'")
    responder = Responder(compiled, provider, parser, sampling(hyperparameter, prompt), book, asks)
    responder.check()
    return responder


def build(node: Any, key: str) -> Any:
    """Instantiate a ``_target_`` node; ``key`` is where it stands in the config, for messages."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{key}: a node with a _target_ is wanted, not {node!r}")
    _check_arguments(dict(node), key)
    try:
        return instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise ConfigError(f"{key}: {cause}") from error
        reason = str(cause or error).splitlines()[0]
        raise ConfigError(f"{key}: cannot make {node['_target_']}: {reason}") from error


def _check_arguments(node: dict[str, Any], key: str) -> None:
    """A mistyped key of an open node gets the same help as one of a closed group."""
    target = str(node["_target_"])
    try:
        parameters = inspect.signature(resolve_name(target)).parameters
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{key}._target_: no class {target!r} ({error})") from error
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in node:
        if not name.startswith("_") and name not in parameters:
            raise ConfigError(f"{key}.{name}: no such key{suggest(name, parameters)}")
    for name, parameter in parameters.items() if not node.get("_partial_") else ():
        if parameter.default is parameter.empty and name not in node:
            raise ConfigError(f"{key}.{name}: a value is required")


def resolved(config: RunnerConfig) -> dict[str, Any]:
    """The experiment as plain data, for the record; without what is said to other commands."""
    plain = dataclasses.asdict(config)
    return {key: value for key, value in plain.items() if key not in ("reproduce", "export")}
