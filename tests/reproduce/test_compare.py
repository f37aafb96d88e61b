"""Reproduce a finished run from its record: what is the same, and how differences are shown."""

from __future__ import annotations

from contextlib import closing

import pytest
import tiny_model
from adding import Sums, answer
from hosted import KEY
from servers import serving

from runner.engine.ledger import Ledger
from runner.records.record import read_predictions


@pytest.fixture
def sums(runner):
    with serving(answer) as server:
        yield Sums(runner, server)


@pytest.fixture
def reproduce(runner):
    """``runner reproduce`` of the only run or sweep there is."""
    return lambda *more: runner("reproduce", str(only(runner.folder)), "--config-dir", "mine", *more)


def only(folder):
    """The folder of the only run or sweep."""
    runs, sweeps = (sorted(folder.glob(f"outputs/{kind}/*")) for kind in ("runs", "sweeps"))
    (found,) = sweeps or runs
    return found.relative_to(folder)


def states(text):
    """What was checked, from the printed table: name to same, different or missing."""
    rows = (line.split("  ") for line in text.split("score ")[0].splitlines()[1:])
    cells = ([cell.strip() for cell in row if cell.strip()] for row in rows)
    return {row[0]: row[1] for row in cells if len(row) > 1 and row[1] in ("same", "different", "missing")}


def test_unchanged(sums, reproduce, monkeypatch):
    """An unchanged run is the same, without its key and without a call."""
    monkeypatch.setenv("SUMS_KEY", KEY)
    sums("provider.api_key_env=SUMS_KEY")
    monkeypatch.delenv("SUMS_KEY")
    asked = len(sums.server.calls)
    outcome = reproduce()
    assert outcome.code == 0, outcome.err
    assert set(states(outcome.out).values()) == {"same"}
    assert "reproduced" in outcome.out
    assert len(sums.server.calls) == asked


@pytest.mark.parametrize("twice", [True, False])
def test_judged(sums, reproduce, twice):
    """Verdicts also come from the ledger, even if a judge sees both orders."""
    orders = [
        "judge.prompt.user='grade {{ first }} against {{ second }} for {{ question }}'",
        *("judge.both_orders=[completion,target]", "judge.sides={first: correct, second: incorrect}"),
        "metric.verdict_share.value=tie",
    ]
    assert sums(*sums.judge, *(orders if twice else [])).code == 0
    outcome = reproduce()
    assert outcome.code == 0, outcome.out + outcome.err
    assert "reproduced" in outcome.out


def test_changed_prompt(sums, reproduce):
    """A changed prompt file is shown with its lines; answers and scores are those of the old text."""
    file = sums.folder / "prompts" / "sums.jinja"
    file.parent.mkdir()
    file.write_text("{{ question }}\n")
    sums("prompt.user=sums.jinja")
    file.write_text("{{ question }} ?\n")
    outcome = reproduce()
    assert outcome.code == 1
    assert "- {{ question }} + {{ question }} ?" in outcome.out
    differing = {name for name, state in states(outcome.out).items() if state != "same"}
    assert differing == {"prompt.user"}


def test_changed_data(sums, reproduce):
    """If a data file changed, its split, the changed row and the missing answer are shown."""
    sums()
    sums.write([f"{n} + {n}" for n in range(9)] + ["7 + 8"])
    outcome = reproduce()
    assert outcome.code == 1
    found = states(outcome.out)
    assert (found["data test"], found["chats"], found["prompt"]) == ("different", "different", "same")
    cells = [line.split() for line in outcome.out.splitlines() if line.startswith("sums:")]
    assert {cell[0] for cell in cells} == {"sums:9"}
    assert ["sums:9", "question", "9", "+", "9", "7", "+", "8"] in cells


def test_changed_option_file(sums, reproduce):
    """A changed metric option is shown with its key; the recorded one is used."""
    option = sums.folder / "mine" / "metric" / "close.yaml"
    option.parent.mkdir()
    option.write_text("close: {_target_: runner.metrics.ExactAgreement}")
    sums("metric=close")
    option.write_text("close: {_target_: runner.metrics.MeanAbsoluteError}")
    outcome = reproduce()
    assert outcome.code == 1
    assert "metric.close._target_: runner.metrics.ExactAgreement → runner.metrics.MeanAbs" in outcome.out
    assert states(outcome.out)["scores"] == "same"


def test_changed_formula(sums, reproduce, monkeypatch):
    """A score that today's code computes differently is shown then and now, with the difference."""
    sums("~metric.accuracy", "+metric.share={_target_: adding.EvenShare}")
    monkeypatch.setattr("adding.FACTOR", 0.5)
    outcome = reproduce("reproduce.trust=true")
    assert outcome.code == 1
    assert [line.split() for line in outcome.out.splitlines() if line.startswith("share")] == [
        ["share", "1.000", "0.500", "-0.5"]
    ]


def test_missing_answer(sums, reproduce, monkeypatch):
    """An answer that the ledger lost is named by its row; with ``reproduce.ask`` it is bought again."""
    monkeypatch.setattr("runner.engine.under_way.KEEP_S", 0.0)  # what came a moment ago is not asked again
    sums()
    key = read_predictions(sums.folder / only(sums.folder)).filter(id="sums:3")["ledger_key"].item()
    with closing(Ledger("sqlite:///outputs/ledger.db")) as ledger:
        ledger.remove("completion", key)
    outcome = reproduce()
    assert outcome.code == 1
    assert "1 of 10 answers, now from the record: sums:3" in outcome.out
    asked = len(sums.server.calls)
    named = f"provider.base_url={sums.server.url}/v1"
    assert reproduce("reproduce.ask=true", named).code == 0
    assert len(sums.server.calls) == asked + 1


def test_missing_verdict(sums, reproduce):
    """A verdict that the ledger lost is named by its row, too."""
    sums(*sums.judge)
    keys = read_predictions(sums.folder / only(sums.folder))["judge_ledger_key"]
    with closing(Ledger("sqlite:///outputs/ledger.db")) as ledger:
        ledger.remove("completion", keys[4])
    assert "1 of 10 answers, now from the record: sums:4" in (outcome := reproduce()).out
    assert states(outcome.out)["ledger, judge"] == "missing"
    assert outcome.code == 1


def test_other_model_is_not_asked(sums, reproduce):
    """Nothing is bought if the model is a different one today."""
    sums()
    record = sums.folder / only(sums.folder) / "record.json"
    text = record.read_text().replace('"model": {\n   "provider"', '"model": {\n   "revision": 2, "provider"')
    record.write_text(text)
    outcome = reproduce("reproduce.ask=true", f"provider.base_url={sums.server.url}/v1")
    assert outcome.code == 2
    assert "the model is not the recorded one: revision: 2 → gone" in outcome.err


def test_sweep(sums, reproduce):
    """Every finished point of a sweep is reproduced; one that failed is mentioned."""
    sums("-m", "hyperparameter.temperature=0,0.5,1")
    record = sums.folder / only(sums.folder) / "2" / "record.json"
    record.write_text(record.read_text().replace('"status": "finished"', '"status": "failed"'))
    outcome = reproduce()
    assert outcome.code == 0
    assert outcome.out.count(": reproduced") == 2
    assert "2: this run is failed; only a finished one can be reproduced; it is passed over" in outcome.out


def test_broken_files_stop_nothing(sums, runner, reproduce):
    """The good points of a sweep are listed, reported, exported and reproduced; broken files are named."""
    sums("-m", "dataset.limit=2", "hydra/launcher=concurrent", "hyperparameter.seed=0,1,2,3,4,5")
    sweep = sums.folder / only(sums.folder)
    record = (sweep / "0/record.json").read_text()
    (sweep / "0/record.json").write_text(record[: len(record) // 2])
    (sweep / "1/record.json").unlink()
    (sweep / "1/record.json").mkdir()
    (sweep / "2/predictions.parquet").write_bytes((sweep / "2/predictions.parquet").read_bytes()[:99])
    (sweep / "3/predictions.parquet").unlink()
    (sweep / "4/.hydra/config.yaml").write_bytes(b"\xff")
    (sweep / "sweep.json").write_text("[1]")
    told = ""
    for command in (["list"], ["report", str(sweep)], ["export", str(sweep)]):
        outcome = runner(*command)
        assert outcome.code == 0, outcome.err
        told += outcome.out + outcome.err
    outcome = reproduce()
    assert outcome.code == 0, outcome.err
    assert [f"/{point}: reproduced" in outcome.out for point in range(6)] == [False] * 4 + [True] * 2
    broken = ["0/record.json", "1/record.json", "2/predictions.parquet", "sweep.json", "4/.hydra/config.yaml"]
    assert [name for name in broken if f"{sweep}/{name} cannot be read" not in told] == []
    for point in range(4):
        alone = runner("reproduce", f"{sweep}/{point}")
        assert (alone.code, f"{sweep}/{point}" in alone.err) == (2, True)


def test_weights(sums, runner, reproduce):
    """Local weights are compared by content; without them the ledger still answers."""
    pytest.importorskip("gguf")
    weights = tiny_model.write(sums.folder / "tiny.gguf")
    local = [f"provider.model={weights}", "provider.context_length=256", "hyperparameter.max_tokens=4"]
    assert runner("--config-dir", "mine", "dataset=sums", "prompt=sums", "tracking=none", *local).code == 0
    assert reproduce().code == 0
    tiny_model.write(weights, seed=1)
    assert states(reproduce().out)["model"] == "different"
    weights.unlink()
    outcome = reproduce()
    assert (outcome.code, states(outcome.out)["model"]) == (0, "missing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce"], "name the folder of a run"),
        (["reproduce", "nowhere"], "nowhere: holds no record.json"),
        (["reproduce", "nowhere", "checkpoint=2"], "checkpoint=2: the config comes from the record"),
    ],
)
def test_refused(runner, arguments, message):
    """If something cannot be reproduced, there is one clear message."""
    outcome = runner(*arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_unfinished(sums, reproduce):
    """A run that failed is not reproduced."""
    sums("ledger.url=sqlite:///rows.jsonl")
    assert "this run is failed; only a finished one" in reproduce().err
