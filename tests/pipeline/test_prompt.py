"""Prompts turn templates into chats."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.schema import PromptConfig, ShotPlacement, ShotsConfig
from runner.core.errors import ConfigError, DataError, PromptError
from runner.pipeline.prompt import compile_prompt

ROW = {"id": "r1", "question": "2+2?", "target": "4"}
SHOT = {"id": "s1", "question": "1+1?", "target": "2"}


def prompt(**changes):
    return compile_prompt(PromptConfig(name="sum", user="Q: {{ question }}", **changes))


def test_turns():
    """Shots placed as turns alternate between question and gold answer, before the row's own question."""
    chat = prompt(system="Add.").render_chat(ROW, [SHOT])
    assert [(turn["role"], turn["content"]) for turn in chat] == [
        ("system", "Add."),
        ("user", "Q: 1+1?"),
        ("assistant", "2"),
        ("user", "Q: 2+2?"),
    ]


def test_shots_in_the_user_turn():
    """Shots placed in the user turn are shown by the template, each with its gold turn as ``gold``."""
    text = "{% for shot in shots %}{{ shot.question }} {{ shot.gold }}; {% endfor %}{{ row.question }}"
    config = PromptConfig(name="sum", user=text, shots=ShotsConfig(placement=ShotPlacement.user))
    assert compile_prompt(config).render_chat(ROW, [SHOT]) == [{"role": "user", "content": "1+1? 2; 2+2?"}]


def test_training_is_inference_plus_gold():
    """A training chat is the inference chat with the gold turn appended."""
    compiled = prompt(assistant='{"sum": {{ target }}}')
    assert compiled.render_training_chat(ROW)[:-1] == compiled.render_chat(ROW)
    assert compiled.render_training_chat(ROW)[-1] == {"role": "assistant", "content": '{"sum": 4}'}


def test_interpolation_is_only_text():
    """A value that looks like a config interpolation or a template stays text."""
    chat = prompt().render_chat({**ROW, "question": "${oc.env:HOME} {{ 7 * 7 }}"})
    assert chat[0]["content"] == "Q: ${oc.env:HOME} {{ 7 * 7 }}"


def test_undefined_name():
    """A template that uses an unknown name is refused with the nearest column."""
    with pytest.raises(PromptError, match=r"prompt\.user: .* 'question', which is not a column.*'questions'"):
        prompt().check(["id", "questions"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Q: {question}", "{question} is sent as it stands; the column is written {{ question }}"),
        ("{{ id }}: '{ question }'", "the column is written {{ question }}"),
        ("Say something.", "shows no column of the rows, so that all rows are asked the same"),
        ("{{ question }} As {question}?", ""),
        ("{{ id }}: write \\boxed{target} or ${target}", ""),
        ("{{ row }}", ""),
    ],
)
def test_a_question_that_misses_its_row(text, said):
    """A column in single braces, and a prompt without any column, are seen; formulas of LaTeX are none."""
    found = compile_prompt(PromptConfig(name="x", user=text)).find_oversight(list(ROW))
    assert said in found if said else found == ""


def test_sandbox():
    """A template cannot reach Python's internals."""
    compiled = compile_prompt(PromptConfig(name="x", user="{{ ''.__class__.__mro__ }}"))
    with pytest.raises(PromptError, match="row r1"):
        compiled.render_chat(ROW)


def test_syntax_error_names_the_line():
    """The error of a broken template names the key and the line."""
    with pytest.raises(PromptError, match=r"prompt\.user: .*line 2"):
        compile_prompt(PromptConfig(name="x", user="a\n{% if %}"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\nb {{ 1 / 0 }}", "line 2 of the text (row r1): ZeroDivisionError: division by zero"),
        ("{{ x + 1 }}", "line 1 of the text (row r1): TypeError: can only concatenate"),
        ("\n\n{{ 2.0 ** 5000 }}", "line 3 of the text (row r1): OverflowError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "(row r1): RecursionError"),
        ("{{ '{}'.format() }}", "line 1 of the text (row r1): IndexError"),
        ("{{ range(10 ** 9) | list }}", "line 1 of the text (row r1): OverflowError: Range too big"),
        ("{{ 'x' * 10 ** 15 }}", "line 1 of the text (row r1): MemoryError"),
        ("{{ x.y.z }}", "line 1 of the text (row r1): 'str object' has no attribute 'y'"),
        ("{{ row.Id }}", "line 1 of the text (row r1): no field 'Id'; did you mean 'id'? (id, target, x)"),
        ("{% include 'x' %}", "line 1 of the text: a template cannot load another one"),
        ("{{" + "(" * 3000 + "1" + ")" * 3000 + "}}", "cannot be compiled: maximum recursion depth"),
        ("{{ 10 ** 5000 }}", "cannot be compiled: Exceeds the limit"),
    ],
)
def test_faults(text, reason):
    """Whatever goes wrong in a template is told with its key, line and row."""
    with pytest.raises(PromptError, match=r"^prompt\.user") as caught:
        compile_prompt(PromptConfig(name="x", user=text)).render_chat(
            {"id": "r1", "x": "text", "target": "y"}
        )
    assert reason in str(caught.value)


def test_unreadable_file(tmp_path, monkeypatch):
    """A prompt file in another encoding is named."""
    monkeypatch.chdir(tmp_path)
    Path("latin.jinja").write_bytes("é {{ x }}".encode("latin-1"))
    with pytest.raises(PromptError, match=r"prompt\.user: latin\.jinja, line 1 is not UTF-8"):
        compile_prompt(PromptConfig(name="x", user="latin.jinja"))


def test_missing_file():
    """A prompt file that does not exist is an error naming the nearest one."""
    with pytest.raises(ConfigError, match=r"did you mean .fib_judge/user\.jinja."):
        compile_prompt(PromptConfig(name="x", user="fib_judge/usr.jinja"))


def test_digest():
    """The digest follows the texts: equal for equal prompts, different after any change of a turn."""
    assert prompt().digest == prompt().digest
    assert len({prompt().digest, prompt(system="x").digest, prompt(assistant="x").digest}) == 3


VALUES = {
    "id": "r1",
    "none": None,
    "yes": True,
    "list": ["ü", None],
    "one": {"a": True},
    "target": ["A", "B"],
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[{{ none }}] {{ yes }} {{ list }} {{ one }} {{ row.yes }}", '[] true ["ü", null] {"a": true} true'),
        ("[{{ none ~ yes }}] {{ list | join('+') }}.", "[true] ü+."),
        ("[{{ none | upper }}] {{ yes | string }} {{ list | map('title') | join }}", "[] true Ü"),
        ("{{ '%s %s %d' % (none, yes, 3) }}{{ '{} {:.1f}'.format(yes, 0.25) }}", "true 3true 0.2"),
        ("{{ 'x y' | replace('x', none) }} {{ '%s' | format(yes) }}", "y true"),
        ("{{ none is none }} {{ none | default('?', true) }} {{ 'T' if yes }}", "true ? T"),
        ("{{ list | tojson }} {{ '<' | tojson }}", '["ü", null] "<"'),
        ("{% for item in list %}{{ loop.index }}{{ item }} {% endfor %}", "1ü 2"),
    ],
)
def test_values_are_written_as_in_the_file(text, shown):
    """Nothing for an empty cell, true and false, JSON for lists: in output, joined texts and filters."""
    chat = compile_prompt(PromptConfig(name="x", user=text)).render_chat(VALUES)
    assert chat[-1]["content"] == shown


@pytest.mark.parametrize(
    ("assistant", "gold"),
    [
        ("{{ target }}", "A"),
        ('{"label": "{{ target }}"}', '{"label": "A"}'),
        ("{{ target | join(', ') }}", "A, B"),
        ("{{ yes }}", "true"),
        ("{% if none %}{{ none }} {% endif %}{{ target }}", "A"),
    ],
)
def test_gold_turn(assistant, gold):
    """Of several acceptable answers the gold turn shows the first."""
    assert prompt(assistant=assistant).render_gold(VALUES) == gold


@pytest.mark.parametrize("placement", list(ShotPlacement))
@pytest.mark.parametrize("gold", [None, "", " ", []])
def test_gold_turn_without_a_value(gold, placement):
    """An empty cell is nothing to show or to teach: the row and the column are named."""
    compiled = prompt(assistant='{{ "" ~ target | trim }}', shots=ShotsConfig(placement=placement))
    for render in (
        lambda: compiled.render_chat(ROW, [{**SHOT, "target": gold}]),
        lambda: compiled.render_training_chat({**SHOT, "target": gold}),
    ):
        with pytest.raises(DataError, match=r"row s1: prompt\.assistant .*the column 'target' is empty"):
            render()


def test_gold_turn_in_the_middle_of_a_text():
    """An empty cell inside a longer turn is found, too."""
    with pytest.raises(DataError, match="the column 'target' is empty"):
        prompt(assistant='{"label": "{{ target | upper }}"}').render_gold({**SHOT, "target": None})


def test_a_byte_order_mark_in_a_template(tmp_path, monkeypatch):
    """The mark is not sent to the model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.jinja").write_bytes("\ufeff{{ question }}".encode())
    assert compile_prompt(PromptConfig(name="x", user="user.jinja")).render_chat(ROW)[0]["content"] == "2+2?"
