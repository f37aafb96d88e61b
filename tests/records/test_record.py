"""Records that are not there, not whole, or not ours."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

import runner as api
from runner.core.errors import DataError, RunnerError
from runner.records.record import Record, read_predictions, read_record, read_records
from runner.records.result import find_right_score, load_sweep

GOOD = asdict(Record("a", "good", started=1.0))
FOREIGN = {
    "half a file": '{"id": "a", ',
    "no JSON": "\x80",
    "a list": "[1, 2]",
    "another program's": '{"id": "a", "artist": "b"}',
    "a score of text": json.dumps(GOOD | {"scores": {"a": {"value": "high"}}}),
    "a score that is a number": json.dumps(GOOD | {"scores": {"a": 1}}),
    "a time in words": json.dumps(GOOD | {"started": "noon"}),
    "scores in a list": json.dumps(GOOD | {"scores": []}),
}


def put(folder: Path, text: str) -> None:
    """Make a folder with this as its record."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(text)


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_record_is_named(tmp_path, caplog, text):
    """Reading it is an error that names the file; among others it is left out with a warning."""
    put(tmp_path / "0", json.dumps(GOOD))
    put(tmp_path / "1", text)
    for read in (read_record, api.load):
        with pytest.raises(DataError, match=r"1/record\.json cannot be read"):
            read(tmp_path / "1")
    assert list(read_records([tmp_path / "0", tmp_path / "1"])) == [tmp_path / "0"]
    assert [result.folder.name for result in load_sweep(tmp_path).results] == ["0"]
    assert f"{tmp_path}/1/record.json cannot be read" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"started": "noon"},
        {"started": float("nan")},
        {"finished": 1e300},
        {"error": 3},
        {"sweep": ["s"]},
        {"job": "first"},
        {"tags": {"model": 1}},
        {"figures": {"n": "8"}},
        {"models": ["m"]},
        {"reference": {"metric": "f1"}},
        {"curves": {"loss": [[1, None]]}},
        {"curves": {"loss": [1]}},
        {"finished": True},
        {"labels": [1]},
        {"scores": {"f1": {"value": "high"}}},
        {"scores": {"f1": {"value": 1.0, "n": 1.5}}},
    ],
    ids=str,
)
def test_every_value_has_its_type(tmp_path, change):
    """A record with a value of another type, at any depth, is not taken for one."""
    put(tmp_path / "1", json.dumps(GOOD | change))
    with pytest.raises(DataError, match=r"1/record\.json cannot be read"):
        read_record(tmp_path / "1")


ROWS = {"completion": ["4", "5"], "error": [None, None], "prediction": [4, 5]}
ODD_ROWS = [{"x": [1]}, {**ROWS, "id": [1, 2]}, {**ROWS, "id": ["a", "a"]}, {**ROWS, "id": ["a", None]}]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}", *ODD_ROWS], ids=str)
def test_rows_that_cannot_be_read_are_named(tmp_path, content):
    """Whatever is in the file, the error has its name."""
    if isinstance(content, dict):
        pl.DataFrame(content).write_parquet(tmp_path / "predictions.parquet")
    else:
        (tmp_path / "predictions.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"predictions\.parquet cannot be read as the rows of a run"):
        read_predictions(tmp_path)


def test_a_list_of_nothing_readable_is_an_error(runner):
    """It is not the same as no run."""
    put(runner.folder / "outputs/runs/z", "{}")
    outcome = runner("list")
    assert (outcome.code, "none of its 1 record can be read" in outcome.err) == (2, True)
    assert "z/record.json" in outcome.err


def test_a_record_that_is_not_there_is_an_error(tmp_path):
    """With the name of the file."""
    with pytest.raises(RunnerError, match=r"record\.json cannot be read"):
        read_record(tmp_path)


def test_commands_go_on_without_it(runner, copy_store):
    """``list`` and ``sync`` leave it out and name its folder; ``report`` takes the newest readable one."""
    put(
        runner.folder / "outputs/runs/a",
        json.dumps(GOOD | {"status": "failed", "scores": {"f1": {"value": 0.5}}}),
    )
    put(runner.folder / "outputs/runs/z", "{}")
    store = f"tracking.uri=sqlite:///{copy_store(runner.folder / 'mlflow.db')}"
    for command, shown in ({"list": "good", "sync": "1 run logged", "report": "index.html"}).items():
        outcome = runner(command, *([store] if command == "sync" else []))
        assert (outcome.code, shown in outcome.out) == (0, True), outcome.err
        assert "outputs/runs/z/record.json cannot be read" in outcome.out + outcome.err


def test_a_report_of_it_alone_is_refused(runner):
    """With the name of its folder."""
    put(runner.folder / "outputs/runs/z", "{}")
    outcome = runner("report", "outputs/runs/z")
    assert outcome.code == 2
    assert "no record in outputs/runs/z can be read" in outcome.err


def test_the_verdict_says_what_is_right():
    """MLflow, the report and the screen take the score of the verdict, also if accuracy comes first."""
    config = {"metric": {"accuracy": {}, "share": {"column": "verdict"}}}
    kinds = {"closeness": "value", "accuracy": "right", "share": "right"}
    assert find_right_score(Record("r", "n", config=config, row_scores=kinds)) == "share"
    assert find_right_score(Record("r", "n", row_scores={"closeness": "value"})) is None
