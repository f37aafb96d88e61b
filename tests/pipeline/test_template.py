"""What a template shows is a value of the row, or an error."""

from __future__ import annotations

import pytest

from runner.config.schema import PromptConfig
from runner.core.errors import DataError, PromptError
from runner.pipeline.prompt import compile_prompt

ROW = {"id": "r1", "text": "a b", "gap": None, "half": "8,5", "one": {"items": ["x"], "get": 1}, "n": 3}


def show(user):
    return compile_prompt(PromptConfig(name="x", user=user)).render_chat(ROW)[0]["content"]


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("{{ text.title }}", "shows the function 'title', which must be called"),
        ("{{ range }}", "shows the function"),
        ("{{ row.items() }}", r"shows a dict_items; .* \| list"),
        ("{{ text.split() | map('upper') }}", r"shows a generator; .* \| list"),
        ("{{ 'x' ~ range(3) }}", "shows a range"),
        ("{{ joiner(text) }}", "shows the function"),
        ("{{ {'a': text.title} | tojson }}", "shows the function 'title'"),
        ("{{ half | float }}", "float: '8,5' is no number"),
        ("{{ text | int }}", "int: 'a b' is no number"),
    ],
)
def test_what_is_no_value_is_not_shown(user, said):
    """A method, a generator and a number that cannot be read are errors that name turn and row."""
    with pytest.raises(PromptError, match=rf"prompt\.user: line 1 of the text \(row r1\): .*{said}"):
        show(user)


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("{{ one.items }} {{ one.get }} {{ one['items'][0] }}", '["x"] 1 x'),
        ("{% for i in range(n) %}{{ i }}{% endfor %} {{ text.title() }}", "012 A B"),
        (
            "{{ '3.7' | int }} {{ half | float(0) }} {{ 'ff' | int(base=16) }} [{{ gap | int }}]",
            "3 0 255 []",
        ),
        ("{{ text.split() | map('upper') | list }}", '["A", "B"]'),
    ],
)
def test_fields_and_numbers(user, shown):
    """A field comes before Python's method of its name; a default is taken only where it is written."""
    assert show(user) == shown


@pytest.mark.parametrize(
    "user", ["{{ lipsum() }}", "{{ text | random }}", "{{ row | pprint }}", "{% include 'x' %}"]
)
def test_what_no_prompt_needs_is_refused_at_once(user):
    """What differs each time, is written as Python does, or is in another file than the digest knows."""
    with pytest.raises(PromptError, match=r"lipsum|random|pprint|cannot load another"):
        compile_prompt(PromptConfig(name="x", user=user)).check(["text"])


@pytest.mark.parametrize("assistant", ["{{ gap | int }}", "{{ gap | tojson }}"])
def test_gold_turns_make_nothing_of_an_empty_cell(assistant):
    """Neither 0 nor null is taught for it."""
    with pytest.raises(DataError, match=r"row r1: .* the column 'gap' is empty"):
        compile_prompt(PromptConfig(name="x", user="u", assistant=assistant)).render_gold(ROW)


def test_only_the_user_turn_has_shots():
    """Elsewhere a loop over them would silently show none."""
    with pytest.raises(PromptError, match=r"prompt\.system: uses 'shots'"):
        compile_prompt(PromptConfig(name="x", system="{% for s in shots %}{% endfor %}", user="u")).check([])


def test_a_template_that_is_not_utf8(tmp_path, monkeypatch):
    """The message names the file and the line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.jinja").write_bytes(b"a\ngr\xf6\xdfer")
    with pytest.raises(PromptError, match=r"prompt\.user: user\.jinja, line 2 is not UTF-8"):
        compile_prompt(PromptConfig(name="x", user="user.jinja"))
