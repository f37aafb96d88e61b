"""What Hydra, YAML or the system refuse is told whole, with its place, and is no internal error."""

from __future__ import annotations

import pytest

import runner as api
from runner.cli.arguments import refuse_words
from runner.config.command_schema import PricesConfig
from runner.config.dataset_schema import FileConfig
from runner.config.instantiate import instantiate
from runner.core.errors import ConfigError, DataError, RunnerError
from runner.data.fetch import locate
from runner.engine.ledger import Ledger
from runner.money.prices import load_prices
from runner.providers.openai import OpenAICompatible

OPTIONS = {
    "tab": (b"name: d\n\tpath: x", "tab.yaml, line 2, column 1: a tab"),
    "twice": (b"name: a\nname: b", "twice.yaml, line 2, column 1: found duplicate key name"),
    "alias": (b"name: *x", "alias.yaml, line 1, column 7: found undefined alias 'x'"),
    "code": (
        b"name: !!python/object/apply:os.system [x]",
        "code.yaml, line 1, column 7: could not",
    ),
    "latin": ("name: é".encode("latin-1"), "latin.yaml, line 1 is not UTF-8; save the file as UTF-8"),
    "number": (b"defaults: 5\nname: d", "dataset/number.yaml, line 1: defaults is a list of"),
    "circle": (
        b"defaults: [circle]\nname: d",
        "dataset/circle.yaml, line 1: options choose each other in a circle",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_option_files(tmp_path, name):
    """A broken option file is named with line and reason."""
    content, message = OPTIONS[name]
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / f"{name}.yaml").write_bytes(content)
    with pytest.raises(RunnerError) as caught:
        api.compose([f"dataset={name}"], config_dir=tmp_path)
    assert message in str(caught.value)
    assert "internal" not in str(caught.value)


def test_null_object():
    """A key of what is null cannot be set; the message says what to do first."""
    with pytest.raises(RunnerError, match=r"judge: is null, .* choose an option first"):
        api.compose(["judge={name: x}"])


@pytest.mark.parametrize(
    "word", ["dataset=null", "judge=null", "+reference=5", "metric=True", "dataset@x.y=null"]
)
def test_no_option(word):
    """Null is no option of a group, and neither is a number."""
    with pytest.raises(ConfigError, match="is no option of"):
        refuse_words([word])
    with pytest.raises(ConfigError, match="an override has no dashes: seed=1"):
        refuse_words(["--seed=1"])
    refuse_words(["dataset.limit=null", "checkpoint=5", "name=null", "/etc=5", "judge=none"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("metric=[f1,{_target_: m.M}]", "such a list has only names of options; write metric.NAME="),
        ("+dataset=fib", "an option of dataset is chosen already; leave the [+] out"),
        ("+datset.limit=5", "^datset: no such key; did you mean 'dataset'"),
        ("+dataset.splt.train=x", "^dataset.splt: no such key; did you mean 'split'"),
        ("provider@judge.provider=openai", "nothing is chosen there; choose another option of judge first"),
        ("provider@juge.provider=openai", "there is no 'juge'; did you mean 'judge'"),
        ("name={{ x }}", "quote a value with special characters"),
        ("dataset.path=r.zip!a/t.csv", """characters: 'dataset.path="r.zip!a/t.csv"'"""),
        ("hydra.searchpath=[file://no-such]", "hydra.searchpath: no-such: no such folder"),
        ("~metric.exact_agrement", "~metric.exact_agrement: no such key; did you mean 'exact_agreement'"),
    ],
)
def test_overrides(override, message):
    """A choice or a deletion that is not possible is told in plain words."""
    with pytest.raises(RunnerError, match=message):
        api.compose([override])


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"_target_": "os.system", "command": "x"},
            "os.system: Target 'os.system' is blocklisted because .* authorized",
        ),
        ({"_target_": "runner.metrics.Accuracy", "_partial_": "x"}, "_partial_ flag must be a bool"),
        ({"_target_": "runner.metrics.Accuracy", "_recursive_": 5}, "_recursive_ flag must be a bool"),
        ({"_target_": "runner.metrics.Accuracy", "_args_": 5}, "Unsupported _args_ type"),
    ],
)
def test_refused_objects(node, message):
    """What Hydra refuses to make is told with the key, in one line and to its end."""
    with pytest.raises(ConfigError, match=rf"^metric\.x: cannot make .*{message}") as caught:
        instantiate(node, "metric.x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "postgresql://host:port/x"])
def test_ledger_url(url):
    """An address that a database cannot have is named."""
    with pytest.raises(ConfigError, match=r"ledger\.url: .*(is not a database URL|needs a file)"):
        Ledger(url)


@pytest.mark.parametrize("file", [FileConfig(path="x" * 300), FileConfig(url="http://[")])
def test_data_file(file):
    """Nor is a name that no file or server can have an internal error."""
    with pytest.raises((ConfigError, DataError), match=r"^dataset"):
        locate(file)


@pytest.mark.parametrize("content", [b"- {provider: x, models: [1]}", b"\xff\xfe\x00", b"a: [", b"5"])
def test_prices(tmp_path, content):
    """A broken file of prices is named."""
    (tmp_path / "prices.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"prices\.path=.*prices.yaml: "):
        load_prices(PricesConfig(path=str(tmp_path / "prices.yaml")))


WRONG = [
    ("base_url", "http://127.0.0.1:99999"),
    ("base_url", "http://host:x"),
    ("base_url", "http://."),
    ("base_url", "http://a b"),
    ("options", 5),
    ("api_key_env", [1]),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_provider(name, value):
    """A setting that no call could use is refused before the first one, and in an estimate, too."""
    provider = OpenAICompatible(**{"model": "m", "base_url": "http://localhost", name: value})
    with pytest.raises(ConfigError, match=rf"^provider\.{name}"):
        provider.check_limits()


@pytest.mark.parametrize("folder", ["/proc/x", "file"])
def test_run_folder(runner, folder):
    """A folder that cannot be made is named."""
    (runner.folder / "file").write_text("")
    outcome = runner(f"hydra.run.dir={folder}")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {folder}: ")
