"""Compare what a run was made of with what is here today: option files, prompts, models, versions."""

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
from runner.config.trust import list_safe_overrides
from runner.core.errors import ConfigError, RunnerError, count_of
from runner.core.identity import read_identity
from runner.core.provider import Provider
from runner.experiment import model
from runner.experiment import plan as build
from runner.experiment.plan import Plan
from runner.pipeline.judge.figures import is_judge_metric
from runner.pipeline.prompt import compile_prompt
from runner.pipeline.template import SUFFIX
from runner.providers.local import weights
from runner.records import environment
from runner.records.judges import find_judge_node, list_judges
from runner.records.record import Record, dumps, loads
from runner.reproduce import past_run
from runner.reproduce.differences import Check, State, compare_settings
from runner.reproduce.past_run import PastRun
from runner.reproduce.recorded import Recorded

DECIDING = ("dataset", "prompt", "provider", "hyperparameter", "metric", "judge", "finetune", "checkpoint")
"""The parts of a config that decide what is measured."""


def check_config(past: PastRun, trust: bool = False) -> Check:
    """Check whether the same command would compose the same config from today's option files.

    Without ``trust``, overrides that would import other code or leave the search path are left out.
    """
    overrides = past.record.overrides if trust else list_safe_overrides(past.record.overrides)
    try:
        now = build.to_plain(_to_object(compose("config", overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        reason = _shorten(explain(error)[0].removeprefix("error: "))
        return Check("option files", "missing", f"{reason}; was there a --config-dir?", decides=False)
    then, today = past.record.config, _read_back(now)
    named = {name: node for name, node in then["metric"].items() if name in today["metric"]}
    brought = {name for name, node in then["metric"].items() if is_judge_metric(node)}
    then = {**then, "metric": named | {n: then["metric"][n] for n in then["metric"] if n not in brought}}
    changed = compare_settings({key: then[key] for key in DECIDING}, {key: today[key] for key in DECIDING})
    return Check("option files", "different" if changed else "same", "; ".join(changed))


def check_prompts(past: PastRun) -> list[Check]:
    """Check whether the prompt files still hold the recorded texts. The recorded texts are used."""
    config = past.full_config
    given: dict[str, PromptConfig | None] = {"prompt": config.prompt}
    if judge := config.judge:
        members = judge.members.items()
        if not members or any(member.prompt is None for _, member in members):
            given["judge.prompt"] = judge.prompt
        given |= {f"judge.members.{name}.prompt": member.prompt for name, member in members}
    return [check for key, prompt in given.items() if prompt for check in _check(prompt, key, past.texts)]


def _check(prompt: PromptConfig, key: str, then: Mapping[str, str]) -> list[Check]:
    try:
        now = past_run.get_turn_texts(compile_prompt(prompt, key), key)
    except RunnerError as error:
        return [Check(key, "missing", f"{_shorten(error)}; the recorded text is used", decides=False)]
    changed = [name for name in now if now[name] != then.get(name)]
    if not changed:
        return [Check(key, "same", ", ".join(_list_files(prompt)))]
    return [Check(name, "different", _show_change(then.get(name, ""), now[name])) for name in changed]


def _list_files(prompt: PromptConfig) -> list[str]:
    turns = (getattr(prompt, turn) for turn in past_run.TURNS)
    return [turn for turn in turns if turn and turn.endswith(SUFFIX) and "\n" not in turn]


def _show_change(then: str, now: str) -> str:
    """The first line that was removed and the first that was added.

    >>> _show_change("one\\ntwo", "one\\nthree")
    '- two + three'
    """
    changed = [line for line in ndiff(then.splitlines(), now.splitlines()) if line[0] in "-+"]
    first = [next((line for line in changed if line[0] == sign), "") for sign in "-+"]
    return " ".join(line for line in first if line) or "white space at the end"


def find_provider_nodes(record: Record) -> dict[str, Any]:
    """The provider nodes of a config: ``model``, with the checkpoint that was evaluated, and the judges."""
    config = record.config
    chosen = next((item["model"] for item in record.models if item["evaluated"]), config["checkpoint"])
    node = config["provider"]
    found = {"model": node if chosen in (None, "base") else {**node, "model": str(chosen)}}
    for who in list_judges(config):
        own = find_judge_node(config["judge"], who)
        found[who] = own["provider"] or config["judge"]["provider"] or node
    return found


def find_provider_places(record: Record) -> dict[str, Any]:
    """The provider nodes of :func:`find_provider_nodes` by their keys in a config."""
    judge = record.config["judge"]
    found = {"provider": find_provider_nodes(record)["model"]}
    if judge and judge["provider"]:
        found["judge.provider"] = judge["provider"]
    for name, member in ((judge or {}).get("members") or {}).items():
        if member["provider"]:
            found[f"judge.members.{name}.provider"] = member["provider"]
    return found


def try_make_provider(node: Any) -> Provider | None:
    """The provider of a config node, or None where its class is not installed."""
    try:
        return build.make_provider(node)
    except ConfigError:
        return None


def check_identity(who: str, then: Mapping[str, Any], provider: Provider | None) -> Check:
    """Check whether the same model would answer today. Needs no key and no network."""
    try:
        with weights.stay_offline():
            now = _read_back(read_identity(provider)) if provider else None
    except RunnerError as error:
        return Check(who, "missing", _shorten(error), decides=False)
    if now is None:
        return Check(who, "missing", "its class is not installed here", decides=False)
    changed = compare_settings(then, now)
    shown = ", ".join(f"{value}"[:40] for value in then.values())
    return Check(who, "different" if changed else "same", "; ".join(changed) or shown)


def check_training(past: PastRun, plan: Plan, frame: pl.DataFrame) -> list[Check]:
    """Check whether the same rows and settings would train the same model. Empty where none was trained."""
    if "base" not in past.record.identities:
        return []
    base = Recorded(known_as=past.record.identities["base"])
    responder = replace(plan.responder, provider=base)
    try:
        order = model.make_order(replace(plan, config=past.full_config, responder=responder), frame)
    except RunnerError as error:
        return [Check("training", "missing", _shorten(error), decides=False)]
    same = order.key == past.record.params.get("finetune_key")
    rows = ", ".join(f"{file.name}: {count_of(file.rows, 'row')}" for file in order.training)
    return [Check("training", "same" if same else "different", rows)]


def check_versions(record: Record) -> list[Check]:
    """Compare code and packages. They decide nothing, since what they change is compared itself.

    The code is this package's. An old record does not have it, but only the commit of its folder.
    """
    then, now = record.tags.get("code", ""), environment.find_code()
    code = f"{then or 'not recorded'} → {now}" if then != now else then
    state: State = "missing" if not then else "same" if then == now else "different"
    changed = compare_settings(record.environment, environment.find_versions())
    return [
        Check("code", state, code, decides=False),
        Check("packages", "different" if changed else "same", "; ".join(changed), decides=False),
    ]


def _shorten(error: object) -> str:
    """A message without its suggestions."""
    return str(error).partition(";")[0]


def _to_object(config: Any) -> RunnerConfig:
    return cast(RunnerConfig, OmegaConf.to_object(config))


def _read_back(node: Any) -> Any:
    """A config node as it would come back from a record."""
    return loads(dumps(node))
