"""A mistake in one's own option file is told with the file, the line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import runner
from runner.config.mistakes.lines import OptionFile, split_key
from runner.core.errors import ConfigError, RunnerError

GLOBAL = "# @package _global_\n"
EXPERIMENTS = {
    "a key": ("hyperparameter:\n  n_sot: 3\n", "3: hyperparameter.n_sot: no such key; did you mean 'n_shot'"),
    "a key of a step": (
        "dataset:\n  steps:\n    - {filter: x}\n    - {filtr: x}\n",
        r"5: dataset.steps\[1\].filtr: no such key",
    ),
    "a kind": ("dataset:\n  columns: [a]\n", "3: dataset.columns: a list cannot replace a mapping"),
    "a kind after a class of one's own": (
        "prompt: {parser: {_target_: own.P, then: [a]}}\ndataset:\n  columns: [a]\n",
        "4: dataset.columns: a list cannot replace a mapping",
    ),
    "no step": ("dataset:\n  steps:\n    -\n", r"4: dataset.steps\[0\]: is empty; give it a value"),
    "no text": ("prompt:\n  user:\n", "3: prompt.user: is empty; give it a value"),
    "a list as text": ("prompt:\n  user: [a]\n", "3: prompt.user: must be text, not a list"),
    "half a reference": ("name: x\nprompt: {user: '${a'}\n", r"3: '\$\{a' cannot be read as a reference"),
    "an option as a value": ("dataset: fib\n", "2: dataset: must be a mapping of keys, not fib"),
    "a key in capitals after CRLF": ("name: x\r\nNAME: y\r\n", "3: NAME: no such key"),
    "a secret": ("provider:\n  api_key: abc\n", "3: provider.api_key: holds what looks like a key"),
    "an option": (
        "defaults:\n  - override /dataset: fibb\n",
        "3: dataset=fibb: no such option",
    ),
    "a group": ("defaults:\n  - override /datset: fib\n", "3: datset: no such group; did you mean 'dataset'"),
    "no override": ("defaults:\n  - /dataset: fib\n", "3: .* write 'override /dataset: fib'"),
    "no slash": ("defaults:\n  - override dataset: fib\n", "3: .* write 'override /dataset: …'"),
    "twice": (
        "defaults:\n  - override /dataset: fib\n  - override /dataset: usb\n",
        "4: dataset is chosen twice, first in line 3",
    ),
    "a list in defaults": ("defaults:\n  - [a]\n", "3: defaults is a list of"),
    "not last": ("defaults:\n  - override /dataset: fib\n  - /reference: fib_split\n", "3: .* at the end"),
    "an extra": (
        "defaults:\n  - override /hydra/sweeper: optuna\n",
        "3: .*pip install hydra-optuna",
    ),
}


def write(folder: Path, name: str, text: str | bytes) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(("text", "said"), EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_experiment(tmp_path, text, said):
    """File, line, key, and what to write instead."""
    write(tmp_path, "experiment/e.yaml", GLOBAL + text)
    with pytest.raises(ConfigError, match=f"experiment/e.yaml, line {said}"):
        runner.compose(["experiment=e"], config_dir=tmp_path)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("dataset/d.yml", "d.yml is not read; its name must be"),
        ("datasets/d.yaml", "datasets/d.yaml is not read; its name must be"),
    ],
)
def test_a_file_that_is_not_read(tmp_path, file, said):
    """An option in a file of another name is found and named."""
    write(tmp_path, file, "name: d\n")
    with pytest.raises(ConfigError, match=said):
        runner.compose(["dataset=d"], config_dir=tmp_path)


def test_header(tmp_path):
    """A header is read after a byte order mark; a late or misspelt one is named with its line."""
    write(tmp_path, "experiment/e.yaml", b"\xef\xbb\xbf" + f"{GLOBAL}name: mine\n".encode())
    assert runner.compose(["experiment=e"], config_dir=tmp_path).name == "mine"
    for text, line in ((f"name: x\n{GLOBAL}", 2), ("# @package global\nname: x\n", 1)):
        write(tmp_path, "experiment/e.yaml", text)
        with pytest.raises(ConfigError, match=rf"e.yaml, line {line}: .*# @package _global_"):
            runner.compose(["experiment=e"], config_dir=tmp_path)


def test_a_value_that_is_required(tmp_path):
    """``???`` takes an earlier value away, until the command line gives one."""
    write(tmp_path, "experiment/e.yaml", f"{GLOBAL}dataset:\n  path: ???\n")
    config = runner.compose(["experiment=e"], config_dir=tmp_path)
    assert "path" not in config.dataset
    assert runner.compose(["experiment=e", "dataset.path=x"], config_dir=tmp_path).dataset.path == "x"


def test_a_value_that_a_shipped_option_requires():
    """The same in a shipped option over another: the service of any-llm is not that of the dialect."""
    assert "service_name" not in runner.compose(["provider=any_llm"]).provider


KEYS = {
    "name": ("name: ${dataset.name}\ndataset:\n  name: ${name}\n", "2: name: .* name → dataset.name → name"),
    "a reference": ("name: ${datset.name}\n", "2: name: .*; did you mean 'dataset'"),
    "what a reference gives": (
        "hyperparameter:\n  n_shot: ${dataset.name}\n",
        r"3: hyperparameter.n_shot: \$\{dataset.name\} gives 'human_evaluator', which must be a whole number",
    ),
    "truth values": (
        "prompt:\n  parser:\n    labels: [yes, no]\n    _target_: runner.parse.Label\n",
        r"4: prompt.parser.labels: \[True, False\] .* put quotes around them",
    ),
    "a metric without a name": ("metric:\n  _target_: m.M\n", "3: metric._target_: .*; put it below a name"),
    "a template of a row": (
        "prompt: {user: '{{ question.a.b }}'}\n",
        r"2: prompt.user: line 1 of the text \(row \S+\): 'str object' has no attribute 'a'",
    ),
    "a variable": ("name: ${oc.env:NO_SUCH_NAME}\n", "2: name: the environment variable NO_SUCH_NAME"),
    "a range": ("hyperparameter:\n  temperature: 9\n", "3: hyperparameter.temperature: 9.0 must be"),
    "a class": ("metric:\n  m:\n    _target_: runner.metrics.F2\n", "4: metric.m._target_: no class"),
    "a template": ("prompt:\n  user: |\n    a\n    {{ b\n", "3: prompt.user: line 2 of the text: unexpected"),
}


@pytest.mark.parametrize(("text", "said"), KEYS.values(), ids=KEYS)
def test_a_value_that_is_used(tmp_path, monkeypatch, text, said):
    """What is found when the config is used is told with its place, too."""
    write(tmp_path, "experiment/e.yaml", GLOBAL + text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunnerError, match=f"^experiment/e.yaml, line {said}"):
        runner.run(["experiment=e", "tracking=none"], config_dir=tmp_path)


LEAVES = st.one_of(st.integers(), st.text("ab: #'\n", max_size=5), st.none())
NODES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(node=st.dictionaries(st.sampled_from("abcd"), NODES, min_size=1))
def test_lines(tmp_path_factory, node):
    """Each key is found in a line that holds it, whatever the file is like."""
    file = tmp_path_factory.getbasetemp() / "lines.yaml"
    file.write_text(yaml.safe_dump(node))
    lines, found = file.read_text().splitlines(), OptionFile(file)

    def check(inner, parts):
        for name, value in inner.items() if isinstance(inner, dict) else enumerate(inner):
            line = found.find_line([*parts, str(name)])
            assert line is not None
            assert isinstance(inner, list) or f"{name}:" in lines[line - 1]
            if isinstance(value, dict | list):
                check(value, [*parts, str(name)])

    check(node, [])
    assert found.find_line(["x"]) is None
    assert split_key("a.b[0].c") == ["a", "b", "0", "c"]
