"""CSV: what RFC 4180 allows is read as it is written, and anything else names its line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.data.csv_file import read_csv

QUICK = settings(max_examples=150, deadline=None, database=None, derandomize=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=5)
)


@QUICK
@given(TABLES, st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_a_writer_writes_is_read_back(
    table: list[list[str]], separator: str, line_end: str, quote: bool
) -> None:
    """Any text comes back, whatever the separator and the line break, and no record is lost."""
    file = io.StringIO()
    header = [f"c{place}" for place in range(len(table[0]))]
    writer = csv.writer(
        file,
        delimiter=separator,
        lineterminator=line_end,
        quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL,
    )
    writer.writerow(header)
    for row in table:
        # the writer leaves a lone carriage return without quotes, which no reader can tell from a line break
        writer.writerow(row if quote else [cell.replace("\r", "") for cell in row])
    frame = read_csv(file.getvalue(), separator)
    expected = table if quote else [[cell.replace("\r", "") for cell in row] for row in table]
    assert [list(row) for row in frame.rows()] == [[cell or None for cell in row] for row in expected]
    assert frame.columns == header


@QUICK
@given(st.text(st.sampled_from(list('ab,"\n\r\\; ')), max_size=24))
def test_any_text_is_a_table_or_an_error_with_its_line(text: str) -> None:
    """Nothing else can happen, and all that is not a quote, a separator or a line break is in the table."""
    try:
        read = "".join(cell or "" for row in read_csv("x,y\n" + text).rows() for cell in row)
    except ValueError as error:
        read = text if str(error).startswith("line ") else ""
    signs = str.maketrans("", "", '\n\r",')
    assert sorted(read.translate(signs)) == sorted(text.translate(signs))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,"he said \\"hi\\", ok"\n', "line 2: .*follows a closing quote"),
        ('a,b\n"1\n",2\n3,x"y\n', "line 4: a quote in a field that does not begin with one"),
        ('a,b\n1, "x"\n', "line 2: a quote in a field"),
        ('a,b\n1,"x"y\n', "line 2: 'y' follows a closing quote"),
        ('a,b\n1,2\n1,"x\n2,y\n', "line 3: the quote that begins a field here is never closed"),
        ("a,b\n1,2\n1\n", "line 3: 1 field, but line 1 has 2"),
        ('a,"b\nc"\n1,2,3\n', "line 3: 3 fields, but line 1 has 2"),
        ("a,b\n1,x\ry\n", "line 2: ends with another kind of line break"),
        ("a,b;c\n1,2\n", "line 1 has both ',' and ';'; say in dataset.separator"),
        ("a,a\n1,2\n", "line 1: two columns are named 'a'"),
        ("a,,\n1,2,3\n", "line 1: two columns have no name"),
        ("\na,b\n1,2\n", "line 1 is empty"),
        ("sep=;\na;b\n1;2\n", "line 1 is a hint to Excel"),
        ("a\0,\0b\0\n", "line 1: .* save the file as UTF-8"),
    ],
)
def test_what_is_no_csv_names_its_line(text: str, said: str) -> None:
    """A backslash is a letter; a quote, a line break and the number of fields are as RFC 4180 says."""
    with pytest.raises(ValueError, match=said):
        read_csv(text)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b\n1;2,5\n", [("1", "2,5")]),
        ("a\tb\n1\t2", [("1", "2")]),
        ('"a,x";b\n1;2\n', [("1", "2")]),
        ("a,b\r1,2\r3,4", [("1", "2"), ("3", "4")]),
        ("a,b\r\n1,2\r\n\r\n3,4\r\n\r\n", [("1", "2"), ("3", "4")]),
        ("a\nx\n\ny\n\n", [("x",), (None,), ("y",)]),
        ('a,b\n,""\n', [(None, None)]),
        ("a,b\nC:\\,'\n", [("C:\\", "'")]),
        ("a,b\nx\u2028y,\x85\n", [("x\u2028y", "\x85")]),
        (",b\n1,2\n", [("1", "2")]),
        ("a;b;;\n1;2;;\n;;;\n", [("1", "2"), (None, None)]),
    ],
)
def test_what_is_csv_is_read(text: str, rows: list[tuple[str | None, ...]]) -> None:
    """The header tells the separator; empty lines are no records; an empty field is null, quoted or not.

    Columns without a name and without a value, as Excel writes them, are left out.
    """
    assert read_csv(text).rows() == rows
