"""Gold turns that the prompt's own parser would not read as the target are refused before they are shown."""

from __future__ import annotations

import polars as pl
import pytest

from runner.config.schema import PromptConfig, ShotPlacement, ShotsConfig
from runner.core.errors import DataError, PromptError
from runner.parse import Json, Label, Number, Regex, Text
from runner.pipeline.gold import check_turns
from runner.pipeline.prompt import compile_prompt

LABEL = Label(["good", "bad"])
ROWS = pl.DataFrame({"id": ["t1", "t2"], "target": ["good", "bad"], "score": [4, 2], "note": ["so", "so"]})


def check(parser, assistant="{{ target }}", rows=ROWS, user=None, checked=True, judged=False):
    placement = ShotPlacement.turns if user is None else ShotPlacement.user
    config = PromptConfig(
        user=user or "{{ note }}",
        assistant=assistant,
        shots=ShotsConfig(placement=placement),
        check_assistant=checked,
    )
    check_turns(rows, compile_prompt(config), parser, "shot", ["<think>"], judged)


@pytest.mark.parametrize(
    ("parser", "assistant"),
    [
        (LABEL, "{{ target }}"),
        (Text(), "{{ target }}"),
        (Json("label", LABEL), '{"label": "{{ target }}"}'),
        (Json("label"), 'Look: {"label": "{{ target }}", "why": "{{ note }}"}'),
        (LABEL, "<think>It is not bad, but good.</think>{{ target }}"),
        (Regex(r"Answer: (\w+)"), "{{ note }}. Answer: {{ target }}"),
    ],
)
def test_turns_that_are_read(parser, assistant):
    """In any form that the parser reads as the target; thinking is no part of the answer."""
    check(parser, assistant)


@pytest.mark.parametrize(
    ("parser", "assistant", "said"),
    [
        (Json("label", LABEL), "{{ target }}", "'good' of row t1 cannot be read by prompt.parser (Json: no "),
        (
            Json("label"),
            "{{ target }}",
            """such as '{"label": {{ target | tojson }}}'; prompt.check_assistant""",
        ),
        (Json("label"), '{"Label": "{{ target }}"}', "no object has a field 'label'"),
        (Json("label"), '{"label": {{ target }}}', "no object can be read"),
        (Json("label"), '{"label": "{{ note }}"}', "as 'so', but the target is 'good' (2 of 2 shots)"),
        (LABEL, "It is {{ target }} or bad", "cannot be read by prompt.parser (Label"),
        (
            LABEL,
            "good",
            "'good' of row t2 is read by prompt.parser (Label) as 'good', but the target is 'bad'",
        ),
        (Text(), "Answer: {{ target }}", "as 'Answer: good', but the target is 'good'"),
        (Regex(r"Answer: (\w+)"), "{{ target }}", "Regex: the pattern does not match"),
        (Number(), "{{ target }}", "column 'target': 'good' cannot be read by prompt.parser (Number)"),
        (LABEL, "<think>{{ target }}", "cannot be read"),
    ],
)
def test_turns_that_are_not(parser, assistant, said):
    """The message has the row, the turn, what is read and why, and how to write it; an option allows it."""
    with pytest.raises((PromptError, DataError)) as error:
        check(parser, assistant)
    assert said in str(error.value)
    check(parser, assistant, checked=False)


def test_numbers_and_lists():
    """A number is compared as a number, and may be rounded; of several acceptable answers any one will do."""
    numbers = ROWS.with_columns(target="score")
    check(Number(), "{{ target }}.0", numbers)
    check(Json("n"), '{"n": {{ target }}}', numbers)
    means = ROWS.with_columns(target=pl.Series([3.6667, 2.3333]))
    for form in ("{{ target | round(1) }}", "{{ '%.2f' % target }}", "{{ target | round | int }}"):
        check(Number(integer=False), form, means)
    with pytest.raises(PromptError, match=r"as 3\.6, but the target is 3\.6667"):
        check(Number(integer=False), "{{ (target - 0.1) | round(1) }}", means)
    lists = ROWS.with_columns(target=pl.concat_list("target", pl.lit("fine")))
    check(Text(), "fine", lists)
    with pytest.raises(PromptError, match=r"the target is \[\"good\", \"fine\"\]"):
        check(Text(), "{{ note }}", lists)
    check(Text(), "{{ note }}", ROWS.drop("target"))
    with pytest.raises(PromptError, match="cannot be read"):
        check(Json("label"), "{{ note }}", ROWS.drop("target"))
    check(lambda text: text.split(", "), "{{ target | join(', ') }}", lists)


def test_free_text_that_a_judge_reads():
    """A judge knows the target in other words; without one, only the target itself is right."""
    check(Text(), "It is {{ target }}, I think.", judged=True)
    with pytest.raises(PromptError, match="cannot be read"):
        check(Json("label"), "{{ target }}", judged=True)


SHOTS = "{% for shot in shots %}Note: {{ shot.note }}\nGrade: "
END = "\n{% endfor %}Note: {{ note }}\nGrade:"


def test_shots_in_the_user_turn():
    """What the template shows counts: the gold turn, or its own words, in which the target must be read."""
    check(Json("label"), '{"label": "{{ target }}"}', user=f"{SHOTS}{{{{ shot.gold }}}}{END}")
    check(Json("label"), "", user=f'{SHOTS}{{"label": "{{{{ shot.target }}}}"}}{END}')
    check(LABEL, "", user=f"{SHOTS}{{{{ shot.target }}}}{END}")
    for line in (
        "- {0} -> {1}\n",
        "| {0} | {1} |\n",
        "<in>{0}</in><out>{1}</out>",
        "Text: {0} is {1}.\n",
        "{1}: {0}\n",
    ):
        shown = line.format("{{ shot.note }}", "{{ shot.target }}")
        for parser, rows in (
            (LABEL, ROWS),
            (Text(), ROWS),
            (Number(1, 5), ROWS.with_columns(target="score")),
        ):
            user = "{% for shot in shots %}" + shown + "{% endfor %}{{ note }}"
            check(parser, "", rows.with_columns(note=pl.lit("go 4ward")), user)
    names = (
        "{% for shot in shots %}{{ 'yes' if shot.target == 1 else 'no' }} <- {{ shot.note }}\n{% endfor %}"
    )
    check(Label({1: ["yes"], 0: ["no"]}), "", ROWS.with_columns(target=pl.Series([1, 0])), names)
    check(Json("label"), "", user="{{ note }}", rows=ROWS.clear())
    with pytest.raises(PromptError, match=r"prompt\.assistant: the gold turn 'good' of row t1"):
        check(Json("label"), user=f"{SHOTS}{{{{ shot.gold }}}}{END}")
    with pytest.raises(
        PromptError, match=r"prompt\.user: the shot t1 .*\(Json\) does not read its target 'good'"
    ):
        check(Json("label"), '{"label": "{{ target }}"}', user=f"{SHOTS}{{{{ shot.target }}}}{END}")
