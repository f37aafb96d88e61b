"""Check values that have the right type but are out of range, before anything is paid."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.dataset_schema import StepConfig
from runner.config.schema import HyperparameterConfig, JudgeConfig, RunnerConfig
from runner.config.secrets import refuse_secrets
from runner.core.errors import ConfigError, suggest

Rule = tuple[Callable[[Any], bool], str]

POSITIVE: Rule = (lambda value: value > 0, "must be greater than 0")
SHARE: Rule = (lambda value: 0 <= value <= 1, "must be between 0 and 1")
COUNT: Rule = (lambda value: value >= 0, "must not be negative")

HYPERPARAMETERS: dict[str, Rule] = {
    "n_shot": COUNT,
    "repeats": (lambda value: 1 <= value <= 1000, "must be between 1 and 1000"),
    "temperature": (lambda value: 0 <= value <= 2, "must be between 0 and 2"),
    "top_p": (lambda value: 0 < value <= 1, "must be above 0 and at most 1"),
    "max_tokens": POSITIVE,
    "logprobs": (lambda value: 0 <= value <= 20, "must be between 0 and 20"),
    "verbosity": (lambda value: value in ("low", "medium", "high"), "must be low, medium or high"),
    "thinking_tokens": COUNT,
    "n_epochs": POSITIVE,
    "batch_size": POSITIVE,
    "learning_rate": POSITIVE,
    "learning_rate_multiplier": POSITIVE,
    "training_steps": POSITIVE,
}


def validate(config: RunnerConfig) -> None:
    """Raise :class:`ConfigError` naming the first key whose value is out of range."""
    _check_hyperparameters(config.hyperparameter, "hyperparameter")
    if config.judge:
        _check_hyperparameters(config.judge.hyperparameter, "judge.hyperparameter")
        for name in config.judge.members:
            _check_member(name)
            settings = merge_hyperparameters(config.judge, name)
            _check_hyperparameters(settings, f"judge.members.{name}.hyperparameter")
    check("dataset.limit", config.dataset.limit, POSITIVE)
    _check_steps(config.scoring.steps)
    check("max_failed", config.max_failed, SHARE)
    check("finetune.poll_s", config.finetune.poll_s, COUNT)
    for name, weight in config.finetune.weights.items():
        check(f"finetune.weights.{name}", weight, POSITIVE)
    check("reference.tolerance", config.reference.tolerance, COUNT)
    check("budget_usd", config.budget_usd, COUNT)
    _check_traces(config.tracking.traces)
    for name, node in dataclasses.asdict(config).items():  # with interpolations resolved
        refuse_secrets(node, name)


def _check_hyperparameters(values: HyperparameterConfig, key: str) -> None:
    for name, rule in HYPERPARAMETERS.items():
        check(f"{key}.{name}", getattr(values, name), rule)


def _check_steps(steps: Sequence[StepConfig]) -> None:
    """Refuse a file in the steps over the answers: what a run reads is known before it asks."""
    for number, step in enumerate(steps):
        if step.join is not None:
            raise ConfigError(
                f"scoring.steps[{number}].join: it reads a file, which belongs to the rows; put it into"
                " dataset.steps"
            )


def _check_member(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfigError(
            f"judge.members: {name!r} becomes part of column names, so it must be of letters, digits and _,"
            " with a letter first"
        )


def merge_hyperparameters(judge: JudgeConfig, member: str) -> HyperparameterConfig:
    """Return the hyperparameters of a judge's member: its own, and the judge's where it sets none."""
    own, key = judge.members[member].hyperparameter, f"judge.members.{member}.hyperparameter"
    known = [each.name for each in dataclasses.fields(HyperparameterConfig)]
    if unknown := [name for name in own if name not in known]:
        raise ConfigError(f"{key}.{unknown[0]}: no such key{suggest(str(unknown[0]), known)}")
    try:
        merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(judge.hyperparameter), own))
    except OmegaConfBaseException as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(f"{key}.{error.full_key}: {first}") from error
    assert isinstance(merged, HyperparameterConfig)
    return merged


def check(key: str, value: Any, rule: Rule) -> None:
    """Raise :class:`ConfigError` naming ``key`` if its value breaks the rule; null breaks none."""
    is_allowed, requirement = rule
    if value is not None and not is_allowed(value):
        raise ConfigError(f"{key}: {value!r} {requirement}")


def _check_traces(value: Any) -> None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value in ("all", "failures", "none", None) or (is_number and value >= 0):
        return
    raise ConfigError(f"tracking.traces: {value!r} must be all, failures, none or a number of rows")
