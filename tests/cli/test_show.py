"""``runner show``: what a run would send before it costs anything, and what a recorded one has answered."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from options import write_options
from rich.cells import cell_len
from servers import Call, Reply, completion, serving

from runner.cli import screen
from runner.cli.arguments import join_shown
from runner.cli.screen.grading import grade_rows
from runner.cli.show.choose import find_row
from runner.cli.show.recorded import show_recorded
from runner.cli.show.values import clean, show_value
from runner.config.command_schema import ShowConfig
from runner.core.errors import ConfigError, DataError
from runner.records.record import Record

CONFIG = {
    "dataset/own.yaml": "{name: own, path: rows.jsonl}",
    "prompt/own.yaml": """
name: own
system: Be brief.
user: "{{ question }}"
assistant: '{"label": "{{ target }}"}'
parser: {_target_: runner.parse.Json, field: label, then: {_target_: runner.parse.Label, labels: [odd, even]}}
""",
    "judge/own.yaml": """
defaults: [correctness, _self_]
name: own
prompt:
  name: own
  user: "judge {{ completion }} for {{ target }}"
  parser: {_target_: runner.parse.Label, labels: [correct, incorrect]}
""",
}
LONG = "漢字🙂" * 60
ROWS = [
    {"id": "a", "split": "test", "question": "even", "target": "even", "note": None},
    {"id": "b", "split": "test", "question": "odd", "target": "even", "note": ""},
    {"id": "c", "split": "test", "question": "mumble", "target": "odd", "note": "null"},
    {"id": "d", "split": "test", "question": "fail", "target": "odd", "note": "\x1b[2Jred\u202e"},
    {
        "id": "e",
        "split": "test",
        "question": f"odd {LONG}",
        "target": "odd",
        "note": "sk-proj-1234567890abcdef",
    },
    {"id": "t1", "split": "train", "question": "3", "target": "odd", "note": " 5"},
    {"id": "t2", "split": "train", "question": "4", "target": "even", "note": "5"},
]


def say(call: Call) -> Reply:
    words = call.json["messages"][-1]["content"]
    if words == "fail":
        return Reply({"error": {"message": "too long"}}, 400)
    if words.startswith("judge"):
        return Reply(completion("Hm, correct or not?" if "odd" in words.split("for")[0] else "correct"))
    word = words.split()[0]
    return Reply(completion(f'{{"label": "{word}"}}' if word in ("odd", "even") else f"I {word}"))


@pytest.fixture
def own(runner, monkeypatch):
    """``own(command, …)`` with the rows above and a prompt that asks for JSON, 80 columns wide."""
    monkeypatch.setattr(screen.console, "_width", 80)
    write_options(runner.folder, CONFIG)
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    experiment = ["--config-dir", "mine", "dataset=own", "prompt=own", "metric=accuracy", "tracking=none"]

    def call(*words: str, url: str = "http://localhost:9"):
        provider = ["provider=openai_compatible", f"provider.base_url={url}/v1", "provider.model=m"]
        return runner(
            *(words[:1] if words[:1] == ("show",) else ()),
            *experiment,
            *provider,
            *words[words[:1] == ("show",) :],
        )

    call.capture = runner.capture
    call.show = lambda *words: runner("show", *words)
    call.folder = runner.folder
    return call


def check_width(text: str) -> None:
    assert max(map(cell_len, text.splitlines())) <= 80
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_before_a_run(own):
    """Splits with labels, columns with types, rows, the chat with its shots, gold, judge, costs; no call."""
    outcome = own("show", "hyperparameter.n_shot=1", "judge=own", "rows=5", "metric=verdict_share")
    assert outcome.code == 0, outcome.err
    said = outcome.out
    check_width(said)
    for line in (
        r"test +5  evaluated +even × 2 · odd × 3",
        r"train +2  shots \(1 a row\) +even × 1 · odd × 1",
        r"note +text +1 +6 +\"\"",
        r"chat  of row a, shots t1, as it would be sent",
        r"system +Be brief\.\n +user +\"?3\"?\n +assistant +\{\"label\": \"odd\"\}\n +user +even",
        r"gold turn +\{\"label\": \"even\"\}\n +as Json reads it +even",
        r"user +judge \{\"label\": \"even\"\} for even",
        r"m +5 calls; about",
    ):
        assert re.search(line, said), line
    assert re.findall(r"(?m)^  note  +(.*)$", said)[1:] == ["null", '""', '"null"', "␛[2Jred<U+202E>", "***"]
    assert not list(own.folder.glob("outputs/*/*"))


def test_what_a_run_refuses_and_needs(own, monkeypatch):
    """Settings that the service would refuse are an error after what is known; a missing key is named."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    there = ("show", "provider=anthropic", "provider.base_url=http://localhost:9")
    known = own(*there)
    assert known.code == 0, known.err
    assert "needs, too  provider.api_key_env=ANTHROPIC_API_KEY" in known.out
    refused = own(*there, "hyperparameter.thinking_tokens=100")
    assert (refused.code, "chat  of row a" in refused.out) == (2, True)
    assert "error: hyperparameter.thinking_tokens=100: must be 0, or at least 1024" in refused.err


def test_one_row_before_a_run(own):
    """Whole, by its id or its number, or those with a text; a row that does not exist is said."""
    said = own("show", "row=e").out
    assert "".join(said.split()).count("漢字🙂" * 60) == 2  # its value and its chat
    assert "splits" not in said
    assert "of row c, " in own("show", "text=Mumble").out
    outcome = own("show", "text=z~")
    assert (outcome.code, "'z~' stands in no row" in outcome.err) == (2, True)


def test_a_row_is_named():
    """By its id, by the number that ends its id, or by its place; never by a guess."""
    assert [find_row(["fib:0", "fib:7"], word) for word in ("fib:0", "7", "0")] == [0, 1, 0]
    assert [find_row(["a", "2", "c"], word) for word in ("2", "c")] == [1, 2]
    assert find_row(["a", "b", "c"], "3") == 2
    for ids, word, said in (
        (["a", "b", "c", "d", "e"], "9", r"no row '9' among 5 rows \(a, b, …, e\)"),
        (["fib:0", "fib:7"], "1", "no row '1'"),
        (["x:1", "y:1"], "1", "may be any of x:1, y:1"),
        (["question-1"], "qestion-1", "did you mean 'question-1'"),
        (["a"], "²", "no row"),
    ):
        with pytest.raises(ConfigError, match=said):
            find_row(ids, word)


def test_a_mistake_comes_after_what_is_known(own):
    """Rows are shown although the prompt names a column that they lack, or shows a form nobody reads."""
    outcome = own("show", "prompt.user='{{ questn }}'")
    assert (outcome.code, "even × 2 · odd × 3" in outcome.out) == (2, True)
    assert "did you mean 'question'?" in outcome.err
    outcome = own("hyperparameter.n_shot=2", "prompt.assistant='{{ target }}'")
    assert outcome.code == 2
    assert "the gold turn 'odd' of row t1 cannot be read by prompt.parser (Json" in outcome.err


def test_training_turns_are_read(own):
    """The gold turns that a training would teach are refused like those of shots; one is shown."""
    training = ["show", "finetune=supervised", "provider=openai", "provider.model=gpt-4o-mini", "row=a"]
    outcome = own(*training, "prompt.assistant='{{ target }}'")
    assert (outcome.code, "(2 of 2 training rows)" in outcome.err) == (2, True)
    assert re.search(r"training  row t1, the first of 2 (.*\n)+.*assistant +odd", outcome.out), outcome.out


def test_a_run(own):
    """The end of a run says the command that shows what is wrong; rows are chosen, and one is shown whole."""
    with serving(say) as server:
        ended = own("judge=own", "metric=[accuracy,verdict_share]", "max_failed=0.5", url=server.url)
    assert ended.code == 0, ended.err
    assert "3 wrong · 1 answer unread · 2 verdicts unread\n        runner show run=outputs/runs/" in ended.out
    command = re.search(r"runner show (run=\S+ wrong)", ended.out)[1]
    outcome = own.show(*command.split())
    check_width(outcome.out)
    assert (outcome.code, re.findall(r"(?m)^([a-e])  +\w+", outcome.out)) == (0, list("bde"))

    def show(**asked):
        show_recorded(ShowConfig(**asked))
        return own.capture.readouterr().out

    def list_rows(**asked):
        return re.findall(r"(?m)^([a-e])  +\w+", show(**asked))

    assert list_rows() == list("abcde")
    assert list_rows(rows=2) == list("ab")
    assert list_rows(only=["unparsed"]) == list("bce")
    assert list_rows(only=["error"]) == list("d")
    assert list_rows(only=["error", "unparsed"]) == list("bcde")
    assert list_rows(only=["disagreeing"]) == []
    assert list_rows(text="MUMBLE") == list("c")
    assert list_rows(text="nowhere") == []
    row = show(row="b")
    check_width(row)
    for line in (
        r"row b  2 of 5, unread",
        r"user +odd",
        r"completion +\{\"label\": \"odd\"\}\n +prediction +odd\n",
        r"target +even\n",
        r"accuracy +0\.0\n",
        r"user +judge \{\"label\": \"odd\"\} for even\n +its words +Hm, correct or not\?\n +verdict +null",
        r"note +\"\"",
    ):
        assert re.search(line, row), line
    assert "too long" in show(row="4")
    _check_foreign(next(own.folder.glob("outputs/runs/*")), show)


def _check_foreign(folder, show):
    """Old and foreign rows are shown as far as they go; what is no run is named."""
    file = folder / "predictions.parquet"
    pl.read_parquet(file).select("question", "completion", id=pl.int_range(pl.len())).write_parquet(file)
    (folder / "record.json").write_text("{}")
    said = show(run=str(folder))
    assert "cannot be read as a record" in " ".join(said.split())
    assert "the rows have no column error, prediction" in said
    with pytest.raises(ConfigError, match="nothing says which rows are wrong"):
        show(run=str(folder), only=["wrong"])
    file.unlink()
    with pytest.raises(DataError, match=r"has no rows \(the run is not known\)"):
        show(run=folder.name)
    with pytest.raises(ConfigError, match="holds no run and no sweep; "):
        show(run="outputs/runs/none")
    with pytest.raises(ConfigError, match=r"'wrng' is no choice of rows; did you mean 'wrong'"):
        show(run="wrng")
    with pytest.raises(ConfigError, match=r"show\.row: write row=…"):
        show(run="row")


def test_a_sweep(own):
    """Its points with their counts and commands; with a row, what each of them says of it."""
    with serving(say) as server:
        own("-m", "hyperparameter.n_shot=0,1", "dataset.limit=3", url=server.url)
    show_recorded(ShowConfig(row="b"))
    said = own.capture.readouterr().out
    assert re.search(
        r"n_shot=0  row b: wrong, prediction odd, target even\n  runner show run=outputs/\S+/0 row=b\n",
        said,
    )


def test_words_become_overrides():
    """Only the words of this command are taken, and a value may hold anything."""
    words = ["text=a,b", "row=x", "--config-dir", "mine", "dataset=fib", "error", "show.rows=3"]
    assert join_shown(words) == [
        *("show.text='a,b'", "show.row='x'", "--config-dir", "mine", "dataset=fib", "show.rows=3"),
        "show.only=['error']",
    ]


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_no_text_harms_the_terminal(text):
    """Nothing is obeyed, and no text is taken for nothing, for another text, or for a number."""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2028\u2066-\u2069]", clean(text))
    assert show_value(text) not in ("null", "", "true", "5")


def test_the_judge_and_the_parser_disagree():
    """Rows that one metric of predictions and one of verdicts grade differently; unread ones do not count."""
    record = Record("", "", row_scores={"accuracy": "right", "share": "right"})
    record.config = {"metric": {"accuracy": {}, "share": {"column": "verdict"}}}
    rows = {"prediction": ["x", "y", None], "verdict": ["good", "good", None], "accuracy": [1.0, 0.0, None]}
    grades = grade_rows(record, pl.DataFrame({**rows, "share": [1.0, 1.0, None]}))
    assert (grades.rule, grades.choose(["disagreeing"]), grades.choose(["wrong"])) == ("share", [1], [2])


def test_a_panel_disagrees_with_itself():
    """Rows on which its members say different things; one without a verdict says nothing."""
    said = {"judge_a_verdict": ["good", "good", None], "judge_b_verdict": ["good", "bad", "bad"]}
    keys = {name.replace("verdict", "ledger_key"): ["k"] * 3 for name in said}
    frame = pl.DataFrame({"prediction": list("xyz")} | said | keys)
    assert grade_rows(Record("", ""), frame).choose(["disagreeing"]) == [1]


def test_rows_with_repeats_are_listed_once(own):
    """``rows`` counts rows, not answers; repeats are numbered from 0, as in the file."""
    folder = own.folder / "outputs" / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"id": "one", "name": "one", "status": "finished"}))
    said = {"id": list("aabbcc"), "repeat": [0, 1] * 3, "prediction": list("xyyyxx"), "target": ["x"] * 6}
    frame = pl.DataFrame(said).with_columns(pl.lit("so").alias("completion"), error=pl.lit(None, pl.String))
    frame.write_parquet(folder / "predictions.parquet")
    shown = own.show("wrong", "rows=1")
    assert shown.code == 0, shown.err
    assert "3 rows · 6 answers · 3 wrong" in shown.out
    assert "2 rows: wrong" in shown.out
    assert re.findall(r"(?m)^[abc], .*?  +wrong.*?  ", shown.out) == ["a, repeat 1  wrong in 1 of 2  "]
    assert "1 of 2 are shown; rows=2 shows all" in shown.out
    assert re.findall(r"repeat \d, \w+", own.show("run=last", "row=b").out) == [
        "repeat 0, wrong",
        "repeat 1, wrong",
    ]


def test_grades_without_scores():
    """Without metrics that say what is right a prediction is compared with its target, or a list of these."""
    rows = {"completion": list("xyz"), "prediction": ["x", None, "z"], "target": [["x", "w"], ["y"], ["w"]]}
    assert grade_rows(Record("", ""), pl.DataFrame(rows)).right == [True, False, False]
    assert grade_rows(Record("", ""), pl.DataFrame(rows).drop("target")).right == [None] * 3
