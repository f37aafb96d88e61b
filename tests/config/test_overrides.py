"""An override that names a class replaces the object of the option; the class says which keys it takes."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

import runner
from runner.core.errors import ConfigError

MINE = {"_target_": "own.Mine", "style": "long"}
PLAIN = {"_target_": "own.Plain"}


def composed(*overrides, at="provider"):
    """The node of a composed config, with its interpolations as they are."""
    return OmegaConf.to_container(OmegaConf.select(runner.compose(overrides), at))


@pytest.mark.parametrize(
    ("overrides", "node"),
    [
        (["provider={_target_: own.Mine, style: long}"], MINE),
        (["provider=replay", "provider={_target_: own.Mine, style: long}"], MINE),
        (["provider={_target_: own.Mine}", "provider.style=long"], MINE),
        (["provider.style=long", "provider={_target_: own.Mine, style: brief}"], MINE),
        (["provider={_target_: own.Mine}", "+provider.style=long"], MINE),
        (["provider={_target_: own.Mine}", "provider.batch=true"], {"_target_": "own.Mine", "batch": True}),
        (["provider={_target_: own.Mine}", "provider={_target_: own.Plain}"], PLAIN),
        (["+provider={_target_: own.Mine, style: long}"], MINE),
        (["++provider={_target_: own.Plain}"], PLAIN),
        (["provider={_target_: own.Plain}", "provider._target_=own.PlainToo"], {"_target_": "own.PlainToo"}),
    ],
)
def test_a_class_replaces_the_option(overrides, node):
    """No key of the option stays; other keys come after it, in any order, and need no ``+``."""
    assert composed(*overrides) == node


@pytest.mark.parametrize(
    "typed", ["judge.provider", "provider@judge.provider", "+judge.provider", "++judge.provider"]
)
@pytest.mark.parametrize("before", [[], ["provider@judge.provider=openai"]])
def test_the_same_inside_a_judge(typed, before):
    """Whether the judge had a provider of its own or not."""
    overrides = ["judge=correctness", *before, f"{typed}={{_target_: own.Plain}}"]
    config = runner.compose(overrides)
    assert (config.judge.provider, config.provider._target_) == (PLAIN, "runner.providers.local.Local")


def test_other_objects_too():
    """A parser, a metric."""
    assert composed("prompt.parser={_target_: own.Plain}", at="prompt.parser") == PLAIN
    typed = [f"{place}={{_target_: own.Plain}}" for place in ("metric.accuracy", "metric.x", "+metric.y")]
    assert composed("metric=accuracy", *typed, at="metric") == dict.fromkeys(("accuracy", "x", "y"), PLAIN)
    assert composed("metric=[]", "metric={x: {_target_: own.Plain}}", at="metric") == {"x": PLAIN}


FILES = {
    "experiment/e": """
# @package _global_
defaults: [override /judge: correctness, override /provider@judge.provider: openai, override /metric: f1]
provider: {_target_: own.Plain}
prompt: {parser: {_target_: own.Plain}}
metric: {f1: {_target_: own.Plain}, x: {_target_: own.Plain}}
judge: {provider: {_target_: own.Plain}, prompt: {parser: {_target_: own.Plain}}}
""",
    "prompt/p": "{defaults: [llmbar], parser: {_target_: own.Plain}}",
    "provider/sub": "{defaults: [openai_compatible], _target_: own.Polite, greeting: hi}",
    "experiment/part": """
# @package _global_
provider: {model: m}
prompt: {parser: {then: {_target_: own.Plain}}}
""",
}


def test_in_option_files(tmp_path):
    """Too; only what a file takes by its own defaults at its top stays, and what names no class is merged."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text.lstrip())

    def compose(override):
        return OmegaConf.to_container(runner.compose([override], tmp_path))

    found = compose("experiment=e")
    nodes = [found["provider"], found["prompt"]["parser"], *found["metric"].values()]
    nodes += [found["judge"]["provider"], found["judge"]["prompt"]["parser"]]
    assert (nodes, list(found["metric"])) == ([PLAIN] * 6, ["f1", "x"])
    assert compose("prompt=p")["prompt"]["parser"] == PLAIN
    subclass = compose("provider=sub")["provider"]
    assert (subclass["_target_"], subclass["timeout_s"]) == ("own.Polite", 300)
    part = compose("experiment=part")
    assert (part["provider"]["model"], part["provider"]["context_length"]) == ("m", 2048)
    assert part["prompt"]["parser"] == {"_target_": "runner.parse.Json", "field": "grade", "then": PLAIN}


def test_a_mapping_without_a_class_changes_the_option():
    """As Hydra does it."""
    assert composed("provider={model: m}") == {**composed(), "model": "m"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["judge=pairwise", "judge.prompt.parser.labels=[x,y]"],
            r"parser\.labels: a list cannot replace a mapping, .*remove it first: ~judge\.prompt",
        ),
        (
            ["provider=openai", "provider.modle=m"],
            r"provider\.modle: no such key; did you mean 'model'\? \(api_",
        ),
        (["provider={_target_: own.Mine}", "provider.bach=1"], r"provider\.bach: .* 'batch'\? .*style"),
        (["provider={_target_: own.Plain}", "provider.temper=1"], r"provider\.temper: .* Plain takes none"),
        (
            ["provider={_target_: own.Plain}", "provider.model=y"],
            r"provider\.model: the constructor of Plain",
        ),
        (["provider={_target_: own.Greeting}", "provider.greeting=y"], "make the class a dataclass"),
        (
            ["provider._target_=own.Mine"],
            r"Mine is not made for the settings of Local \(model, .*\{_target_: own",
        ),
        (["provider._target_=own.Given"], r"Given is not made for the settings of Local \(model, "),
        (["prompt.parser._target_=runner.parse.Text"], r"the settings of Json \(field, then\)"),
        (["metric={_target_: own.Plain}"], r"metric: .*write metric\.NAME=\{_target_: …\}"),
        (
            ["judge=correctness", "+judge.parser={_target_: own.Plain}"],
            r"did you mean 'judge\.prompt\.parser'",
        ),
        (
            ["provider@judge.provider={_target_: own.Plain}"],
            "judge: is null, .*choose an option first, judge=",
        ),
        (["+dataset.nope=1"], "dataset.nope: no such key; known: "),
        (["+n_shot=1"], "n_shot: no such key; did you mean 'hyperparameter.n_shot'"),
        (["provider._target_=own.Mien", "provider.style=x"], "no class 'own.Mien' .*did you mean 'Mine'"),
    ],
)
def test_what_the_class_does_not_take_is_told(overrides, message):
    """By the keys of the class and not by those of the option file, before anything runs."""
    with pytest.raises(ConfigError, match=message):
        runner.compose(overrides)


def test_an_empty_mapping_empties():
    """Hydra would merge nothing into it, and say nothing."""
    assert composed("judge=panel", "judge.members={}", at="judge.members") == {}
    assert (
        composed("provider=openai", "+provider.options.a=1", "provider.options={}", at="provider.options")
        == {}
    )
    assert composed("judge=panel", "judge.hyperparameter={}", at="judge.hyperparameter")["repeats"] == 1


def test_hyperparameters_of_a_member():
    """Those of a judge need no ``+``, and others are refused with the nearest one."""
    place = "judge.members.same.hyperparameter"
    assert composed("judge=panel", f"{place}.repeats=2", at=place) == {"repeats": 2}
    for sign in ("", "+", "++"):
        with pytest.raises(ConfigError, match=rf"{place}\.repeets: no such key; did you mean 'repeats'"):
            composed("judge=panel", f"{sign}{place}.repeets=2")


def test_how_a_member_is_added():
    """The advice can be followed: a member has keys of its own, so the mapping of members is added to."""
    member = "members={same: {hyperparameter: {repeats: 2}}}"
    with pytest.raises(ConfigError, match=r"no such key; \+judge\.members=\{same: …\} adds one$"):
        composed("judge=correctness", f"judge.{member}")
    added = composed("judge=correctness", f"+judge.{member}", at="judge.members.same.hyperparameter")
    assert added["repeats"] == 2


def test_a_dataclass_takes_its_own_fields():
    """And those of the class of the runner that it extends."""
    polite = ["provider={_target_: own.Polite}", "provider.greeting=y", "provider.model=m"]
    assert composed(*polite)["greeting"] == "y"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("provider.api_key_env=sk-12345", "provider.api_key_env"),
        ("provider={_target_: own.Mine, deep: {token_env: sk-12345}}", "provider.deep.token_env"),
        ("finetune.integrations=[{api_key_env: sk-12345}]", r"finetune.integrations\[0\].api_key_env"),
        ("++provider.api_key_env=12345678901234567890123456789012", "provider.api_key_env"),
        ("provider.api_key_env=gsk_12345678901234567890123456789012", "provider.api_key_env"),
    ],
)
def test_a_key_in_the_place_of_a_name_is_refused(override, key):
    """The message does not repeat it."""
    with pytest.raises(ConfigError, match=f"{key}: must be the name of an environment var") as caught:
        runner.compose(["provider=openai", override])
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "finetune.integrations=[{type: wandb, api_key: abcdef}]",
        "finetune.integrations=[{type: wandb, wandb: {project: p, api_key: abcdef}}]",
        "finetune.integrations=[{type: wandb, wandb: {WANDB_API_KEY: abcdef}}]",
        "finetune.integrations=[{type: x, apikey: abcdef}]",
        "finetune.integrations=[{type: x, auth: [{token: abcdef}]}]",
        "finetune.integrations=[{type: x, api_key: '${oc.env:HOME}'}]",
    ],
)
@pytest.mark.parametrize("sweep", [False, True])
def test_integration_keys(override, sweep, tmp_path, monkeypatch):
    """The key of an integration is refused before anything is saved, since its variable can be named."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"finetune\.integrations.*api_key_env") as caught:
        (runner.sweep if sweep else runner.run)([override])
    assert "abcdef" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"finetune\.integrations.*api_key_env"):
        runner.compose([override])


@pytest.mark.parametrize("override", ["provider.api_key_env=null", "provider.api_key_env=MY_KEY_2"])
def test_names_of_variables_pass(override):
    """Null is no key at all."""
    assert composed("provider=openai", override)["model"]


def test_columns_of_a_data_set_may_have_any_name():
    """Also one that looks like a variable's."""
    assert composed("+dataset.columns.test_env=the column", at="dataset.columns")["test_env"] == "the column"
