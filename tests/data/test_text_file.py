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


BLOCKS = [f"Question: {n} + 1\nHm.\nAnswer: {n + 1}\n=====\n" for n in range(6)]
GREEDY = r"^Question: (?P<q>.*)\n(?P<said>(?s:.*?))\nAnswer: (?P<a>.*)$"
STRICT = r"^Question: (?P<q>.*)(?P<said>(?:\n(?!Question: ).*)*?)\nAnswer: (?P<a>.*)$"


@pytest.mark.parametrize(
    ("pattern", "block", "said"),
    [
        (GREEDY, "Question: 9\nHm.\nAnswer is 10\n=====\n", "line 12: '=====' .* line 9, but .*skip matches"),
        (GREEDY, "Question: 9\nHm.\nAnswer is 10\n", "line 12: 'Question: 2 .* could begin there"),
        (GREEDY, "Question: 9\n", "line 10: 'Question: 2 .* could begin there"),
        (STRICT, "Question: 9\nHm.\nAnswer is 10\n=====\n", "line 9: 'Question: 9' is in no match"),
    ],
)
def test_a_record_that_swallows_the_next_one_is_an_error(pattern: str, block: str, said: str) -> None:
    """Else one row would be missing, and another one would have the answer of the next."""
    assert [record["a"] for record in read_records("".join(BLOCKS), pattern, "=+")] == list("123456")
    with pytest.raises(ValueError, match=said):
        read_records("".join([*BLOCKS[:2], block, *BLOCKS[2:]]), pattern, "=+")


@pytest.mark.parametrize(
    ("pattern", "text", "skip", "count"),
    [
        (r"(?P<text>(?:.+\n)+)", "a\nb\nc\n\nd\ne\n\nf\n", None, 3),
        (r"^=+\n(?P<text>(?:x.*\n)+)", "==\nxa\nxb\n==\nxc\n==\n", "=+", 2),
        (r"^(?P<who>[AB]): (?P<text>.*(?:\n(?![AB]: ).*)*)", "A: x\ny\nB: z\n\nA: q\n", None, 3),
    ],
)
def test_other_ways_to_write_a_record(pattern: str, text: str, skip: str | None, count: int) -> None:
    """Paragraphs, lines for skip at the edge of a match, and turns of a chat are no false alarm."""
    assert len(read_records(text, pattern, skip)) == count


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
