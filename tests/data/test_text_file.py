"""Records of log files by a regular expression."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import ConfigError
from runner.data.text_file import read_records

LOG = "run 7\n\nQ: What is\n2 + 2?\nA: 4\n----\nQ: Colour?\nA: \n----\nQ: River?\n----\naccuracy 0.5\n"
PATTERN = r"^Q: (?P<question>(?s:.*?))\n(?:A: (?P<answer>.*)\n)?----$"
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r|"), min_size=1, max_size=9)


def test_a_match_is_a_record_and_a_group_a_column() -> None:
    """A group that takes no part is null, one that matches nothing is an empty text."""
    read = read_records(LOG.replace("\n", "\r\n"), PATTERN, r"run \d+|accuracy .*")
    assert [tuple(record.values()) for record in read] == [
        ("What is\n2 + 2?", "4"),
        ("Colour?", ""),
        ("River?", None),
    ]


def test_no_line_is_passed_over_unless_the_config_says_so() -> None:
    """Else a record that looks a little different would be lost without a word."""
    with pytest.raises(
        ValueError, match=r"line 1: 'run 7' is in no match of dataset\.pattern; .*dataset\.skip"
    ):
        read_records(LOG, PATTERN)
    with pytest.raises(ValueError, match=r"line 12: 'accuracy 0\.5' is in no match"):
        read_records(LOG, PATTERN, "run 7")
    with pytest.raises(ValueError, match="matches nowhere in it; it begins with 'Q: x'"):
        read_records("\nQ: x\n", "^A: (?P<a>.*)$")
    assert read_records(" \n", PATTERN) == []


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_each_written_record_is_read(rows: list[tuple[str, str]]) -> None:
    """Whatever the texts are, the groups are them, in order."""
    text = "".join(f"{one}|{other}\n" for one, other in rows)
    records = read_records(text, r"^(?P<one>[^|\n]+)\|(?P<other>[^|\n]+)$")
    assert [tuple(record.values()) for record in records] == rows


@pytest.mark.parametrize(
    ("pattern", "skip", "said"),
    [
        (None, None, r"dataset\.pattern is not set"),
        ("(?P<a>x", None, r"dataset\.pattern='\(\?P<a>x' is no regular expression: missing \)"),
        ("x", None, "has no named group"),
        ("(?P<a>y*)", None, "matches an empty text"),
        ("(?P<a>x)", "(", r"dataset\.skip='\(' is no regular expression"),
    ],
)
def test_a_wrong_pattern_names_its_key(pattern: str | None, skip: str | None, said: str) -> None:
    """Before any row is read."""
    with pytest.raises(ConfigError, match=said):
        read_records("x", pattern, skip)
