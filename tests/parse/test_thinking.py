"""What a model thinks is no part of its answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.parse.thinking import find_answer_tokens, split_thinking

TAGS = ["<think>", "[THINK]"]


@pytest.mark.parametrize(
    ("text", "answer", "thoughts"),
    [
        ("<think>A?</think>\n\nB ", "B", ["A?"]),
        ("<THINK>\nA?\n</Think>B", "B", ["A?"]),
        ("< think >A?< / think >B", "B", ["A?"]),
        ("[THINK]A?[/THINK]B", "B", ["A?"]),
        ("A?</think>B", "B", ["A?"]),  # the opening tag stood in the prompt
        ("<think></think>B", "B", []),
        ("<think>A?</think>B <think>or A</think>", "B", ["A?", "or A"]),
        ("<think>A<think>or</think>B?</think>B", "B", ["A", "or", "B?"]),
        ("<think>A?</think>or</think>B", "B", ["A?", "or"]),
        ("<think>[THINK]</think>B", "B", ["[THINK]"]),
        ("<think>A?</think>", "", ["A?"]),
        ("<think>A? or", None, ["A? or"]),
        ("B <think>A?", None, ["A?"]),
        ("<think>A<think>or</think>B", None, ["A", "or", "B"]),
        (" B is thinking ", " B is thinking ", []),
        ("<thinking>A</thinking>B", "<thinking>A</thinking>B", []),
    ],
)
def test_split(text: str, answer: str | None, thoughts: list[str]) -> None:
    """The answer is what stands outside of all thoughts; without the last closing tag there is none."""
    assert split_thinking(text, TAGS) == (answer, thoughts)


def test_without_tags_nothing_is_split() -> None:
    """An empty list turns it off."""
    assert split_thinking("<think>A</think>B", []).answer == "<think>A</think>B"


PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "A", " b", "\n"]), max_size=9
)


@given(pieces=PIECES)
@settings(max_examples=150, deadline=None, database=None)
def test_no_tag_is_left_open(pieces: list[str]) -> None:
    """Whatever the order of tags: every thought ended before the answer, or there is no answer."""
    text = "".join(pieces)
    answer, _ = split_thinking(text, ["<think>"])
    said = text.count("<think>") + text.count("</think>")
    assert said or answer == text
    if answer is not None and said:
        assert "think>" not in answer
        assert text.count("</think>") >= text.count("<think>")


def test_the_tokens_of_the_answer() -> None:
    """They are the last ones, but for tags and white space; else there are none."""

    def tokens(*texts: str) -> list[dict[str, str]]:
        return [{"token": text} for text in texts]

    found = tokens("<think>", "A or B", "</think>", "\n\n", " A", " b", "<|im_end|>")
    assert find_answer_tokens(found, "A b") == found[4:6]
    assert find_answer_tokens(tokens("</think>", "\n\nA"), "A") == tokens("\n\nA")
    for texts, answer in ((["</think>A"], "A"), (["B"], "A"), ([], "A"), (["A"], "")):
        assert find_answer_tokens(tokens(*texts), answer) is None
