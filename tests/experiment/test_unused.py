"""Every key of a config counts: it changes what is asked, trained or measured, or it is told that it does
not.

A new key belongs into one of the tables below, or gets a rule in :mod:`runner.experiment.unused`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

import polars as pl
import pytest
from asking import KEY
from commandline import CommandLine
from options import write_options
from servers import Call, Reply, completion, serving

import runner as api
from runner.config.hydra_job import list_typed
from runner.config.schema import RunnerConfig
from runner.core.provider import Provider
from runner.engine.call import make_keys
from runner.experiment import model, stages, unused
from runner.experiment.plan import Plan, make_plan
from runner.pipeline.answer import make_requests
from runner.pipeline.judge.panel import PREFIX, pose_questions
from runner.providers.anthropic import Anthropic
from runner.providers.azure import Azure
from runner.providers.azure import hosting as azure_hosting
from runner.providers.local import Local
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI, OpenAICompatible
from runner.providers.replay import Replay
from runner.providers.together import Together
from runner.providers.together import hosting as together_hosting

FILES = {
    "dataset/odd.yaml": "name: odd\npath: ${oc.env:ROWS}\nsplit: {fractions: {train: 0.5, test: 0.5}}\n",
    "prompt/odd.yaml": "name: odd\nuser: 'Text {{ text }}'\n"
    "parser: {_target_: runner.parse.Label, labels: ['0', '1']}\njson_schema: {type: object}\n",
    "judge/odd.yaml": "name: odd\nprompt: {name: j, user: 'ok? {{ completion }}',"
    " parser: {_target_: runner.parse.Label, labels: ['0', '1']}}\nprovider: null\n"
    "hyperparameter: {temperature: 0, max_tokens: 9, seed: 0}\n",
    "judge/two.yaml": "defaults: [odd, _self_]\nmembers: {a: {}, b: {hyperparameter: {seed: 4}}}\n",
    "judge/own.yaml": "defaults: [odd, _self_]\nmembers:\n  a: {provider: {_target_: runner.providers.openai."
    "OpenAICompatible, base_url: 'http://localhost/v1', model: a}, hyperparameter: {seed: 4}}\n",
}
ASKED = ("provider=openai_compatible", "provider.base_url=http://localhost/v1", "provider.model=m")
FIXED = ("dataset=odd", "prompt=odd", "metric=accuracy", "tracking=none")
TRAINS = ("provider=openai", "finetune=supervised")
SHOT, JUDGE, DRAWN = "hyperparameter.n_shot=1", "judge=odd", "hyperparameter.temperature=1"

CHANGES: dict[str, tuple[str, ...]] = {
    "dataset.limit": ("3",),
    "dataset.seed": ("3", "dataset.limit=3"),
    "dataset.split.seed": ("3",),
    "dataset.split.stratify": ("g",),
    "dataset.split.group": ("g",),
    "dataset.split.evaluate": ("train",),
    "dataset.split.train": ("unused", SHOT, "dataset.split.fractions={train: 0.4, test: 0.4}"),
    "prompt.system": ("Hi",),
    "prompt.user": ("'{{ text }}?'",),
    "prompt.assistant": ("'{{ target }}.'", SHOT),
    "prompt.shots.choice": ("random", SHOT),
    "prompt.shots.seed": ("5", SHOT, "prompt.shots.choice=random"),
    "prompt.shots.column": ("g", SHOT, "prompt.shots.choice=similar"),
    "prompt.shots.placement": ("user", SHOT, "prompt.user='{{ text }} {{ shots | length }}'"),
    "prompt.response_format": ("json_object",),
    "hyperparameter.n_shot": ("2",),
    "hyperparameter.repeats": ("2",),
    "hyperparameter.temperature": ("1",),
    "hyperparameter.top_p": ("0.5", DRAWN),
    "hyperparameter.max_tokens": ("3",),
    "hyperparameter.seed": ("3", DRAWN),
    "hyperparameter.stop": ("[x]",),
    "hyperparameter.logprobs": ("3",),
    "hyperparameter.reasoning_effort": ("low",),
    "hyperparameter.verbosity": ("low",),
    "judge.prompt.system": ("Hi", JUDGE),
    "judge.prompt.user": ("'{{ completion }}'", JUDGE),
    "judge.prompt.response_format": ("json_object", JUDGE),
    "judge.both_orders": (
        "[completion,target]",
        JUDGE,
        "judge.prompt.user='{{ row }}'",
        "judge.prompt.parser.labels=[a,b]",
    ),
    "judge.hyperparameter.repeats": ("2", JUDGE),
    "judge.hyperparameter.temperature": ("1", JUDGE),
    "judge.hyperparameter.top_p": ("0.5", JUDGE, f"judge.{DRAWN}"),
    "judge.hyperparameter.max_tokens": ("3", JUDGE),
    "judge.hyperparameter.seed": ("3", JUDGE, f"judge.{DRAWN}"),
    "judge.hyperparameter.stop": ("[x]", JUDGE),
    "judge.hyperparameter.logprobs": ("3", JUDGE),
    "judge.hyperparameter.reasoning_effort": ("low", JUDGE),
    "judge.hyperparameter.verbosity": ("low", JUDGE),
    "judge.members.NAME.hyperparameter": (".max_tokens=8", "judge=two"),
    "hyperparameter.n_epochs": ("3", *TRAINS),
    "hyperparameter.batch_size": ("3", *TRAINS),
    "hyperparameter.learning_rate_multiplier": ("2", *TRAINS),
    "finetune.dataset.limit": ("3", *TRAINS, "dataset@finetune.dataset=odd"),
    "finetune.dataset.seed": ("3", *TRAINS, "dataset@finetune.dataset=odd", "finetune.dataset.limit=3"),
    "dataset.split.validation": ("unused", *TRAINS, "dataset.split.fractions={train: 0.4, test: 0.4}"),
    "fresh": ("again",),
    "provider.model": ("other",),
    "provider.base_url": ("http://localhost/v2",),
    "provider.options": (".top_k=3",),
    "provider.service_name": ("other",),
    "provider.token_limit": ("max_completion_tokens",),
    "provider.effort_field": ("reasoning.effort", "hyperparameter.reasoning_effort=low"),
    "provider.no_effort": (".thinking=3",),
    "provider.api_version": ("'2023-06-01'", "provider=anthropic"),
    "provider.thinking": ("adaptive", "provider=anthropic"),
    "provider.stands_for": ("other", "provider=together"),
    "provider.column": ("target", "provider=replay"),
}
"""Keys that change what is asked or trained, and so its key in the ledger: a value, and what it needs."""

KEEPS = {
    "provider.max_concurrency": ("3",),
    "provider.requests_per_minute": ("3",),
    "provider.tokens_per_minute": ("3",),
    "provider.timeout_s": ("3",),
    "provider.max_wait_s": ("3",),
    "provider.batch": ("true", "provider=openai"),
    "provider.batch_poll_s": ("3", "provider=openai", "provider.batch=true"),
    "provider.priced_as": ("gpt-5.4", "provider=openai"),
    "provider.thinking_tags": ("['<x>']",),
    "provider.api_key_env": ("OTHER_KEY",),
    "provider.lacks": ("[verbosity]",),
    "provider.efforts": ("[low]", "hyperparameter.reasoning_effort=low"),
    "provider.deployment.minutes": ("3", "provider=together"),
    "finetune.suffix": ("x", *TRAINS),
    "finetune.poll_s": ("3", *TRAINS),
    "finetune.memorize": ("true", *TRAINS),
    "max_failed": ("0.5",),
    "tracking.traces": ("3",),
    "prompt.name": ("other",),
    "prompt.check_assistant": ("false", SHOT),
    "judge.name": ("other", JUDGE),
    "judge.vote": ("any", JUDGE, "judge.hyperparameter.repeats=2"),
    "scoring.reduce": ("majority", "hyperparameter.repeats=2"),
    "reference.compare": ("false",),
}
"""Keys that are about pace, price or names, or about what is done with answers: nothing is asked anew."""

ELSEWHERE = {
    r"name|dataset\.(name|path|url|sha256|files.*|format|separator|encoding|rows|pattern|skip|columns|steps"
    r"|params|split\.fractions)|scoring\.steps": "what rows are: refused where they are read",
    r"finetune\.(dataset|extra)\..+": "as those of dataset",
    r"finetune\.name|finetune\.(weights|options|integrations)": "what a service trains: refused there",
    r"(judge\.(members\.NAME\.)?)?prompt\.(name|parser|json_schema)|judge\.members\.NAME\.provider|judge\.provider"
    r"|judge\.members\.NAME\.prompt\..+|judge\.sides\..+": "as those of the run",
    r"(judge\.)?hyperparameter\.(thinking_tokens|learning_rate|training_steps)": "refused where they lack",
    r"metric|require|checkpoint|average_over|objective|budget_usd|provider|prices\..+": "checked",
    r"tracking\.enabled|ledger\.url|reference\.(source|table)": "where things are kept and shown",
    r"(reproduce|export|report|cleanup|show)\..+": "of one command: told on any other",
    r"provider\.(models_dir|context_length|threads|gpu_layers|beside|token_env)": "tests/providers",
    r"provider\.deployment(\..+)?": "checked before a training",
}
"""Patterns of keys that the tables cannot hold, and where it is seen that they count."""


MEMBERS = "judge=own"
TOLD = [
    ("hyperparameter.n_epochs=3", "nothing is trained (finetune=none)"),
    ("hyperparameter={learning_rate: 0.1}", "nothing is trained (finetune=none)"),
    ("finetune.suffix=x", "nothing is trained (finetune=none)"),
    ("finetune.suffix=x", "nothing is trained (checkpoint=base)", *TRAINS, "checkpoint=base"),
    ("finetune.suffix=x", "has another name", "finetune=supervised", "provider=local"),
    ("+finetune.options={lora_rank: 3}", "nothing is trained (finetune=none)"),
    ("provider.deployment.minutes=3", "nothing is trained (finetune=none)", "provider=together"),
    ("dataset.split.validation=x", "nothing is trained (finetune=none)"),
    ("dataset.split.train=x", "no shots are shown (hyperparameter.n_shot=0), and nothing is trained"),
    ("dataset.seed=3", "no rows are drawn (dataset.limit=null)"),
    ("dataset.token_env=X", "only an address at hf:// takes a token"),
    (
        "dataset.split.group=g",
        "no splits are drawn (dataset.split.fractions={})",
        "dataset.split.fractions={}",
    ),
    (
        "finetune.dataset.seed=3",
        "no rows are drawn (finetune.dataset.limit=null)",
        *TRAINS,
        "dataset@finetune.dataset=odd",
    ),
    (
        "finetune.dataset.split.evaluate=train",
        "these rows are trained on",
        *TRAINS,
        "dataset@finetune.dataset=odd",
    ),
    ("dataset.split.validation=x", "are those of finetune.dataset", *TRAINS, "dataset@finetune.dataset=odd"),
    (
        "finetune.extra.odd.split.validation=x",
        "measured on finetune.dataset alone",
        *TRAINS,
        "+dataset@finetune.extra.odd=odd",
    ),
    ("prompt.shots.choice=random", "no shots are shown (hyperparameter.n_shot=0)"),
    ("prompt.shots.seed=3", "prompt.shots.choice is first, and only random and balanced use it", SHOT),
    ("prompt.assistant=x", "no shots are shown (hyperparameter.n_shot=0), and nothing is trained"),
    ("prompt.json_schema.type=array", "the server is not asked for it (prompt.response_format)"),
    ("prompt.response_format=json_object", "the answers are recorded", "provider=replay"),
    ("hyperparameter.temperature=1", "the answers are recorded", "provider=replay"),
    ("hyperparameter.top_p=0.5", "nothing is drawn at temperature 0"),
    ("hyperparameter.seed=3", "nothing is drawn at temperature 0", "provider=local"),
    ("judge.hyperparameter.top_p=0.5", "nothing is drawn at temperature 0", JUDGE),
    ("fresh=x", "the answers are recorded", "provider=replay"),
    ("judge.hyperparameter.n_shot=1", "a judge is shown no shots", JUDGE),
    ("judge.hyperparameter.n_epochs=1", "a judge is not trained", JUDGE),
    ("judge.members.a.hyperparameter.n_shot=1", "a judge is shown no shots", "judge=two"),
    ("judge.prompt.shots.seed=1", "a judge is shown no shots", JUDGE),
    ("judge.hyperparameter.seed=1", "every member of the judge has its own", MEMBERS),
    (
        "judge.provider={_target_: runner.providers.openai.OpenAI}",
        "every member of the judge has its own",
        MEMBERS,
    ),
    ("judge.vote=any", "there is one verdict on each answer", JUDGE),
    ("scoring.reduce=mean", "each row has one answer (hyperparameter.repeats=1)"),
    ("reference.tolerance=1", "there are no published figures (reference.figures={})"),
    ("reference.tolerance=1", "nothing is compared (reference.compare=false)", "reference.compare=false"),
    ("reference.exact=true", "the model is asked anew", "+reference.figures={accuracy: 0.5}"),
    ("reference.averages.points=3", "no points are averaged (average_over=[])"),
    ("tracking.uri=x", "nothing is logged to MLflow (tracking.enabled=false)"),
    ("provider.batch_poll_s=3", "nothing is asked in batches (provider.batch=false)"),
    ("provider.token_limit=num_predict", "there is no limit", "hyperparameter.max_tokens=null"),
    ("provider.effort_field=a.b", "no effort is asked for (hyperparameter.reasoning_effort=null)"),
    (
        "+provider.no_effort.x=1",
        "hyperparameter.reasoning_effort says",
        "hyperparameter.reasoning_effort=low",
    ),
    (
        "provider.thinking=adaptive",
        "hyperparameter.reasoning_effort says",
        "provider=anthropic",
        "hyperparameter.reasoning_effort=low",
    ),
    ("+prices.models={other: {input: 1, output: 1}}", "no model of this run has this name (m)"),
]
"""What is typed, the reason why it has no effect, and the run in which that is so."""


def list_keys(kind: Any, above: str = "") -> Iterator[str]:
    """The keys of the schema, with NAME for a name that is free."""
    hints = get_type_hints(kind)
    for each in dataclasses.fields(kind):
        key, hint = f"{above}{each.name}", hints[each.name]
        inner = [part for part in (hint, *get_args(hint)) if dataclasses.is_dataclass(part)]
        free = (
            "" if inner and inner[0] in (hint, *(get_args(hint) if "None" in str(hint) else ())) else ".NAME"
        )
        if inner and "list" not in str(hint):
            yield from list_keys(inner[0], f"{key}{free}.")
        else:
            yield key


def list_all_keys() -> list[str]:
    kinds: tuple[type[Provider], ...] = (
        Anthropic,
        Azure,
        Local,
        Mistral,
        OpenAI,
        OpenAICompatible,
        Replay,
        Together,
    )
    settings = [f"provider.{field.name}" for kind in kinds for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    terms = (azure_hosting.Deployment, together_hosting.Deployment)
    hosted = [f"provider.deployment.{field.name}" for kind in terms for field in dataclasses.fields(kind)]
    return list(dict.fromkeys([*list_keys(RunnerConfig), *settings, *hosted]))


def test_each_key_has_a_place_here() -> None:
    """A new key changes what is asked or trained, keeps it, is seen to count elsewhere, or has a rule."""
    tables = [*map(re.escape, (*CHANGES, *KEEPS)), *ELSEWHERE, *(pattern for pattern, _ in unused.RULES)]
    known = re.compile("|".join(f"(?:{re.sub('[?]P<[a-z]+>', '', pattern)})" for pattern in tables))
    assert not [key for key in list_all_keys() if not known.fullmatch(key.replace("NAME", "NAME"))]


@pytest.fixture
def compose(runner: CommandLine, keys: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """``compose(...)`` is the plan of these overrides."""
    write_options(runner.folder, FILES)
    rows = [
        {"text": f"Is {n} odd?", "target": str(n % 2), "g": f"{n // 3}", "recorded": "1"} for n in range(12)
    ]
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("ROWS", str(runner.folder / "rows.jsonl"))
    monkeypatch.setenv("OTHER_KEY", KEY)
    monkeypatch.chdir(runner.folder)

    def make(*overrides: str) -> Plan:
        asked = [] if any(text.startswith("provider=") for text in overrides) else ASKED
        return make_plan(api.compose([*FIXED, *asked, *overrides], config_dir="mine"))

    return make


def trace(plan: Plan) -> list[str]:
    """The ledger's keys of everything that a plan buys: answers, verdicts on the same answer, a training."""
    frame = stages.render(plan, stages.load_rows(plan.config.dataset))
    found = make_keys(plan.responder.provider, make_requests(frame, plan.responder))
    answered = stages.add_predictions(plan.responder, frame.with_columns(completion=pl.lit("1")))
    for judge in plan.panel.judges if plan.panel else ():
        questions = pose_questions(answered, judge)
        found += make_keys(judge.responder.provider, make_requests(questions, judge.responder, PREFIX))
    return found + ([model.make_order(plan, frame).key] if plan.tuner else [])


_traces: dict[tuple[str, ...], list[str]] = {}


def trace_needs(needs: tuple[str, ...], compose: Callable[..., Plan]) -> list[str]:
    """The trace of what a key needs, without the key; made once."""
    return _traces.get(needs) or _traces.setdefault(needs, trace(compose(*needs)))


def make_override(key: str, value: str) -> str:
    key = key.replace("NAME", "a")
    return f"+{key}{value}" if value.startswith(".") else f"{key}={value}"


@pytest.mark.long
@pytest.mark.parametrize("key", CHANGES)
def test_what_changes_an_answer_is_asked(key: str, compose: Callable[..., Plan]) -> None:
    """Two values of such a key share no answer in the ledger, so both points of a sweep are asked."""
    value, *needs = CHANGES[key]
    after = compose(*needs, make_override(key, value))
    assert trace(after) != trace_needs(tuple(needs), compose)
    assert not unused.find_unused(after, list_typed([*needs, make_override(key, value)]))


@pytest.mark.parametrize("key", KEEPS)
def test_what_changes_no_answer_asks_nothing_anew(key: str, compose: Callable[..., Plan]) -> None:
    """Pace, prices, names and what is done with answers: they are those of the ledger."""
    value, *needs = KEEPS[key]
    assert trace(compose(*needs, make_override(key, value))) == trace_needs(tuple(needs), compose)


@pytest.mark.parametrize("case", TOLD, ids=lambda case: " ".join((case[0], *case[2:])))
def test_what_has_no_effect_is_told(case: tuple[str, ...], compose: Callable[..., Plan]) -> None:
    """With the key, as it is called in the config, and the setting that makes it so."""
    override, reason, *needs = case
    found = unused.find_unused(compose(*needs, override), list_typed([*needs, override]))
    assert [said for said in found.values() if reason in said] == [*found.values()] != []


def test_what_is_shipped_or_empty_is_silent(compose: Callable[..., Plan]) -> None:
    """Only what somebody typed, to have something, is told."""
    typed = list_typed(
        ["hyperparameter.n_epochs=null", "tracking=none", "finetune.memorize=false", "judge=none"]
    )
    assert not unused.find_unused(compose(), typed)


@pytest.fixture
def command(
    compose: Callable[..., Plan], runner: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """``command(...)`` is the command line, against a server; returns what it says on stderr."""
    monkeypatch.setattr(unused, "_told", set())

    def respond(call: Call) -> Reply:
        return Reply(completion("1"))

    with serving(respond) as server:
        fixed = ["--config-dir", "mine", *FIXED, *ASKED, f"provider.base_url={server.url}/v1"]

        def say(*words: str) -> str:
            at = 1 if words[0] in ("show", "estimate") else 0
            outcome = runner(*words[:at], *fixed, *words[at:])
            assert outcome.code == 0, outcome.err
            return outcome.err

        yield say


UNUSED = "prompt.shots.seed: has no effect, since no shots are shown (hyperparameter.n_shot=0)"


@pytest.mark.parametrize("name", ["run", "estimate", "show"])
def test_each_command_tells_it(name: str, command: Callable[..., str]) -> None:
    """Before a run, in its estimate and in its preview."""
    words = [name] if name != "run" else []
    assert UNUSED in command(*words, "prompt.shots.seed=3")


def test_a_sweep_tells_what_no_point_uses(command: Callable[..., str]) -> None:
    """Once; what one of its points uses is used."""
    swept = ("-m", "hyperparameter.seed=0,1", "prompt.shots.seed=3", "report.rows=3")
    said = command(*swept)
    assert said.count(UNUSED) == 1
    assert said.count("report.rows=3: has no effect on runner run") == 1
    assert "has no effect" not in command(
        "-m", "hyperparameter.n_shot=0,1", *swept[2:3], "prompt.shots.choice=random"
    )
