"""Rows that are asked several times, from the command line to the record."""

from __future__ import annotations

import json
from types import SimpleNamespace

import adding
import polars as pl
import pytest
from adding import ADDER, Sums
from hosted import KEY
from hosted_batch import BatchService
from options import write_options
from servers import Call, Reply, completion, serving

from runner.core.errors import ConfigError, DataError
from runner.pipeline.repeats import read_beside, repeat_rows
from runner.providers.replay import Replay
from runner.records.folder import PREDICTIONS

ROWS = [{"question": f"Is {n} even?", "target": "even" if n % 2 == 0 else "odd"} for n in range(6)]
FILES = {
    "dataset/even.yaml": "name: even\npath: rows.jsonl\n",
    "prompt/even.yaml": (
        "name: even\nuser: '{{ question }}'\nparser: {_target_: runner.parse.Label, labels: [even, odd]}\n"
    ),
    "judge/even.yaml": (
        "defaults: [correctness, _self_]\nname: even\n"
        "prompt: {name: even, user: 'judge {{ target }} {{ completion }}'}\n"
    ),
}
PLAIN = ("--config-dir", "mine", "dataset=even", "prompt=even", "metric=accuracy", "tracking=none")


def answer(call: Call) -> Reply:
    """A model that knows even numbers, and odd ones when it is asked with seed 0; a judge that errs once."""
    words, seed = call.json["messages"][-1]["content"].split(), call.json.get("seed")
    if words[0] == "order":
        return Reply(completion("a" if seed == 2 or words[1] != "Is" else "b"))
    if words[0] == "judge":
        return Reply(completion("correct" if (words[1] == words[2]) != (seed == 1) else "incorrect"))
    return Reply(completion("even" if int(words[1]) % 2 == 0 or seed else "odd"))


@pytest.fixture
def server():
    with serving(answer) as running:
        yield running


@pytest.fixture
def command(runner, server):
    """The command line with an experiment of its own."""
    write_options(runner.folder, FILES)
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    provider = ["provider=openai_compatible", f"provider.base_url={server.url}/v1", "provider.model=m"]
    return lambda *more, first=(): runner(*first, *PLAIN, *provider, *more)


def frame_of(runner) -> pl.DataFrame:
    return pl.read_parquet(max(runner.folder.glob(f"outputs/runs/*/{PREDICTIONS}")))


def test_each_repeat_is_bought_once(command, runner, server):
    """One answer, then three, then five: each run buys what is new; the seed goes up with the repeat."""
    asked, said = [], []
    for repeats in (1, 3, 5):
        said.append(command(f"hyperparameter.repeats={repeats}").err)
        asked.append(len(server.calls))
        frame = frame_of(runner)
        assert ("repeat" in frame.columns) == (repeats > 1)
    assert asked == [6, 18, 30]
    assert ["repeats may be equal" in err for err in said] == [False, True, True]
    assert sorted(call.json["seed"] for call in server.calls) == sorted([*range(5)] * 6)
    assert frame.select("id", "repeat").rows()[4:6] == [("even:0", 4), ("even:1", 0)]
    one, three = runner.records()[:2]
    assert (one.scores["accuracy"].value, three.scores["accuracy"].value) == (1, pytest.approx(2 / 3))
    assert (three.scores["accuracy"].n, three.figures["n"], three.figures["rows"]) == (6, 18, 6)
    assert "repeats" not in one.figures
    assert command("hyperparameter.repeats=2", "hyperparameter.seed=3").code == 0
    assert len(server.calls) == 30  # the seed tells repeats apart, not their number


def test_metrics_of_repeats(command, runner):
    """Right at least once, each time, the same each time; the others score what ``scoring.reduce`` makes."""
    metric = "metric=[accuracy,pass_at_k,pass_hat_k,consistency]"
    outcome = command(
        metric, "hyperparameter.repeats=3", "hyperparameter.temperature=1", "scoring.reduce=any"
    )
    assert "may be equal" not in outcome.err
    scores = {name: score.value for name, score in runner.records()[0].scores.items()}
    assert scores["pass_at_k_1"] == pytest.approx(2 / 3)
    assert (scores["pass_at_k_3"], scores["pass_hat_k_3"], scores["consistency"]) == (1, 0.5, 0.5)
    assert scores["accuracy"] == 1


REFUSED = {
    "metric.pass_at_k: it needs 3 answers to each row; set hyperparameter.repeats": ["metric=pass_at_k"],
    "scoring.reduce=mean: metric.accuracy reads String": ["hyperparameter.repeats=2", "scoring.reduce=mean"],
    "judge.vote=mean: the verdicts are no numbers": [
        *("judge=even", "judge.hyperparameter.repeats=2", "judge.vote=mean")
    ],
    (
        "hyperparameter.seed: the seeds 1, 2, 3 are nearer than hyperparameter.repeats=2; repeat r is sent"
        " seed + r, so these points would share answers; hyperparameter.seed=1,3,5 would not"
    ): ["-m", "hyperparameter.seed=3,1,2", "hyperparameter.repeats=2"],
    "judge.hyperparameter.seed: the seeds 1, 2 are nearer than judge.hyperparameter.repeats=3": [
        *("-m", "judge=even", "judge.hyperparameter.seed=1,2", "judge.hyperparameter.repeats=3")
    ],
    "hyperparameter.seed=1,4 would not": [
        *("estimate", "-m", "hyperparameter.seed=1,2", "hyperparameter.repeats=3")
    ],
}


def test_refused(command, server):
    """A number or a rule that cannot be used is refused before the first call."""
    for message, overrides in REFUSED.items():
        named = overrides[:1] if overrides[0] == "estimate" else []
        outcome = command(*overrides[len(named) :], first=named)
        assert (outcome.code, server.calls) == (2, [])
        assert message in outcome.err


def test_judge(command, runner, server):
    """Each answer is judged as often as the judge is asked, and the majority is the verdict."""
    judge = (
        "judge=even",
        "metric=verdict_share",
        "judge.hyperparameter.repeats=3",
        "hyperparameter.repeats=2",
    )
    assert command(*judge).code == 0
    frame, record = frame_of(runner), runner.records()[0]
    assert frame["judge_verdicts"].list.len().to_list() == [3] * 12
    assert record.scores["verdict_share"].value == pytest.approx(0.75)
    assert record.spread["verdict_share"]["judge"] == pytest.approx(1 / 3)  # one verdict of three is wrong
    # the same words are judged once
    assert len(server.calls) == 12 + record.figures["judge_calls"] == 12 + 3 * 3


def test_a_judge_in_both_orders(command, runner, server):
    """Each repeat asks in both orders; the verdict is the one that most repeats agree on, else a tie."""
    sides = ("judge=even", "judge.both_orders=[completion,question]", "metric.accuracy.prediction=verdict")
    labels = "judge.prompt.parser={_target_: runner.parse.Label, labels: [a, b]}"
    user = "judge.prompt.user='order {{ first }} {{ second }}'"
    said = command(
        *sides, labels, user, "judge.hyperparameter.repeats=3", "metric.accuracy.expected=completion"
    )
    assert said.code == 0
    frame, record = frame_of(runner), runner.records()[0]
    # with seed 0 and 1 the completion wins in both orders; with seed 2 the first one shown does
    assert frame["judge_verdicts"].to_list() == [["completion", "completion", "tie"]] * 6
    assert frame["verdict"].to_list() == ["completion"] * 6
    assert record.spread["accuracy"] == pytest.approx({"rows": 0, "judge": 1 / 3, "verdict": 1 / 3})
    assert "100% of the variance of a single verdict is the judge's" in said.out


def test_equal_repeats_are_said_once(command, server):
    """A warning before the run names what makes repeats equal; after it the screen says that they were."""
    fixed = ("+provider.options={seed: 7, temperature: 1}", "hyperparameter={seed: null, temperature: null}")
    said = command("hyperparameter.repeats=2", *fixed)
    assert said.err.count("provider.options.seed is the same for each repeat") == 1
    assert said.out.count("each row got the same answer every time") == 1


def test_recorded_lists_are_repeats(command, runner):
    """A recorded list of answers is the same as repeats; lists of different lengths are an error."""
    rows = [
        {"target": "odd", "recorded": ["odd", "even", "odd"]},
        {"target": "even", "recorded": ["even"] * 3},
    ]
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    replay = (*PLAIN, "prompt.user=x", "provider=replay", "metric=[accuracy,consistency]")
    assert runner(*replay).code == 0
    record = runner.records()[0]
    assert (record.figures["repeats"], record.scores["consistency"].value) == (3, 0.5)
    assert record.scores["accuracy"].value == pytest.approx(5 / 6)
    judge = ("judge=even", "provider@judge.provider=replay")
    said = runner(*replay, *judge).err
    assert "judge.provider.column=recorded: row even:0 has 3 answers, not 1 (judge.hyper" in said
    rows[1]["recorded"].pop()
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "provider.column=recorded: row even:1 has 2 answers, not 3" in runner(*replay).err


def test_what_is_known_of_each_recorded_answer_stands_beside_it():
    """A line has its own item of each such list; a list of another length names its row."""
    frame = pl.DataFrame({"id": ["a", "b"], "recorded": [["x", "y"], ["z", None]], "score": [[1, 2], [3, 4]]})
    provider = Replay(beside=["score"])
    responder = SimpleNamespace(key="", provider=provider, repeats=1)
    lines = read_beside(responder, repeat_rows(frame, 2))
    assert lines.select("repeat", "score").rows() == [(0, 1), (1, 2), (0, 3), (1, 4)]
    once = frame.with_columns(pl.col("recorded", "score").list.head(1))
    assert read_beside(responder, once)["score"].to_list() == [1, 3]
    short = frame.with_columns(score=pl.Series([[1, 2], [3]]))
    with pytest.raises(DataError, match="in row b column 'score' has not as many values"):
        read_beside(responder, short)
    with pytest.raises(ConfigError, match=r"provider\.beside: there is no column 'score'"):
        read_beside(responder, frame.drop("score"))


def test_a_batch_holds_repeats(runner, monkeypatch):
    """A batch buys each repeat once, and a later one only what is new."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(api := BatchService()) as server:
        sums = Sums(runner, server, rows=3)
        batch = ("provider=openai", "provider.batch=true", "provider.batch_poll_s=0.01")
        for repeats in (3, 5):
            assert sums(*batch, f"hyperparameter.repeats={repeats}").code == 0
            assert set(api.asked.values()) == {repeats}
        assert len(api.batches) == 2
        assert runner.records()[1].figures["cost_usd"] == pytest.approx(6 * ADDER / 2)


def test_a_budget_ends_between_rows(runner, monkeypatch):
    """A budget that is used up leaves whole rows, and the same command goes on where it ended."""
    with serving(adding.answer) as server:
        sums = Sums(runner, server, rows=4)
        limited = ("budget_usd=0.25", "hyperparameter.max_tokens=2", "hyperparameter.repeats=3")
        assert sums(*limited, "provider.max_concurrency=1").code == 1
        record, frame = runner.records()[0], frame_of(runner)
        assert record.status == "stopped"
        assert set(frame.group_by("id").len()["len"]) == {3}
        assert record.scores["accuracy"].n == frame.height / 3 < 4
        asked = len(server.calls)
        assert sums(*limited).code == 0
        assert len(server.calls) == 12
        assert record.figures["cost_usd"] == pytest.approx(asked * ADDER)


def test_points_that_are_asked_something_else_may_have_near_seeds(command, server):
    """A seed that also draws the rows asks about others; so does a step of as many as the repeats."""
    apart = ("hyperparameter.seed=0,2", "hyperparameter.seed=0,1 dataset.seed=${hyperparameter.seed}")
    for seeds in apart:
        done = command("-m", *seeds.split(), "hyperparameter.repeats=2", "dataset.limit=2")
        assert done.code == 0, done.err
