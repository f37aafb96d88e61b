"""An object that cannot be made says why: the cause in the user's own module, with its file and line."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config.instantiate import check_call, instantiate
from runner.core.errors import ConfigError

MODULES = {
    "broken": "import nosuchthing",
    "syntax": "x = 1\ndef (",
    "faulty": "x = {}\n\ny = x['grade']",
    "indirect": "import mymodules.broken",
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A package of the user's own, in the working folder."""
    for name, text in MODULES.items():
        file = tmp_path / "mymodules" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("broken", "ModuleNotFoundError: No module named 'nosuchthing' (mymodules/broken.py, line 1)"),
        ("syntax", "SyntaxError: invalid syntax (mymodules/syntax.py, line 2)"),
        ("faulty", "KeyError: 'grade' (mymodules/faulty.py, line 3)"),
        ("indirect", "ModuleNotFoundError: No module named 'nosuchthing' (mymodules/broken.py, line 1)"),
    ],
)
def test_a_module_that_cannot_be_imported(modules, name, cause):
    """The message has the cause and its place."""
    with pytest.raises(ConfigError) as caught:
        instantiate({"_target_": f"mymodules.{name}.Mine"}, "provider")
    assert str(caught.value) == f"provider._target_: mymodules.{name} cannot be imported: {cause}"


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("runner.parse.Labl", "did you mean 'Label'"),
        ("nowhere.Mine", "No module named 'nowhere'.*working folder.*PYTHONPATH"),
        ("runner.prase.Label", "has no attribute 'prase'"),
    ],
)
def test_a_class_that_is_not_there(target, hint):
    """The message has the nearest name of its module, or says where modules are looked for."""
    with pytest.raises(ConfigError, match=rf"parser\._target_: no class '{target}'.*{hint}"):
        instantiate({"_target_": target}, "parser")


@pytest.mark.parametrize(
    ("key", "node", "written"),
    [
        ("judge.provider", "local", "to choose an option, write provider@judge.provider=local"),
        ("prompt.parser", "Number", r"write prompt\.parser={_target_: runner\.parse\.Number}"),
        ("prompt.parser", "Numbr", "'Numbr'$"),
        ("metric._target_", "x", r"put it below a name: metric\.NAME"),
    ],
)
def test_a_name_in_place_of_a_mapping(key, node, written):
    """The message shows how an option or a shipped parser of this name is chosen there."""
    with pytest.raises(ConfigError, match=f"expected a mapping with _target_, got .*{written}"):
        instantiate(node, key)


def test_what_has_not_the_method_is_refused():
    """Rather than asked for its arguments."""
    with pytest.raises(ConfigError, match=r"provider: os\.path\.join has no 'complete'"):
        instantiate({"_target_": "os.path.join"}, "provider", "complete")


def test_a_constructor_that_fails_says_where():
    """With the kind of the error."""
    with pytest.raises(
        ConfigError,
        match=r"cannot make own\.Faulty: KeyError: 'grade' \(.*own\.py, line \d+, in Faulty\.__init__\)",
    ):
        instantiate({"_target_": "own.Faulty"}, "provider")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": "3"}, r"x\.n: '3' is of the wrong type; Typed takes int"),
        ({"n": 2.0}, r"x\.n: 2\.0 .* takes int"),
        ({"n": True}, r"x\.n: True .* takes int"),
        ({"n": None}, r"x\.n: a value is required; Typed takes int"),
        ({"name": 3}, "takes str; for the text write"),
        ({"tags": "a"}, r"x\.tags: 'a' .* takes list\[str\]"),
        ({"tags": [1]}, r"takes list\[str\]"),
        ({"tags": [True]}, r"YAML reads yes, no"),
        ({"mode": "odd"}, r"x\.mode: 'odd' is not possible; known: \(a, b\)"),
        ({"inner": {"_target_": "own.Typed", "m": 1}}, r"x\.inner\.m: no such key"),
        ({"inner": [{"_target_": "own.Typed", "n": "3"}]}, r"x\.inner\[0\]\.n: '3'"),
    ],
)
def test_a_value_of_another_type_is_refused(settings, message):
    """Than the constructor's annotation says, at any depth; nothing is converted."""
    with pytest.raises(ConfigError, match=message):
        instantiate({"_target_": "own.Typed"} | settings, "x")


def test_values_that_fit_are_taken():
    """A whole number is a float, null stands for a default of None, and an unknown annotation takes all."""
    given = {"n": 1, "ratio": 2, "name": None, "tags": ["a"], "mode": "b", "inner": 5}
    made = instantiate({"_target_": "own.Typed"} | given, "x")
    assert vars(made) == given


def test_the_working_folder(tmp_path, monkeypatch):
    """Has modules, too; one that hides behind an installed one of its name is named in the message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "my_own_things.py").write_text("class Mine: pass")
    (tmp_path / "statistics.py").write_text("class Mine: pass")
    assert type(instantiate({"_target_": "my_own_things.Mine"}, "x")).__name__ == "Mine"
    with pytest.raises(ConfigError, match=r"hides your statistics\.py, so rename yours"):
        instantiate({"_target_": "statistics.Mine"}, "x")
    for target, message in {
        "my_own_things": "is a module",
        "Mine": "is no name of a class",
        "a..b": "no name",
    }.items():
        with pytest.raises(ConfigError, match=message):
            instantiate({"_target_": target}, "x")


@pytest.mark.parametrize("made", [len, lambda text: 1, lambda text, more=2: 1])
def test_what_can_be_called_is_taken(made):
    """Whatever else it takes by default."""
    check_call(made, "x", "text")


@pytest.mark.parametrize("made", [3, lambda: 1, lambda text, more: 1])
def test_what_cannot_be_called_is_refused(made):
    """With one value."""
    with pytest.raises(ConfigError, match=r"x: .*cannot be called"):
        check_call(made, "x", "text")


CALL = "${oc.create:{_target_:os.mkdir,path:/x}}"
TEXTS = st.text("\\${}:ab'", max_size=6) | st.sampled_from([CALL, "costs ${x}", "${oc.env:HOME}", r"\${y}"])
VALUES = st.recursive(
    TEXTS | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("a${", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.sampled_from([{}, {"_recursive_": False}, {"_convert_": "none"}]))
def test_a_resolved_config_is_not_resolved_again(value, mode):
    """``${`` in it is text, at any depth. In a record it would else read variables and run code."""
    node = {"_target_": "own.Given", "value": value}
    made = instantiate({**node, "inner": [node | mode]} | mode, "metric.x")
    assert made.settings["value"] == value
    inner = made.settings["inner"][0]
    assert (inner["value"] if mode == {"_recursive_": False} else inner.settings["value"]) == value
