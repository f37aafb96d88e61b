"""A run from the command line to its record, with the user's own config folder and a real server."""

from __future__ import annotations

import json
import re
from textwrap import dedent

import polars as pl
import pytest
from options import write_options
from servers import Call, Reply, completion, serving

from runner.engine.fresh import add_name, name_fresh, read_fresh
from runner.records.folder import PREDICTIONS

ROWS = [{"question": f"Is {n} even or odd?", "target": "even" if n % 2 == 0 else "odd"} for n in range(20)]
CONFIG = {
    "dataset/even.yaml": """
        name: even
        path: rows.jsonl
        """,
    "prompt/even.yaml": """
        name: even
        user: "{{ question }}"
        parser: {_target_: runner.parse.Label, labels: [even, odd]}
        """,
    "judge/even.yaml": """
        defaults: [correctness, _self_]
        name: even
        prompt: {name: even, user: "judge {{ target }} {{ completion }}"}
        """,
}
HALVES = "+dataset.split.fractions={train: 0.5, test: 0.5}"
EXPERIMENT = ["--config-dir", "mine", "dataset=even", "prompt=even", "metric=accuracy", "tracking=none"]


def even(call: Call) -> Reply:
    """A model that knows even numbers, gives no clear answer for 5, and judges completions."""
    words = call.json["messages"][-1]["content"].split()
    if words[0] == "nothing":
        return Reply({"error": {"message": "unreadable"}}, status=400)
    if words[0] == "judge":
        return Reply(completion("correct" if words[1] == words[2] else "incorrect"))
    return Reply(completion("hm" if words[1] == "5" else "even" if int(words[1]) % 2 == 0 else "odd"))


@pytest.fixture
def server():
    with serving(even) as running:
        yield running


@pytest.fixture
def command(runner, server):
    """Return the command line, with a small experiment in the user's own config folder."""
    write_options(runner.folder, {name: dedent(text).strip() for name, text in CONFIG.items()})
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    provider = ["provider=openai_compatible", f"provider.base_url={server.url}/v1", "provider.model=m"]
    return lambda *more, first=(): runner(*first, *EXPERIMENT, *provider, *more)


def frame_of(runner) -> pl.DataFrame:
    return pl.read_parquet(max(runner.folder.glob(f"outputs/runs/*/{PREDICTIONS}")))


def test_record(command, runner, server):
    """A run records scores and counts, and for every row the messages, the completion and the prediction."""
    assert command().code == 0
    record = runner.records()[0]
    assert (record.status, record.figures["n"], record.figures["calls"]) == (
        "finished",
        20,
        len(server.calls),
    )
    assert record.scores["accuracy"].value == pytest.approx(0.95)
    assert record.scores["accuracy_parsed"].value == 1.0
    row = frame_of(runner).row(5, named=True)
    assert (row["completion"], row["prediction"], row["target"]) == ("hm", None, "odd")
    assert row["messages"] == [{"role": "user", "content": "Is 5 even or odd?"}]


def test_second_run_is_free(command, runner, server):
    """The same run again makes no call and has the same scores."""
    command()
    asked = len(server.calls)
    command()
    first, second = runner.records()
    assert len(server.calls) == asked
    assert second.scores == first.scores
    assert second.figures["calls"] == 0


def test_fresh(command, runner, server):
    """A fresh run asks every row again, its name finds its answers, and a plain run has the old ones."""
    asked = []
    for fresh in ([], ["fresh=true"], [], ["fresh=second"], ["fresh=second"]):
        command("dataset.limit=4", *fresh)
        asked.append(len(server.calls))
    assert asked == [4, 8, 8, 12, 12]
    name = runner.records()[1].params["fresh"]
    assert command("dataset.limit=4", f"fresh={name}").code == 0
    assert len(server.calls) == 12
    assert "fresh: 1.5 must be true, false or a name" in command("fresh=1.5").err


def test_fresh_sweep(command, runner, server, tmp_path):
    """The points of a fresh sweep share what they ask alike, also where an option file sets it."""
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/again.yaml").write_text("# @package _global_\nfresh: true\n")
    assert command("-m", "dataset.limit=2,4", "fresh=true").code == 0
    assert command("-m", "dataset.limit=2,4", "experiment=again").code == 0
    assert len(server.calls) == 8
    assert len({record.params["fresh"] for record in runner.records()}) == 2


def test_a_fresh_command_goes_on():
    """The command that goes on names its answers, whether ``true`` was typed or is in an option file."""
    first, old = name_fresh(["fresh=true,old"])[0].removeprefix("fresh=").split(",")
    assert (read_fresh(first), old) == (first, "old")
    assert add_name([f"fresh={first}"]) == [f"fresh={first}"]
    name_fresh(["experiment=again"])
    assert add_name([]) == []
    name = read_fresh(True)
    assert (read_fresh(True), add_name([])) == (name, [f"fresh={name}"])


def test_shots_come_from_train(command, runner, server):
    """Shots are rows of the train split, are logged per row and come before the question."""
    assert command(HALVES, "hyperparameter.n_shot=2").code == 0
    frame = frame_of(runner)
    assert frame["shots"].list.len().unique().to_list() == [2]
    assert not set(frame["shots"].explode()) & set(frame["id"])
    assert [turn["role"] for turn in server.calls[0].json["messages"]] == ["user", "assistant"] * 2 + ["user"]


def test_judge(command, runner, server):
    """A judge's verdicts are scored like predictions, and its calls are cached and counted like others."""
    assert command("judge=even", "metric=verdict_share").code == 0
    command("judge=even", "metric=verdict_share")
    first, second = runner.records()
    assert first.figures["judge_calls"] > 0
    assert second.figures["judge_calls"] == 0
    frame = frame_of(runner)
    right = (frame["completion"] == frame["target"]).mean()
    assert first.scores["verdict_share"].value == pytest.approx(right)


def test_sweep(command, runner):
    """A sweep with a mistaken point is not begun; without it, every point runs."""
    outcome = command(HALVES, "-m", "hyperparameter.n_shot=0,1,99")
    assert (outcome.code, runner.records()) == (2, [])
    assert "[2] hyperparameter.n_shot=99, but the train split has 10 rows" in outcome.err
    assert command(HALVES, "-m", "hyperparameter.n_shot=0,1").code == 0
    assert [record.swept for record in runner.records()] == [{"hyperparameter.n_shot": n} for n in (0, 1)]


LOGPROBS = "hyperparameter.logprobs=2"
UNMEASURABLE = {
    "an objective": (["objective=f1"], "objective: 'f1' is not a metric", None),
    "a metric's column": (["+metric.accuracy.group=document"], "no column 'document'", None),
    "a column of the judge's": (["metric=verdict_share"], "no column 'verdict'; set judge", None),
    "probabilities": (
        ["metric=brier", "+dataset.params={positive: odd}"],
        "no column 'probability'; set hyperparameter.logprobs",
        None,
    ),
    "another label's probability": (
        ["metric=brier", "metric.brier.positive=even", "+dataset.params.positive=odd", LOGPROBS],
        "metric.brier.positive: 'even', but the column 'probability' is that of 'odd'",
        None,
    ),
    "sides of a judge": (
        ["judge=even", "judge.both_orders=[completion,target]"],
        "judge.prompt.parser:",
        None,
    ),
    "the judge's template": (["judge=even", "judge.prompt.user='{{ complettion }}'"], "'complettion'", None),
    "a gold value that cannot be read": ([], "'perhaps' cannot be read by prompt.parser", "perhaps"),
    "a gold value that is missing": ([], "column 'target' has no value in 1 row", ""),
}


@pytest.mark.parametrize(("overrides", "message", "gold"), UNMEASURABLE.values(), ids=UNMEASURABLE)
def test_refused_before_the_first_call(command, runner, server, overrides, message, gold):
    """What could not be measured is refused before anything is paid, by ``estimate`` too."""
    if gold is not None:
        rows = [*ROWS, {"question": "Is 21 even or odd?", "target": gold or None}]
        (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ((), ("estimate",)):
        outcome = command(*overrides, first=name)
        assert outcome.code == 2
        assert message in outcome.err
    assert not server.calls
    assert not runner.records()


@pytest.mark.parametrize(
    "asked", ["hyperparameter.logprobs=0", "+provider.options={logprobs: true, top_logprobs: 2}"]
)
def test_probabilities_that_are_asked_for(command, server, asked):
    """Where the server leaves log-probabilities out, the score is null, which is said."""
    outcome = command("metric=brier", "+dataset.params={positive: odd}", asked)
    assert "not defined: brier (no answer has a probability)" in outcome.out
    assert server.calls


@pytest.mark.parametrize(("most", "code", "status"), [(0.1, 1, "failed"), (0.15, 0, "finished")])
def test_many_failed_rows_fail_the_run(command, runner, most, code, status):
    """The scores are kept and shown, and the command to go on is told."""
    user = """prompt.user='{{ "nothing" if question[3] in "567" else question }}'"""
    outcome, record = command(user, f"max_failed={most}"), runner.records()[0]
    assert (outcome.code, record.status) == (code, status)
    assert record.scores["accuracy"].value == pytest.approx(17 / 20)
    assert "accuracy" in outcome.out
    told = "3 of 20 rows failed, above max_failed=0.1; the first: " in outcome.err
    assert told == ("To go on: runner" in outcome.err) == (code == 1)


def test_objective(command, server):
    """The objective of a user's metric is checked after the answers, since its names are unknown before."""
    own = ["+metric.own={_target_: builtins.len, _partial_: true}", "~metric.accuracy"]
    assert command(*own, "objective=own").code == 0
    outcome = command(*own, "objective=oown")
    assert outcome.code == 1  # the calls are paid
    assert "objective: 'oown' is not a metric; did you mean 'own'?" in outcome.err
    assert server.calls


OWN = """
    def typo(frame):
        return frame["predicton"].mean()


    def words(frame):
        return {"near": 1}


    def picky(frame):
        return 1 / int(frame["prediction"].null_count() == 0)
    """


@pytest.fixture
def own(runner, monkeypatch):
    """A module of the user's own beside the config."""
    (runner.folder / "own_metrics.py").write_text(dedent(OWN))
    monkeypatch.syspath_prepend(runner.folder)


def metric(name: str) -> str:
    return f"+metric.mine={{_target_: own_metrics.{name}}}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("typo", r"ColumnNotFoundError: .*own_metrics\.py, line 3, in typo\)"),
        ("words", "it gave {'near': 1}; it must give"),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_mistake_in_a_metric_costs_nothing(command, server, name, message):
    """It is found before the first call, and named by the key in the config."""
    outcome = command(metric(name))
    assert outcome.code == 2
    assert re.search(rf"error: metric\.mine: {message}", outcome.err)
    assert not server.calls


@pytest.mark.usefixtures("own")
def test_a_metric_that_fails_at_the_end_loses_nothing(command, runner, server):
    """The run has failed, with the reason; its rows, its usage and its other scores are recorded."""
    outcome = command(metric("picky"))
    assert outcome.code == 1
    assert re.search(
        r"error: metric\.mine: ZeroDivisionError: .*own_metrics\.py, line 11, in picky\)", outcome.err
    )
    (record,) = runner.records()
    assert (record.status, record.figures["calls"], record.row_scores) == (
        "failed",
        20,
        {"accuracy": "right"},
    )
    assert list(record.scores) == ["accuracy", "accuracy_parsed"]
    assert record.error in outcome.err
    assert frame_of(runner)["accuracy"].null_count() == 1
    asked = len(server.calls)
    command(metric("picky"))
    assert len(server.calls) == asked


def test_no_row_answered(command, runner, server):
    """A run in which every row fails is a failed run with the reason, not a score of zero."""
    outcome = command("prompt.user='nothing to see'")
    assert outcome.code == 1
    assert "none of the 20 rows was answered; the first: " in outcome.err
    assert runner.records()[0].status == "failed"
    (predictions,) = runner.folder.glob("outputs/runs/*/predictions.parquet")
    assert pl.read_parquet(predictions)["error"].null_count() == 0
    assert pl.read_parquet(predictions)["accuracy"].null_count() == 20


def test_no_answer_parsed(command, runner):
    """A run in which no answer can be parsed says so with the first one."""
    (runner.folder / "rows.jsonl").write_text(json.dumps(ROWS[5]))
    outcome = command()
    assert outcome.code == 0, outcome.err
    assert (
        "1 of 1 answer could not be read by prompt.parser (Label: even, odd); the first: 'hm'" in outcome.err
    )
    assert "1 of 1 row answered · 0 parsed · 1 call made" in outcome.out
