"""Answers that are cut, empty or unread are counted and said; a run without any answer has no scores."""

from __future__ import annotations

import json

import pytest
from options import write_options
from servers import Call, Reply, completion, serving

CONFIG = {
    "dataset/own.yaml": "{name: own, path: rows.jsonl}",
    "prompt/own.yaml": """
name: own
user: "{{ question }}"
parser: {_target_: runner.parse.Label, labels: [even, odd]}
""",
    "judge/own.yaml": """
defaults: [correctness, _self_]
name: own
prompt: {name: own, user: "judge {{ completion }}"}
""",
}
OWN = ["--config-dir", "mine", "dataset=own", "prompt=own", "metric=accuracy", "tracking=none"]
JUDGE = "judge=own"


@pytest.fixture
def command(runner):
    """Run on rows whose question is the answer; ``~`` at its end: cut by the token limit."""

    def say(call: Call) -> Reply:
        words = call.json["messages"][-1]["content"]
        if words == "wait":
            return Reply({"error": {"message": "daily limit"}}, status=429, headers={"Retry-After": "86400"})
        text = "I would say~" if words.startswith("judge") else words
        body = completion(text.rstrip("~"))
        body["choices"][0]["finish_reason"] = "length" if text.endswith("~") else "stop"
        return Reply(body)

    write_options(runner.folder, CONFIG)
    with serving(say) as server:

        def run(*questions: str, more=()):
            rows = [{"question": question, "target": "even"} for question in questions]
            (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
            provider = ["provider=openai_compatible", f"provider.base_url={server.url}", "provider.model=m"]
            return runner(*OWN, *provider, *more), runner.records()[-1]

        yield run


def test_nothing_but_cut_and_empty_answers(command):
    """No score of 0: the run fails with the key to raise; the answers are not judged, but counted."""
    outcome, record = command("well~", "<think>even~", " ", more=[JUDGE])
    assert outcome.code == 1
    assert "none of the 3 rows has an answer: 2 cut by the token limit" in outcome.err
    assert "(raise hyperparameter.max_tokens), 1 empty" in outcome.err
    assert (record.status, record.scores) == ("failed", {})
    assert (record.figures["cut"], record.figures["calls"]) == (2, 3)


def test_rows_that_were_asked_twice_are_counted_once(command):
    """The message about a run without answers counts rows as rows, however often each was asked."""
    twice = ["hyperparameter.repeats=2", "hyperparameter.temperature=1"]
    outcome, _ = command("well~", "odd~ ~", more=twice)
    assert "none of the 2 rows has an answer: 4 cut" in outcome.err


def test_cut_answers_are_counted(command):
    """On the screen, with the key and its value, and in the record."""
    outcome, record = command("even", "even, since~", "odd")
    assert outcome.code == 0, outcome.err
    assert "1 answer cut by the token limit: raise hyperparameter.max_tokens=64" in outcome.out
    assert record.figures["cut"] == 1


def test_all_texts_are_cut(command):
    """Where the text itself is measured that is said, since nothing is unread."""
    outcome, _ = command("even though~", "even so~", more=["prompt.parser={_target_: runner.parse.Text}"])
    assert "the token limit cut all 2 answers, so their beginnings are measured" in outcome.err


def test_more_than_half_unread(command):
    """A warning quotes the first of them, shortened; at half there is none."""
    outcome, _ = command("even", "I cannot say", f"no{'o' * 100}~")
    assert "2 of 3 answers could not be read by prompt.parser (Label: even, odd; 1 cut" in outcome.err
    assert "the first: 'I cannot say'" in outcome.err
    outcome, _ = command("even", "I cannot say")
    assert "could not be read" not in outcome.err


def test_unread_verdicts(command):
    """They are counted beside the answers, and said with the judge's key."""
    outcome, record = command("even", "odd", more=[JUDGE])
    assert (
        "2 of 2 verdicts could not be read by judge.prompt.parser (Label: correct, incorrect; 2 cut"
        in outcome.err
    )
    assert "0 of 2 verdicts read" in outcome.out
    assert (
        "2 answers of the judge cut by the token limit: raise judge.hyperparameter.max_tokens=8"
        in outcome.out
    )
    assert (record.figures["judge_answered"], record.figures["judged"]) == (2, 0)


def test_a_long_wait_stops_the_run(command):
    """With the server's words and the command to go on; what was answered is kept."""
    outcome, record = command("even", "wait", more=["provider.max_concurrency=1"])
    assert (outcome.code, record.status) == (1, "stopped")
    assert "daily limit; the server asks to wait 86,400 s, until " in outcome.err
    assert "To go on: runner " in outcome.err
    _, record = command("even", "odd")
    assert record.figures["calls"] == 1
