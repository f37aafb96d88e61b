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


def test_a_record_is_not_lost_in_the_one_before_it() -> None:
    """Where the end of a record is missing, its last group would run on to that of the next one."""
    pattern = r"^Q: (?P<question>.*)\n(?P<said>(?s:.*?))\nA: (?P<answer>.*)$"
    with pytest.raises(ValueError, match=r"line 6: 'Q: c' begins a record, .* 'said' .* begins in line 4"):
        read_records("Q: a\nfoo\nA: 1\nQ: b\nbar\nQ: c\nbaz\nA: 3\n", pattern)
    assert read_records("Q: a\nfoo\nQ: c\nA: 3\n", pattern) == [
        {"question": "a", "said": "foo\nQ: c", "answer": "3"}  # what begins here is no whole record
    ]
    assert read_records("1st\n0_th\nx\nGT\n", r"^(?:1st\n)?0_th\n(?P<said>(?s:.*?))\nGT$") == [{"said": "x"}]


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
