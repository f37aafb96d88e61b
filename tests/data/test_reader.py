"""Reading one file, and columns under new names."""

from __future__ import annotations

import gzip
import json
import zipfile
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from runner.core.errors import ConfigError, DataError
from runner.data import pick, reader
from runner.data.fetch import Part

ROWS = [{"n": 1, "text": "one, “two”"}, {"n": 2, "text": "drei\nvier"}]
NESTED = pl.DataFrame(
    {"results": [[{"swap = False": {"a/b": ["x", "y"]}}], [{"swap = False": {"a/b": ["z"]}}]]}
)


def read(path: Path, format: str | None = None, **reading: str | None) -> pl.DataFrame:
    """All rows of a file."""
    return reader.read_parts([Part(path, str(path))], reader.Reading(format=format, **reading), {})


def write(folder: Path, name: str) -> Path:
    """The same two rows in the format of the suffix."""
    path, frame = folder / name, pl.DataFrame(ROWS)
    if path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        path.write_text(json.dumps(ROWS))
    return path


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.json", "r.parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    """CSV, JSONL, JSON and Parquet are told apart by suffix, quotes and line breaks included."""
    assert read(write(tmp_path, name)).to_dicts() == ROWS


def test_format_overrides_the_suffix(tmp_path: Path) -> None:
    """A file without a telling suffix is read as the format says."""
    path = write(tmp_path, "r.jsonl").rename(tmp_path / "rows.sample")
    assert read(path, "jsonl").height == 2
    with pytest.raises(ConfigError, match=r"no suffix of a known format .* say in dataset\.format"):
        read(path)


def test_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    """A mistyped format is answered with the one that was meant."""
    with pytest.raises(ConfigError, match=r"dataset\.format='jsonl1'.*did you mean 'jsonl'"):
        read(write(tmp_path, "r.csv"), "jsonl1")


def test_rows_points_to_the_list_inside(tmp_path: Path) -> None:
    """A JSON pointer leads to the rows, through objects, lists and escaped slashes."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"parts": [{"a/b": ROWS}]}))
    assert read(path, rows="/parts/0/a~1b").to_dicts() == ROWS


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (None, "lists at: /instances"),
        ("/instance", "did you mean 'instances'"),
        ("/instances/9", "no item 9 in /instances, which has at most 2 items"),
    ],
)
def test_wrong_rows_says_what_is_there(tmp_path: Path, rows: str | None, said: str) -> None:
    """A pointer that leads nowhere, or none where one is needed, names what the file has."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"name": "x", "instances": ROWS}))
    with pytest.raises(ConfigError, match=said):
        read(path, rows=rows)


def test_a_table_by_columns_says_how_to_write_rows(tmp_path: Path) -> None:
    """What pandas writes without being told otherwise is no list of rows."""
    (tmp_path / "r.json").write_text('{"a": {"0": 1, "1": 2}}')
    with pytest.raises(ConfigError, match=r"not a list of objects; with pandas, .*orient='records'"):
        read(tmp_path / "r.json")


def test_nan_in_a_parquet_file_is_an_empty_cell(tmp_path: Path) -> None:
    """Pandas writes a missing number so; inside of lists and objects, too."""
    nan = float("nan")
    rows = [(1.0, [nan, 2.0], {"n": nan, "m": "x"}), (nan, None, None)]
    pl.DataFrame(rows, schema=["a", "b", "c"], orient="row").write_parquet(tmp_path / "r.parquet")
    found = read(tmp_path / "r.parquet").rows()
    assert found == [(1.0, [None, 2.0], {"n": None, "m": "x"}), (None, None, None)]


def test_values_of_mixed_types_become_text(tmp_path: Path) -> None:
    """A column that holds numbers and text keeps every value, as text."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"a": 1}, {"a": "Tie"}, {"a": None}]))
    assert read(path)["a"].to_list() == ["1", "Tie", None]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.jsonl", b'{"a": 1}\n{"a": oops}\n', "line 2: "),
        ("r.jsonl", b'{"a": 1}\n[1]\n', "line 2 is not an object"),
        ("r.jsonl", b'[{"a": 1}]\n', r"line 1 is not an object; .*dataset\.format=json "),
        ("r.json", b'{"a": 1}\n{"a": 2}\n', r"line 2: Extra data .*dataset\.format=jsonl"),
        ("r.csv", b"a,b\n1,2\n\xe4,3\n", "line 3 is not UTF-8"),
        ("r.csv", b"a,b\n1,2,3\n", "cannot be read as csv"),
        ("r.json", b'{"a": ', "cannot be read as json"),
        ("r.parquet", b"a,b\n1,2\n", "cannot be read as parquet"),
        ("r.jsonl", b"\n", "has no rows"),
        ("r.json", b"[]", "has no rows"),
        ("r.csv", b"a,b\n", "has no rows"),
    ],
)
def test_broken_file_is_named_with_the_place(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """What cannot be read is one sentence with the file, and the line where there is one."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_columns_get_new_names_and_others_are_dropped() -> None:
    """Only what is named is kept; without names all is."""
    frame = pl.DataFrame({"Ground Truth": ["t"], "Answer": ["a"]})
    assert pick.pick_columns(frame, {"truth": "Ground Truth"}).to_dicts() == [{"truth": "t"}]
    assert pick.pick_columns(frame, {}).columns == ["Ground Truth", "Answer"]


def test_pointer_leads_into_nested_records() -> None:
    """Lists are entered by number, objects by name; past a list's end is null."""
    names = {"first": "/results/0/swap = False/a~1b/0", "second": "/results/0/swap = False/a~1b/1"}
    assert pick.pick_columns(NESTED, names).rows() == [("x", "y"), ("z", None)]


def test_list_of_sources_is_a_list_column() -> None:
    """Several sources under one name become a list, which explode takes apart."""
    frame = pl.DataFrame({"output_1": ["p"], "output_2": ["q"]})
    assert pick.pick_columns(frame, {"output": ["output_1", "output_2"]})["output"].to_list() == [["p", "q"]]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("result", "no such column; did you mean 'results'"),
        ("/result/0", "no column 'result'; did you mean 'results'"),
        ("/results/0/swap = false/a~1b/0", "no field 'swap = false'; did you mean 'swap = False'"),
        ("/results/first", "'first' leads into a value of type List"),
        (["results", "nope"], "no such column"),
    ],
)
def test_unknown_source_names_key_and_nearest(source: object, said: str) -> None:
    """The message has the key, the value and what was probably meant."""
    with pytest.raises(DataError, match=said) as caught:
        pick.pick_columns(NESTED, {"recorded": source})
    assert str(caught.value).startswith("dataset.columns.recorded=")


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.json"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str) -> None:
    """What Windows writes before the text is passed over in every format."""
    path = write(tmp_path, name)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(path).to_dicts() == ROWS


def test_a_csv_column_keeps_the_zeros_of_its_cells(tmp_path: Path) -> None:
    """A postal code is no number."""
    path = tmp_path / "r.csv"
    path.write_text('zip,n\n02139,1\n"007",2\n')
    assert read(path).rows() == [("02139", 1), ("007", 2)]


def test_separator_is_found_or_named(tmp_path: Path) -> None:
    """The header or the suffix tells it, or the config does, in a letter or as tab."""
    content = {
        "r.csv": "a;b\n1;2\n",
        "r.tsv": "a\tb,c\n1\t2\n",
        "s.csv": "a\tb,c\n1\t2\n",
        "t.csv": "a|b\n1|2\n",
    }
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    given = {"r.csv": None, "r.tsv": None, "s.csv": "tab", "t.csv": "|"}
    for name, separator in given.items():
        assert read(tmp_path / name, separator=separator).rows() == [(1, 2)]
    with pytest.raises(DataError, match=r"s\.csv: .*say in dataset\.separator"):
        read(tmp_path / "s.csv")
    with pytest.raises(ConfigError, match=r"dataset\.separator=';;'"):
        read(tmp_path / "r.csv", separator=";;")


def test_compressed_files_are_read_as_what_is_in_them(tmp_path: Path) -> None:
    """The suffix before the one of the compression tells the format."""
    for name in ("r.csv", "r.jsonl", "r.json", "r.parquet"):
        packed = tmp_path / f"{name}.gz"
        packed.write_bytes(gzip.compress(write(tmp_path, name).read_bytes()))
        assert read(packed).to_dicts() == ROWS


def test_an_encoding_is_named_and_not_guessed(tmp_path: Path) -> None:
    """Latin-1 has no mark of its own; UTF-16 has one, and the message says so."""
    path = tmp_path / "r.csv"
    path.write_bytes("a\nwörd\n".encode("latin-1"))
    assert read(path, encoding="latin-1")["a"].to_list() == ["wörd"]
    with pytest.raises(DataError, match=r"line 2 is not UTF-8; .*dataset\.encoding"):
        read(path)
    with pytest.raises(DataError, match="line 2 is not ascii"):
        read(path, encoding="ascii")
    with pytest.raises(ConfigError, match=r"dataset\.encoding='latin-eins' is not known"):
        read(path, encoding="latin-eins")
    with pytest.raises(ConfigError, match=r"dataset\.encoding='rot13' is not known"):
        read(path, encoding="rot13")
    path.write_bytes("a\nwörd\n".encode("utf-16"))
    assert read(path, encoding="utf-16")["a"].to_list() == ["wörd"]
    with pytest.raises(DataError, match=r"it is UTF-16; dataset\.encoding=utf-16 reads it"):
        read(path)


def test_a_log_is_read_by_a_pattern(tmp_path: Path) -> None:
    """Its groups are columns, of numbers where each one is."""
    path = tmp_path / "run.log"
    path.write_text("1: yes\n2: no\ndone\n")
    frame = read(path, "text", pattern=r"^(?P<n>\d+): (?P<said>.*)$", skip="done")
    assert frame.rows() == [(1, "yes"), (2, "no")]
    with pytest.raises(DataError, match=r"run\.log: cannot be read as text: line 3: 'done' is in no match"):
        read(path, "text", pattern=r"^(?P<n>\d+): (?P<said>.*)$")
    with pytest.raises(ConfigError, match=r"dataset\.pattern='x' is for text files, and r\.csv "):
        read(write(tmp_path, "r.csv"), pattern="x")


def test_a_sheet_is_read_as_the_same_table_in_csv_would_be(tmp_path: Path) -> None:
    """A number in one cell and a text in the other are both texts; an error of a formula is empty."""
    path = tmp_path / "r.xlsx"
    path.write_bytes(make_workbook({"A": [["q", "n", "m"], ["x", 4, "007"], ["#N/A", 5.0, 7]], "B": [["q"]]}))
    assert read(path, rows="A").rows() == [("x", 4, "007"), (None, 5, "7")]
    with pytest.raises(ConfigError, match=r"dataset\.rows: say which sheet is meant: A, B"):
        read(path)
    with pytest.raises(ConfigError, match=r"dataset\.rows='C': there is no such sheet"):
        read(path, rows="C")
    path.write_bytes(make_workbook({"A": [["q", "n", "m"], ["", 1e-10, 1 / 3], ["x", 0.1 + 0.2, 0.5]]}))
    assert read(path).rows() == [(None, 1e-10, 1 / 3), ("x", 0.1 + 0.2, 0.5)]  # with all digits
    path.write_bytes(make_workbook({"A": [["q", "n"]]}))
    with pytest.raises(DataError, match=r"r\.xlsx: has no rows"):
        read(path)
    path.write_bytes(make_workbook({"A": [["q", "q"], ["x", 4]]}))
    with pytest.raises(DataError, match="two columns are named 'q'"):
        read(path)
    path.write_bytes(b"q,n")
    with pytest.raises(DataError, match=r"r\.xlsx: cannot be read as excel"):
        read(path)


def make_workbook(sheets: dict[str, list[list[str | float]]]) -> bytes:
    """A workbook with these rows; a text that begins with # is an error of a formula."""
    office = "http://schemas.openxmlformats.org"
    main = f'xmlns="{office}/spreadsheetml/2006/main"'
    links = f'xmlns="{office}/package/2006/relationships"'
    kind = f"{office}/officeDocument/2006/relationships"

    def write_cell(value: str | float, place: str) -> str:
        if isinstance(value, str) and not value.startswith("#"):
            return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
        return f'<c r="{place}" t="{"e" if isinstance(value, str) else "n"}"><v>{value}</v></c>'

    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    files = {
        "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships {links}><Relationship Id="r" Type="{kind}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{kind}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships {links}>"
        + "".join(
            f'<Relationship Id="r{n}" Type="{kind}/worksheet" Target="worksheets/s{n}.xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        + "</Relationships>",
    }
    for n, rows in enumerate(sheets.values(), 1):
        cells = "".join(
            f'<row r="{r}">{"".join(write_cell(v, "ABC"[c] + str(r)) for c, v in enumerate(row))}</row>'
            for r, row in enumerate(rows, 1)
        )
        files[f"xl/worksheets/s{n}.xml"] = f"<worksheet {main}><sheetData>{cells}</sheetData></worksheet>"
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()
