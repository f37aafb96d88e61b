"""What a run was made of, against what is here today: option files, prompts, models, versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import ndiff
from typing import Any, cast

import polars as pl
from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.explain import explain
from runner.config.schema import PromptConfig, RunnerConfig
from runner.core.errors import ConfigError, RunnerError
from runner.core.provider import Provider
from runner.experiment import model
from runner.experiment import plan as build
from runner.experiment.plan import Plan
from runner.pipeline.prompt import SUFFIX, compile_prompt
from runner.providers.local import weights
from runner.records import environment
from runner.records.record import Record, dumps, loads
from runner.reproduce import past_run
from runner.reproduce.differences import Check, settings
from runner.reproduce.past_run import Past
from runner.reproduce.recorded import Recorded

DECIDING = ("dataset", "prompt", "provider", "hyperparameter", "metric", "judge", "finetune", "checkpoint")
"""The parts of a config that decide what is measured."""


def config(past: Past) -> Check:
    """Whether the same command would compose the same config from today's option files."""
    try:
        now = build.to_plain(_object(compose("config", past.record.overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        reason = _short(explain(error)[0].removeprefix("error: "))
        return Check("option files", "missing", f"{reason}; was there a --config-dir?", decides=False)
    then = past.record.config
    changed = settings({key: then[key] for key in DECIDING}, {key: _plain(now)[key] for key in DECIDING})
    return Check("option files", "different" if changed else "same", "; ".join(changed))


def prompts(past: Past) -> list[Check]:
    """Whether the prompts' files still hold the recorded texts, which are the ones that are used."""
    config = past.whole
    given = {"prompt": config.prompt, "judge.prompt": config.judge.prompt if config.judge else None}
    return [check for key, prompt in given.items() if prompt for check in _prompt(prompt, key, past.texts)]


def _prompt(prompt: PromptConfig, key: str, then: Mapping[str, str]) -> list[Check]:
    try:
        now = past_run.texts(compile_prompt(prompt, key), key)
    except RunnerError as error:
        return [Check(key, "missing", f"{_short(error)}; the record's is used", decides=False)]
    changed = [name for name in now if now[name] != then.get(name)]
    if not changed:
        return [Check(key, "same", ", ".join(_files(prompt)))]
    return [Check(name, "different", _lines(then.get(name, ""), now[name])) for name in changed]


def _files(prompt: PromptConfig) -> list[str]:
    turns = (getattr(prompt, turn) for turn in past_run.TURNS)
    return [turn for turn in turns if turn and turn.endswith(SUFFIX) and "\n" not in turn]


def _lines(then: str, now: str) -> str:
    """The first line that went and the first that came.

    >>> _lines("one\\ntwo", "one\\nthree")
    '- two + three'
    """
    changed = [line for line in ndiff(then.splitlines(), now.splitlines()) if line[0] in "-+"]
    first = [next((line for line in changed if line[0] == sign), "") for sign in "-+"]
    return " ".join(line for line in first if line) or "blank space at its end"


def nodes(record: Record) -> dict[str, Any]:
    """The config nodes of who answered: ``model``, as the checkpoint that was evaluated, and ``judge``."""
    config = record.config
    chosen = next((item["model"] for item in record.models if item["evaluated"]), config["checkpoint"])
    node = config["provider"]
    found = {"model": node if chosen in (None, "base") else {**node, "model": str(chosen)}}
    if config["judge"]:
        found["judge"] = config["judge"]["provider"] or node
    return found


def today(node: Any) -> Provider | None:
    """The provider of a config node, unless its class is not here."""
    try:
        return build.make_provider(node)
    except ConfigError:
        return None


def identity(who: str, then: Mapping[str, Any], provider: Provider | None) -> Check:
    """Whether the same model would answer today. Needs no key and no network."""
    try:
        with weights.stay_offline():
            now = _plain(dict(provider.identity())) if provider else None
    except RunnerError as error:
        return Check(who, "missing", _short(error), decides=False)
    if now is None:
        return Check(who, "missing", "its class is not installed here", decides=False)
    changed = settings(then, now)
    shown = ", ".join(f"{value}"[:40] for value in then.values())
    return Check(who, "different" if changed else "same", "; ".join(changed) or shown)


def training(past: Past, plan: Plan, frame: pl.DataFrame) -> list[Check]:
    """Whether the same rows and settings would train the same model; nothing where none was trained."""
    if "base" not in past.record.identities:
        return []
    base = Recorded(known_as=past.record.identities["base"])
    responder = replace(plan.responder, provider=base)
    try:
        order = model.make_order(replace(plan, config=past.whole, responder=responder), frame)
    except RunnerError as error:
        return [Check("training", "missing", _short(error), decides=False)]
    same = order.key == past.record.params.get("finetune_key")
    rows = ", ".join(f"{file.name}: {file.rows} rows" for file in order.training)
    return [Check("training", "same" if same else "different", rows)]


def versions(record: Record) -> list[Check]:
    """The code and the packages then and now. What they change is compared itself, so they decide nothing."""
    then, now = record.tags.get("git_sha", ""), environment.find_git_sha()
    code = f"{then or '–'} → {now or '–'}" if then != now else then or "no git checkout"
    changed = settings(record.environment, environment.find_versions())
    return [
        Check("code", "same" if then == now else "different", code, decides=False),
        Check("packages", "different" if changed else "same", "; ".join(changed), decides=False),
    ]


def _short(error: object) -> str:
    """A message without its list of what could be meant."""
    return str(error).partition(";")[0]


def _object(config: Any) -> RunnerConfig:
    return cast(RunnerConfig, OmegaConf.to_object(config))


def _plain(node: Any) -> Any:
    """As it would be read back from a record."""
    return loads(dumps(node))
