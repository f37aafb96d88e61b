"""Steps over the answered rows: votes over two orders, means over samples, codes, drops."""

from __future__ import annotations

import json

import polars as pl
import pytest
from options import write_options

from runner.records.folder import PREDICTIONS, SCORED

ROWS = [
    {"item": item, "order": order, "label": label, "said": said}
    for item, label, says in (
        ("p", 1, ("A", "B")),  # right in both orders
        ("q", 2, ("A", "B")),  # wrong in both
        ("r", 1, ("A", "A")),  # the first output in both
        ("s", 2, ("B", "hard to say")),  # right, and not read
    )
    for order, said in zip(("ab", "ba"), says, strict=True)
]
FILES = {
    "dataset/pairs.yaml": "name: pairs\npath: rows.jsonl\n",
    "prompt/pairs.yaml": (
        "name: pairs\nuser: '{{ item }}'\nparser: {_target_: runner.parse.Label, labels: [A, B]}\n"
        "assistant: A\n"
    ),
    "experiment/pairs.yaml": """
# @package _global_
defaults:
  - override /dataset: pairs
  - override /prompt: pairs
  - override /provider: replay
  - override /metric: accuracy
  - override /tracking: none
provider: {column: said}
name: pairs
""",
    "experiment/votes.yaml": """
# @package _global_
defaults: [pairs]
scoring:
  steps:
    - derive:
        winner: CASE WHEN ("order" = 'ab') = (prediction = 'A') THEN 1 WHEN prediction IS NOT NULL THEN 2 END
    - group:
        by: [item]
        columns: {prediction: "CASE WHEN COUNT(winner) = 2 THEN COALESCE(MAJORITY(winner), 0) END"}
    - derive: {target: label}
""",
}


@pytest.fixture
def command(runner):
    """The command line with an experiment of its own."""
    write_options(runner.folder, FILES)
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return lambda name, *more: runner("--config-dir", "mine", f"experiment={name}", *more)


def frame_of(runner, name: str = SCORED) -> pl.DataFrame:
    return pl.read_parquet(max(runner.folder.glob(f"outputs/runs/*/{name}")))


def test_two_orders_become_one_vote(command, runner):
    """The metrics read the votes, with a null as wrong; the answers stay as they are."""
    done = command("votes")
    assert done.code == 0, done.err
    assert "8 of 8 rows answered · 7 parsed · 0 calls made · 4 rows scored" in done.out
    scored = frame_of(runner)
    assert scored.select("id", "prediction", "target", "accuracy").rows() == [
        ("pairs:0", 1, 1, 1.0),
        ("pairs:2", 1, 2, 0.0),
        ("pairs:4", 0, 1, 0.0),
        ("pairs:6", None, 2, None),
    ]
    assert scored["scored_from"].to_list()[3] == ["pairs:6", "pairs:7"]
    assert scored["completion"].to_list()[3] == "B\nhard to say"
    answered = frame_of(runner, PREDICTIONS)
    assert answered["prediction"].to_list() == [*"ABABAAB", None]
    assert answered["accuracy"].to_list() == [None] * 8  # none of them alone became a scored row


def test_what_reads_a_run_reads_the_scored_rows(command, runner):
    """The list of wrong rows, the report and a paired test; one row whole is an answered one."""
    command("votes")
    command("votes")
    wrong = runner("show", "run=last", "wrong").out
    assert "3 rows: wrong" in wrong
    assert "scoring.steps made" in wrong
    assert "row pairs:7" in runner("show", "run=last", "row=pairs:7").out
    runs = sorted(map(str, runner.folder.glob("outputs/runs/*")))
    assert runner("report", *runs).code == 0
    assert runner("reproduce", runs[0], "--config-dir", "mine").out.rstrip().endswith("reproduced")


def test_unread_rows_that_are_left_out_are_told(command, runner):
    """A drop must not make a strict score better in silence."""
    steps = "scoring.steps=[{filter: prediction IS NOT NULL},{derive: {target: \"'A'\"}}]"
    done = command("pairs", steps)
    assert done.code == 0, done.err
    assert "leave out 1 row of which nothing was read (pairs:7), so no score counts" in done.err + done.out
    assert "7 rows scored · 1 left out (1 unread)" in done.out
    assert frame_of(runner, PREDICTIONS)["accuracy"].null_count() == 1


def test_codes_leave_a_null_as_it_is(command, runner):
    """An answer that was not read needs no label, and counts as wrong."""
    done = command("pairs", "scoring.steps=[{labels: {prediction: {A: 1, B: 2}}}, {derive: {target: label}}]")
    assert done.code == 0, done.err
    assert frame_of(runner)["prediction"].to_list() == [1, 2, 1, 2, 1, 1, 2, None]
    assert "accuracy  0.625" in done.out


def test_means_over_samples(command, runner):
    """The repeats of a row become one row, which is scored once."""
    lists = [{"item": "x", "said": ["A", "B", "A"]}, {"item": "y", "said": ["B", "B", "B"]}]
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lists)))
    vote = "{group: {by: [id], columns: {prediction: 'MAJORITY(prediction)'}}}"
    steps = f"scoring.steps=[{vote},{{derive: {{target: \"'A'\"}}}}]"
    done = command("pairs", "hyperparameter.repeats=3", steps)
    assert done.code == 0, done.err
    assert "6 (2 rows, 3 times each)" in done.out
    assert frame_of(runner).select("prediction", "scored_from").rows() == [
        ("A", ["pairs:0, repeat 0", "pairs:0, repeat 1", "pairs:0, repeat 2"]),
        ("B", ["pairs:1, repeat 0", "pairs:1, repeat 1", "pairs:1, repeat 2"]),
    ]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            "[{derive: {prediction: predicton}}]",
            "scoring.steps[0].derive: there is no column 'predicton'; did",
        ),
        ("[{join: {path: a, key: id}}]", "scoring.steps[0].join: it reads a file"),
        ("[{group: {by: [item]}}]", "scoring.steps: the rows have no column 'prediction' any more"),
        ("[{derive: {id: item}}]", "scoring.steps: several rows have the id 'p'"),
        ("[{labels: {prediction: {A: 1}}}]", "with 'B', which has no label"),
        (
            "[{derive: {win: prediction}}, {group: {by: [item], columns: {prediction: 'FIRST(prediction)'}}},"
            " {derive: {x: win}}]",
            "there is no column 'win'",
        ),
        ("[{derive: {accuracy: '1'}}]", "the rows already have a column 'accuracy'"),
    ],
)
def test_a_mistake_in_steps_comes_before_the_first_call(command, runner, steps, said):
    """Also where it depends on the answers which columns a group keeps."""
    done = command("pairs", "metric.accuracy.expected=A", f"scoring.steps={steps}")
    assert done.code == 2
    assert said in done.err
    assert not list(runner.folder.glob("outputs/runs/*"))
