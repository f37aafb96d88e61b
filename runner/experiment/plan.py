"""From a config to a plan: create and check everything before anything is paid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from omegaconf import DictConfig, OmegaConf

from runner.config.instantiate import check_call, instantiate
from runner.config.schema import HyperparameterConfig, PromptConfig, RunnerConfig
from runner.config.validate import validate
from runner.core.adapt import adapt
from runner.core.errors import ConfigError, name_place
from runner.core.identity import read_identity
from runner.core.provider import Deployer, Provider, Tuner
from runner.core.types import Score
from runner.engine.fresh import read_fresh
from runner.experiment.sampling import leave_out_lacking, make_sampling
from runner.money.budget import find_bounding_price
from runner.money.prices import PriceBook, load_prices
from runner.parse import Text, check_parser
from runner.pipeline.answer import Responder
from runner.pipeline.checkpoint import read_place
from runner.pipeline.judge import Sides, make_sides
from runner.pipeline.prompt import compile_prompt

Metric = Callable[[pl.DataFrame], dict[str, Score]]


@dataclass(frozen=True)
class Plan:
    """An experiment, ready to run."""

    config: RunnerConfig
    responder: Responder
    judge: Responder | None
    sides: Sides | None
    """What the judge compares, if it is asked in both orders."""
    metrics: Mapping[str, Metric]
    tuner: Tuner | None
    """Trains models at the provider; None without fine-tuning."""


def make_plan(config: DictConfig, asks: bool = True) -> Plan:
    """Check a composed config and create the objects that it names. Costs nothing.

    Raises :class:`ConfigError` for a mistake in the config. Without ``asks`` the plan makes no calls, and so
    needs no API keys.
    """
    typed = OmegaConf.to_object(config)
    assert isinstance(typed, RunnerConfig)
    validate(typed)
    typed.fresh = read_fresh(typed.fresh)
    book = load_prices(typed.prices)
    responder = _make_responder(typed.prompt, typed.provider, typed.hyperparameter, book, asks, typed.fresh)
    judge = _make_judge(typed, book, asks)
    tuner = _make_tuner(typed, responder.provider)
    if typed.budget_usd is not None:
        _check_budget(typed, responder, judge, tuner)
    return Plan(
        config=typed,
        responder=responder,
        judge=judge,
        sides=make_sides(typed.judge, judge.parser) if typed.judge and judge else None,
        tuner=tuner,
        metrics={
            name: instantiate(node, f"metric.{name}")
            for name, node in typed.metric.items()
            if node is not None
        },
    )


def make_provider(node: Any, key: str = "provider") -> Provider:
    """Return the provider that a config node names; ``key`` is its place in the config, for messages."""
    given = [str(name) for name in node if not str(name).startswith("_")]
    provider = instantiate(node, key, "complete")
    check_call(provider.complete, key, "request")
    adapted = adapt(provider, key, given)
    if not type(provider).__module__.startswith("runner."):
        for ask in (lambda: read_identity(adapted), adapted.account, adapted.check_limits):
            with name_place(key):
                ask()
    return adapted


def make_deployer(node: Any) -> Deployer | None:
    """Return the half of a config node's provider that makes deployments; None if it has none."""
    provider = make_provider(node)
    if type(provider).tuner is Provider.tuner:
        return None
    tuner = provider.tuner()
    return tuner if isinstance(tuner, Deployer) else None


def _check_budget(
    config: RunnerConfig, responder: Responder, judge: Responder | None, tuner: Tuner | None
) -> None:
    """Raise :class:`ConfigError` if the cost of a call, a training or hosting is unknown or has no bound."""
    find_bounding_price(responder.provider, responder.sampling, responder.book)
    if judge:
        find_bounding_price(judge.provider, judge.sampling, judge.book, "judge.")
    if config.finetune.name != "none":
        price = responder.book.find_tuned_price(responder.provider)
        if price is None or price.training is None:
            name, model = responder.provider.name, responder.provider.model
            raise ConfigError(
                f"budget_usd: no price is known for fine-tuning {model} ({name}); see prices.models"
            )
        if responder.book.find_hourly_price(responder.provider, tuner) is None:
            what = getattr(tuner, "hardware", responder.provider.model)
            raise ConfigError(
                f"budget_usd: no price is known for an hour of hosting ({responder.provider.name}); name it:"
                f" '+prices.models={{{what}: {{hosting_per_hour: …}}}}'"
            )


def _make_tuner(config: RunnerConfig, provider: Provider) -> Tuner | None:
    read_place(config.checkpoint)
    if config.finetune.name == "none":
        return None
    if config.hyperparameter.n_shot:
        raise ConfigError(
            "hyperparameter.n_shot: a fine-tuned model is trained and asked without shots; set it to 0"
        )
    return provider.tuner()


def _make_judge(config: RunnerConfig, book: PriceBook, asks: bool) -> Responder | None:
    judge = config.judge
    if judge is None:
        return None
    node = judge.provider or config.provider
    responder = _make_responder(judge.prompt, node, judge.hyperparameter, book, asks, config.fresh, "judge.")
    return replace(responder, vote=judge.reduce.value)


def _make_responder(
    prompt: PromptConfig,
    provider_node: Any,
    hyperparameter: HyperparameterConfig,
    book: PriceBook,
    asks: bool,
    fresh: str | None,
    prefix: str = "",
) -> Responder:
    compiled = compile_prompt(prompt, f"{prefix}prompt")
    parser = instantiate(prompt.parser, f"{prefix}prompt.parser") if prompt.parser else Text()
    check_call(parser, f"{prefix}prompt.parser", "text")
    check_parser(parser, f"{prefix}prompt.parser")
    provider = make_provider(provider_node, f"{prefix}provider")
    leave_out_lacking(hyperparameter, provider, prefix)
    sampling = make_sampling(hyperparameter, prompt)
    responder = Responder(compiled, provider, parser, sampling, book, asks, fresh, hyperparameter.repeats)
    with name_place(f"{prefix}provider"):
        responder.check()
    return responder


def to_plain(config: RunnerConfig) -> dict[str, Any]:
    """Return the config as plain data, for the record, without the groups of other commands."""
    plain = dataclasses.asdict(config)
    return {key: value for key, value in plain.items() if key not in ("reproduce", "export", "show")}
