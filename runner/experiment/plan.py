"""From a config to a plan: create and check everything before anything is paid."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from omegaconf import DictConfig, OmegaConf

from runner.config.instantiate import check_call, instantiate
from runner.config.schema import HyperparameterConfig, MemberConfig, PromptConfig, RunnerConfig
from runner.config.validate import merge_hyperparameters, validate
from runner.core.adapt import adapt
from runner.core.errors import ConfigError, name_keys, name_place, suggest
from runner.core.identity import read_identity
from runner.core.provider import REPLAY, Deployer, Provider, Tuner
from runner.core.types import Sampling, Score
from runner.engine.fresh import read_fresh
from runner.money.budget import find_bounding_price
from runner.money.prices import PriceBook, load_prices
from runner.parse import Text, check_parser
from runner.pipeline.answer import Responder
from runner.pipeline.checkpoint import read_place
from runner.pipeline.judge import Judge, Panel, Rule, make_sides
from runner.pipeline.judge.figures import find_judge_metrics
from runner.pipeline.prompt import compile_prompt

log = logging.getLogger(__name__)

Metric = Callable[[pl.DataFrame], dict[str, Score]]

REPEATABLE = ("temperature", "seed")
"""Settings whose 0 means: as repeatable as the service allows."""
_warned: set[str] = set()


@dataclass(frozen=True)
class Plan:
    """An experiment, ready to run."""

    config: RunnerConfig
    responder: Responder
    panel: Panel | None
    """Who judges the answers."""
    metrics: Mapping[str, Metric]
    added: frozenset[str]
    """The metrics that the config does not name, but the judges bring with them."""
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
    panel, tuner = _make_panel(typed, book, asks), _make_tuner(typed, responder.provider)
    if typed.budget_usd is not None:
        _check_budget(typed, responder, panel, tuner)
    added = find_judge_metrics(typed, responder, panel) if panel else {}
    typed.metric |= added
    return Plan(
        config=typed,
        responder=responder,
        panel=panel,
        added=frozenset(added),
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
    config: RunnerConfig, responder: Responder, panel: Panel | None, tuner: Tuner | None
) -> None:
    """Raise :class:`ConfigError` if the cost of a call, a training or hosting is unknown or has no bound."""
    for each in (responder, *(judge.responder for judge in (panel.judges if panel else ()))):
        find_bounding_price(each.provider, each.sampling, each.book, each.key)
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


def _make_panel(config: RunnerConfig, book: PriceBook, asks: bool) -> Panel | None:
    """Return the judges of a config; one without members is a panel of one."""
    judge = config.judge
    if judge is None:
        return None
    judges, vote = [], judge.vote.value
    for name, member in (judge.members or {"": MemberConfig()}).items():
        own = f"judge.members.{name}."
        settings = merge_hyperparameters(judge, name) if name else judge.hyperparameter
        responder = _make_responder(
            member.prompt or judge.prompt,
            member.provider or judge.provider or config.provider,
            settings,
            book,
            asks,
            config.fresh,
            prompt_key=own if member.prompt else "judge.",
            provider_key=own if member.provider else "judge." if judge.provider else "",
            key=own if name else "judge.",
        )
        if not (member.provider or judge.provider) and responder.provider.name == REPLAY:
            raise ConfigError(
                f"{own if name else 'judge.'}provider: a judge without a provider is the model that is"
                f" judged, and recorded answers have none (provider={REPLAY}); choose who judges, such as"
                " provider@judge.provider=local"
            )
        if name:  # what the service has no counterpart for was set to null, and the record says so
            inherited = dataclasses.asdict(merge_hyperparameters(judge, name)).items()
            member.hyperparameter |= {k: None for k, v in inherited if v != getattr(settings, k)}
        prompt_key = f"{own if member.prompt else 'judge.'}prompt"
        sides = make_sides(judge, responder.parser, prompt_key)
        alone = Judge(responder, sides, name, prompt_key=prompt_key)
        judges.append(replace(alone, rule=Rule(vote, alone.values, sides is not None)))
    return Panel(tuple(judges), vote)


def _make_responder(
    prompt: PromptConfig,
    provider_node: Any,
    hyperparameter: HyperparameterConfig,
    book: PriceBook,
    asks: bool,
    fresh: str | None,
    prompt_key: str = "",
    provider_key: str = "",
    key: str = "",
) -> Responder:
    """Return who answers; the keys say where its prompt, its provider and its settings are."""
    compiled, place = compile_prompt(prompt, f"{prompt_key}prompt"), f"{prompt_key}prompt.parser"
    parser = instantiate(prompt.parser, place) if prompt.parser else Text()
    check_call(parser, place, "text")
    check_parser(parser, place)
    provider = make_provider(provider_node, f"{provider_key}provider")
    leave_out_lacking(hyperparameter, provider, key)
    sampling, asked = make_sampling(hyperparameter, prompt), hyperparameter.repeats
    places = {"hyperparameter": key, "prompt": prompt_key, "provider": provider_key}
    responder = Responder(compiled, provider, parser, sampling, book, asks, fresh, asked, key, places)
    with name_place(f"{provider_key}provider"), name_keys(places):
        responder.check()
    return responder


def leave_out_lacking(hyperparameter: HyperparameterConfig, provider: Provider, key: str = "") -> None:
    """Set to null what the provider has no counterpart for, so that the record says what was asked.

    Only a temperature of 0 and a seed of 0 are left out, with one warning: they ask for answers as repeatable
    as the service allows. Raises :class:`ConfigError` for any other value, since a reading would be wrong
    that claims it. ``key`` is ``judge.`` for a judge.
    """
    left_out = []
    known = [item.name for item in dataclasses.fields(Sampling) if hasattr(hyperparameter, item.name)]
    for name in provider.lacking():
        if name not in known:
            raise ConfigError(f"{key}provider.lacks: {name!r} is no sampling setting{suggest(name, known)}")
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


def to_plain(config: RunnerConfig) -> dict[str, Any]:
    """Return the config as plain data, for the record, without the groups of other commands."""
    plain = dataclasses.asdict(config)
    return {key: value for key, value in plain.items() if key not in ("reproduce", "export", "show")}
