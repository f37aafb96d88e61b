"""Panels of judges, from the command line to the record."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest
from options import write_options
from servers import Call, Reply, completion, serving

from runner.engine.live import RETRY
from runner.records.folder import PREDICTIONS

ROWS = [{"question": f"Is {n} even?", "target": "even" if n % 2 == 0 else "odd"} for n in range(6)]
PROMPT = "user: '{{ question }} {{ target }} {{ completion }}'"
FILES = {
    "dataset/even.yaml": "name: even\npath: rows.jsonl\n",
    "prompt/even.yaml": (
        "name: even\nuser: '{{ question }}'\nparser: {_target_: runner.parse.Label, labels: [even, odd]}\n"
    ),
    "judge/even.yaml": f"defaults: [correctness, _self_]\nname: even\nprompt: {{name: even, {PROMPT}}}\n",
    "judge/two.yaml": (
        "defaults:\n  - even\n  - /provider@members.kind.provider: openai_compatible\n"
        "  - /provider@members.strict.provider: openai_compatible\n  - _self_\nname: two\n"
    ),
    "judge/pair.yaml": (
        "defaults: [pairwise, _self_]\nname: pair\n"
        "prompt: {name: pair, user: 'compare 0 {{ first }} {{ second }}'}\n"
    ),
    "judge/score.yaml": f"defaults: [rating, _self_]\nname: score\nprompt: {{name: score, {PROMPT}}}\n",
}
FREE = {"input": 0, "output": 0}
PRICES = {"m": FREE, "kind": FREE | {"output": 1000}, "strict": FREE | {"output": 5000}}


def answer(call: Call) -> Reply:
    """A model that finds everything even; a kind judge, and a strict one that is right where it answers."""
    words, usage = call.json["messages"][-1]["content"].split(), {"prompt_tokens": 1, "completion_tokens": 2}
    if words[0] == "compare":
        return Reply(completion("Reply (a)", usage=usage))
    model, number = call.json["model"], int(words[1])
    if model == "strict" and call.headers.get("authorization") == "Bearer bad":
        return Reply({"error": {"message": "wrong key"}}, status=401)
    if model == "strict" and number == 4:
        return Reply({"error": {"message": "filtered", "code": "content_filter"}}, status=400)
    if model == "strict" and number == 5:
        return Reply(completion("I will not say.", usage=usage))
    right = model == "kind" or words[-1] == words[-2]
    said = {"m": "even", "kind": "correct", "strict": "correct" if right else "incorrect"}
    return Reply(completion(said[model], usage=usage))


@pytest.fixture
def server():
    with serving(answer) as running:
        yield running


@pytest.fixture
def command(runner, server):
    """The command line with an experiment of its own; ``first`` stands before the overrides."""
    write_options(runner.folder, FILES)
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    base = f"base_url={server.url}/v1"
    plain = (
        *(
            "--config-dir",
            "mine",
            "dataset=even",
            "prompt=even",
            "metric=verdict_share",
            "tracking=none",
            f"+prices.models={json.dumps(PRICES).replace(chr(34), '')}",
        ),
        *("provider=openai_compatible", f"provider.{base}", "provider.model=m"),
    )
    return lambda *more, first=(): runner(*first, *plain, *more)


def members(server, *more):
    """Overrides of the panel of a kind and a strict judge."""
    keys = {f"{name}.provider.base_url": f"{server.url}/v1" for name in ("kind", "strict")}
    keys |= {f"{name}.provider.model": name for name in ("kind", "strict")}
    return ("judge=two", *(f"judge.members.{key}={value}" for key, value in keys.items()), *more)


def frame_of(runner) -> pl.DataFrame:
    return pl.read_parquet(max(runner.folder.glob(f"outputs/runs/*/{PREDICTIONS}")))


def models(server):
    return [call.json["model"] for call in server.calls]


def test_members_vote(command, runner, server):
    """Each judge has its columns, scores and costs; one that fails or is not read leaves the other's vote."""
    told = command(*members(server, "judge.vote=all"))
    assert told.code == 0, told.err
    frame, record = frame_of(runner), runner.records()[0]
    good, bad = "correct", "incorrect"
    assert frame["judge_kind_verdict"].to_list() == [good] * 6
    assert frame["judge_strict_verdict"].to_list() == [good, bad, good, bad, None, None]
    assert frame["verdict"].to_list() == [good, bad, good, bad, good, good]
    assert frame["judge_verdicts"].to_list()[1] == [good, bad]
    assert frame["judge_completion"][1] == "kind: correct\nstrict: incorrect"
    assert "filtered" in frame["judge_strict_error"][4]
    assert frame["judge_error"].null_count() == 6
    values = {name: score.value for name, score in record.scores.items()}
    assert values["verdict_share"] == pytest.approx(4 / 6)
    assert (values["verdict_share_kind"], values["verdict_share_strict"]) == (1, pytest.approx(2 / 6))
    assert values["verdict_share_strict_parsed"] == 0.5
    assert (values["panel_agreement_parsed"], record.scores["panel_agreement_parsed"].n) == (0.5, 4)
    assert "panel: 2 judges agree in 50% of 4 rows (alpha -0.17); strict abstained in 2" in told.out
    assert "judge strict failed for 1 row" in told.err
    costs = {name: record.figures[f"judge_{name}_cost_usd_total"] for name in ("kind", "strict")}
    assert costs == {"kind": pytest.approx(6 * 0.002), "strict": pytest.approx(5 * 0.01)}
    assert record.figures["cost_usd"] == pytest.approx(sum(costs.values()))
    # the same command asks only the failed question again, and any, which needs no new one
    asked = len(server.calls)
    assert command(*members(server, "judge.vote=any")).code == 0
    assert models(server)[asked:] == ["strict"]
    assert frame_of(runner)["verdict"].to_list() == [good] * 6
    shown = runner("show", "run=last", "row=2").out
    assert (
        "judge kind" in shown,
        "judge strict" in shown,
        len(re.findall(r"\d even\? \w+ even", shown)),
    ) == (1, 1, 2)


def test_nothing_is_bought_twice(command, runner, server):
    """What a judge said alone it need not say again on a panel, and the cost is that of the others."""
    alone = ("judge=even", "provider@judge.provider=openai_compatible", "judge.provider.model=kind")
    assert command(*alone, f"judge.provider.base_url={server.url}/v1").code == 0
    asked = len(server.calls)
    told = command(*members(server), first=("estimate",))
    assert told.code == 0, told.err
    assert len(server.calls) == asked
    assert command(*members(server)).code == 0
    assert set(models(server)[asked:]) == {"strict"}
    assert runner.records()[-1].figures["cost_usd"] == pytest.approx(5 * 0.01)


def test_both_judges_of_one_model(command, runner, server):
    """A member without settings is the judge itself: its answers are those of the other one."""
    alone = (f"judge.provider.base_url={server.url}/v1", "judge.provider.model=kind")
    judge = ("judge=even", "provider@judge.provider=openai_compatible", *alone)
    told = command(*judge, "+judge.members={a: {}, b: {hyperparameter: {max_tokens: 9}}}")
    assert told.code == 0, told.err
    assert models(server).count("kind") == 12
    sent = {call.json.get("max_tokens") or call.json.get("max_completion_tokens") for call in server.calls}
    assert {8, 9} <= sent
    assert "panel: 2 judges agree in 100% of 6 rows" in told.out


def test_a_bad_key_stops_the_run(command, runner, server, monkeypatch):
    """The key of one judge is a reason to stop, whatever the others can do."""
    monkeypatch.setenv("STRICT_KEY", "bad")
    told = command(*members(server, "judge.members.strict.provider.api_key_env=STRICT_KEY"))
    assert told.code == 1
    assert "wrong key" in told.err


def test_a_member_that_cannot_be_reached_leaves(command, runner, server, monkeypatch):
    """After three questions, each repeated, it is not asked any more; the next run asks it again."""
    monkeypatch.setattr("runner.core.retry.FIRST_WAIT_S", 0.001)
    down = serving(lambda call: Reply({"error": {"message": "down"}}, status=503))
    with down as other:
        told = command(*members(server, f"judge.members.strict.provider.base_url={other.url}/v1"))
        assert told.code == 0, told.err
        assert len(other.calls) == 3 * RETRY.tries
    assert "judge strict is not asked any more in this run: its server could not be reached for 3" in told.err
    assert (
        "judge strict failed for 6 rows, of which 3 were not asked any more; the first: row even:0"
        in told.err
    )
    assert frame_of(runner)["judge_strict_error"].null_count() == 0
    assert frame_of(runner)["verdict"].to_list() == ["correct"] * 6
    assert command(*members(server)).code == 0
    assert frame_of(runner)["judge_strict_verdict"].to_list()[:2] == ["correct", "incorrect"]


def test_a_budget_holds_for_all(command, runner, server):
    """The money for all judges is set aside with each answer, so that no answer lacks its verdicts."""
    limit = ("hyperparameter.max_tokens=2", "judge.hyperparameter.max_tokens=2", "provider.max_concurrency=1")
    assert command(*members(server, *limit, "budget_usd=0.03")).code == 1
    record, frame = runner.records()[0], frame_of(runner)
    assert (record.status, frame.height < 6) == ("stopped", True)
    asked = frame.filter(pl.col("completion").is_not_null())
    assert asked["judge_kind_verdict"].null_count() == 0
    assert record.figures["cost_usd"] <= 0.03


def test_a_panel_is_reproduced(command, runner, server):
    """The record alone gives the same rows and scores; no judge is asked."""
    assert command(*members(server)).code == 0
    asked = len(server.calls)
    folder = max(runner.folder.glob("outputs/runs/*"))
    assert (folder / "prompts" / "judge.prompt.user.jinja").exists()
    told = runner("reproduce", str(folder))
    assert (told.code, len(server.calls)) == (0, asked), told.out + told.err
    assert "ledger, judge strict" in told.out


REFUSED = {
    "judge.reduce: no such key; it is now judge.vote": ["judge=even", "judge.reduce=mean"],
    "judge.vote=mean: the verdicts are no numbers": [
        "judge=even",
        "+judge.members={a: {}}",
        "judge.vote=mean",
    ],
    "a mapping cannot be put in here": ["judge=even", "+judge.members.a={}"],
    "judge.members: 'a-b' becomes part of column names": ["judge=even", "+judge.members={a-b: {}}"],
    "judge.members.a.hyperparameter.max_token: no such key; did you mean 'max_tokens'": [
        *("judge=even", "+judge.members={a: {hyperparameter: {max_token: 3}}}"),
    ],
    "judge.members.a.hyperparameter.temperature: 3": [
        *("judge=even", "+judge.members={a: {hyperparameter: {temperature: 3}}}"),
    ],
    "judge.members: verdicts of different types cannot become one": [
        *("judge=even", "/prompt@judge.members.a.prompt=judge_rating"),
        *("+judge.members={b: {}}",),
    ],
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(command, server, message):
    """A panel that cannot vote is refused before the first call."""
    overrides = [f"+{each[1:]}" if each.startswith("/") else each for each in REFUSED[message]]
    told = command(*overrides)
    assert message in told.err
    assert (told.code, server.calls) == (2, [])


def test_biases_come_with_a_judge(command, runner):
    """A rating judge has a length bias; one that is the judged model a self-preference, or what it takes."""
    assert command("judge=score", "metric.verdict_share.value=5").code == 0
    scores = runner.records()[0].scores
    assert scores["length_bias"].value is None
    assert "judge.members" in scores["self_preference"].reason
    assert "position_bias" not in scores
    assert command("judge=score", "metric.verdict_share.value=5", "+metric.length_bias=null").code == 0
    assert "length_bias" not in runner.records()[1].scores


def test_biases_of_a_panel(command, runner):
    """Each judge in both orders has its own figures; one that always says (a) is all position."""
    judge = ("judge=pair", "metric.verdict_share.value=completion", "+judge.members={a: {}, b: {}}")
    told = command(*judge)
    assert told.code == 0, told.err
    frame, scores = frame_of(runner), runner.records()[0].scores
    assert frame["judge_a_orders"].to_list() == [["completion", "target"]] * 6
    assert frame["verdict"].to_list() == ["tie"] * 6
    for name in "ab":
        assert (scores[f"position_bias_{name}"].value, scores[f"position_bias_{name}_first"].value) == (1, 1)
    assert "panel: 2 judges agree in 100% of 6 rows" in told.out
