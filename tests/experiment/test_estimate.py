"""``runner estimate`` gives bounds that hold, without a call, an API key or a record."""

from __future__ import annotations

import re

import polars as pl
import pytest
from adding import PRICES, Sums, answer
from servers import serving

from runner.core import tokens
from runner.core.types import Message
from runner.experiment import estimate
from runner.experiment.estimate.power import count_comparisons
from runner.money import forecast


@pytest.fixture
def sums(runner):
    with serving(answer) as server:
        yield Sums(runner, server)


def told(sums: Sums, *overrides: str) -> list[estimate.Point]:
    """Collect the points of an estimate before they are printed."""
    shown: list[estimate.Point] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.cli.estimate.show_points", lambda found, _: shown.extend(found))
        outcome = sums.estimate(*overrides)
    assert (outcome.code, sums.server.calls) == (0, []) or sums.server.calls
    return shown


LIMIT = "hyperparameter.max_tokens=4"


def test_bounds_hold(sums):
    """The cost of a run lies between the bounds that were estimated before it."""
    (point,) = told(sums, LIMIT)
    assert sums.server.calls == []
    low, high = point.usd
    sums(LIMIT)
    assert low is not None
    assert high is not None
    assert low <= sums.records()[0].figures["cost_usd"] <= high


def test_bounds_are_tokens_times_price(sums):
    """The lower bound is one token per answer, the upper one ``max_tokens``."""
    (point,) = told(sums, LIMIT)
    read = 10 * tokens.count_chat(["3 + 3"])
    assert (point.answers.read, point.answers.written) == ((read, read), (10, 40))
    price = PRICES["adder"]
    assert point.usd == (
        pytest.approx((read * price["input"] + 10 * price["output"]) / 1e6),
        pytest.approx((read * price["input"] + 40 * price["output"]) / 1e6),
    )


def test_nothing_is_left_behind(sums, monkeypatch):
    """An estimate needs no API key and writes no record, no run folder and no tracking store."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for more in ([], ["-m", "hyperparameter.max_tokens=4,5"]):
        outcome = sums.estimate("provider.api_key_env=OPENAI_API_KEY", "tracking=mlflow", *more)
        assert (outcome.code, outcome.err, sums.server.calls) == (0, "", [])
    left = {file.relative_to(sums.folder).as_posix() for file in sums.folder.rglob("*") if file.is_file()}
    assert {name for name in left if not name.startswith("mine/")} <= {"rows.jsonl", "outputs/ledger.db"}


def test_what_the_ledger_has_is_free(sums):
    """When half of the rows are bought, the others are estimated at the length of the bought answers."""
    sums(LIMIT, "++dataset.limit=5")
    sums.server.calls.clear()
    (point,) = told(sums, LIMIT)
    assert (point.rows, point.answers.stored, point.answers.calls) == (10, 5, 5)
    assert point.answers.read[0] == pytest.approx(5 * 10)  # the server counted 10 for each of the first ones
    assert point.answers.written[0] == 5 * 2
    assert sums.server.calls == []


def test_shared_rows_are_counted_once(sums):
    """Rows that several points share count only for the first of them."""
    points = told(sums, LIMIT, "-m", "++dataset.limit=4,10", "metric=accuracy,exact_agreement")
    assert [point.answers.calls for point in points] == [4, 6, 0, 0]


def test_a_judge_is_bounded(sums):
    """A missing answer counts in the judge's prompt with its greatest length."""
    (point,) = told(sums, LIMIT, *sums.judge, "judge.hyperparameter.max_tokens=3")
    (work,) = point.judgments.values()
    assert work is not None
    assert (work.calls, work.written) == (10, (10, 30))
    asked = 10 * tokens.count_chat(["grade  for 3 + 3"])
    assert work.read == (asked + 10 * 1, asked + 10 * 4)
    low, high = point.usd
    sums(LIMIT, *sums.judge, "judge.hyperparameter.max_tokens=3")
    assert (low or 0) <= sums.records()[0].figures["cost_usd"] <= (high or 0)


def test_a_judge_of_stored_answers(sums):
    """For stored answers the judge's prompts are exact, and stored judgments are found."""
    judged = [*sums.judge, "judge.hyperparameter.max_tokens=3"]
    sums(LIMIT, *judged, "++dataset.limit=5")
    sums.server.calls.clear()
    (point,) = told(sums, LIMIT, *judged)
    (work,) = point.judgments.values()
    assert (work.stored, work.calls) == (5, 5)
    assert sums.server.calls == []


def test_a_changed_judge_pays_no_answers(sums):
    """A sweep over judges buys the answers once and the judgments for each of them."""
    points = told(sums, LIMIT, *sums.judge, "-m", "judge.hyperparameter.max_tokens=3,4")
    assert [point.answers.calls for point in points] == [10, 0]
    assert [work.calls for point in points for work in point.judgments.values()] == [10, 10]


def test_time_by_pace(sums):
    """With a configured pace the estimate says how long the calls take at least."""
    outcome = sums.estimate(LIMIT, "provider.requests_per_minute=2")
    assert "at least 5.0 min" in outcome.out


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["provider.model=nobody"], "openai_compatible/nobody: no price is known"),
        (["hyperparameter.max_tokens=null"], "no upper bound: hyperparameter.max_tokens is not set"),
    ],
)
def test_what_is_not_known_is_said(sums, overrides, words):
    """An unknown price or bound is shown as a question mark with its reason."""
    outcome = sums.estimate(*overrides)
    assert words in outcome.out
    assert outcome.out.splitlines()[1].endswith("?")


def test_the_table_of_a_sweep(sums):
    """The table has a line per point, named by its own overrides, and the total."""
    lines = sums.estimate("-m", "hyperparameter.max_tokens=4,5").out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == [
        "point",
        "hyperparameter.max_tokens=4",
        "hyperparameter.max_tokens=5",
        "total",
    ]
    first, second, total = (float(line.split()[-1]) for line in lines[1:4])
    assert total == pytest.approx(first + second, abs=2e-4)
    assert any(re.search(r"\$1000 in and \$10000 out", line) for line in lines[4:])


def test_a_point_that_cannot_be_run_is_named(sums):
    """The table is that of the other points, which keep their names, and a line says which one it lacks."""
    sums.write([f"{n} + {n}" for n in range(40)])
    split = "+dataset.split.fractions={train: 0.5, test: 0.5}"
    openai = ["provider=openai", "provider.model=gpt-4.1-nano", "finetune=supervised", split]
    outcome = sums.estimate(*openai, "hyperparameter.n_epochs=5", "-m", "checkpoint=last,1")
    assert outcome.code == 2
    assert outcome.out.splitlines()[1].startswith("checkpoint=last ")
    assert "not in the table: checkpoint=1, which cannot be run: checkpoint: 1 will not exist" in outcome.out
    assert re.search(r"training: \$1\.5 per million tokens \(20.*https://", outcome.out)


def test_training_is_counted_once(runner, tmp_path, monkeypatch):
    """A sweep over checkpoints trains once, and the first point that needs the training has its cost."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(answer) as server:
        sums = Sums(runner, server, rows=40)
        split = "+dataset.split.fractions={train: 0.5, test: 0.5}"
        openai = ["provider=openai", "provider.model=gpt-4.1-nano", "finetune=supervised", split]
        points = told(sums, *openai, "hyperparameter.n_epochs=2", "-m", "checkpoint=base,1,last")
    trained = [point.trained for point in points]
    assert trained == [0, pytest.approx(40 * tokens.count_chat(["3 + 3", "4"]), rel=0.1), 0]
    assert points[1].training_usd == pytest.approx(trained[1] * 1.5 / 1e6)
    assert [point.answers.calls for point in points] == [20, 20, 20]
    assert server.calls == []


LAST = ["finetune=supervised", "checkpoint=last", "+dataset.split.fractions={train: 0.5, test: 0.5}"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["provider=together", "hyperparameter.training_steps=4", *LAST], "takes hyperparameter.n_epochs"),
        (["provider=together", "+finetune.options.lora_rnk=4", *LAST], "did you mean 'lora_rank'?"),
        (["provider=anthropic", "hyperparameter.thinking_tokens=100"], "hyperparameter.thinking_tokens=100:"),
    ],
)
def test_what_a_run_refuses_an_estimate_refuses(sums, overrides, words):
    """The settings of a service and of a training are checked, also where its key is not set."""
    outcome = sums.estimate("provider.base_url=http://127.0.0.1:9/v1", *overrides)
    assert outcome.code == 2
    assert words in outcome.err


def test_what_only_calls_need_is_said(sums, monkeypatch):
    """A missing address or a missing key stops no estimate; it says that a run needs it."""
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    sums.write([f"{n} + {n}" for n in range(20)])
    azure = ["provider=azure", "provider.base_url=null", "provider.model=m", *LAST]
    outcome = sums.estimate(*azure)
    assert outcome.code == 0, outcome.err
    assert "a run needs this, too: provider.base_url is required for provider=azure, or AZURE" in outcome.out
    outcome = sums.estimate(*azure, "provider.base_url=https://r.openai.azure.com", "checkpoint=base")
    assert "a run needs this, too: provider.api_key_env=AZURE_OPENAI_API_KEY" in outcome.out


def test_marks_are_measured():
    """A placeholder counts as many tokens as the answer may have."""
    chat: list[Message] = [{"role": "user", "content": f"a {forecast.PLACEHOLDER} b {forecast.PLACEHOLDER}"}]
    assert forecast.estimate_tokens(chat, 50) - forecast.estimate_tokens(chat, 0) == 100


def test_a_price_that_is_not_known(sums):
    """What is known is a lower bound, and it is said to be one; without any price there is none."""
    judged = [*sums.judge, "judge.hyperparameter.max_tokens=3", "judge.provider.model=nobody"]
    outcome = sums.estimate(LIMIT, *judged)
    assert re.search(r" at least \d", outcome.out)
    assert "nobody: no price is known" in outcome.out
    assert "at least" not in sums.estimate(LIMIT, "provider.model=nobody").out


def test_power_before_money(sums):
    """The difference that the rows could show is bounded before a run, and measured by past runs after it."""
    said = sums.estimate(LIMIT).out
    assert (
        "accuracy: 10 rows would show a difference of 71.4 points from another model (4 times of 5)" in said
    )
    assert "30 rows, 3 times as many, would show 38.8 points; all of them would cost up to $1.5" in said
    assert "this is the worst case: unrelated models, each right on half of the rows" in said
    sums(LIMIT, "hyperparameter.top_p=0.9")
    (unread,) = sums.folder.glob("outputs/runs/*/predictions.parquet")
    pl.read_parquet(unread).with_columns(prediction=None).write_parquet(unread)
    assert "worst case" in sums.estimate(LIMIT).out
    sums(LIMIT)
    sums(LIMIT, "prompt.user='4 + 0 = {{ question }}'")
    (point,) = told(sums, LIMIT, "hyperparameter.repeats=2")
    assert point.power is not None
    assert (point.power.basis, point.power.repeats) == (
        "taken from how two past runs of these rows differ",
        2,
    )
    (point,) = told(
        sums,
        LIMIT,
        "metric=mean_absolute_error",
        "++dataset.limit=5",
        "scoring.reduce=mean",
        "hyperparameter.repeats=2",
    )
    assert (point.power.difference, point.power.detect(point.power.difference)) == (None, None)
    points = told(sums, LIMIT, "-m", "hyperparameter.top_p=0.1,0.2,0.3")
    assert [power.comparisons for power in count_comparisons(point.power for point in points)] == [3] * 3


def test_power_of_equal_answers(sums):
    """Runs that differ in their judge alone have the same answers; runs without any variance tell nothing."""
    sums(LIMIT)
    sums(LIMIT, *sums.judge, "metric=accuracy")
    by_answers, by_verdicts = told(sums, LIMIT)[0].power, told(sums, LIMIT, *sums.judge)[0].power
    assert by_answers is not None
    assert by_answers.basis.startswith("taken from a past run of these rows")
    assert by_verdicts is not None
    assert by_verdicts.basis.startswith("this is the worst case")


def test_numbers_of_calls_are_explained(sums, runner):
    """Equal chats are asked once, and a judge more than once; recorded answers are no calls."""
    sums.write(["3 + 3", "3 + 3", "4 + 4"])
    judged = [*sums.judge, "judge.hyperparameter.max_tokens=3", "judge.hyperparameter.repeats=2"]
    said = sums.estimate(LIMIT, *judged).out
    assert "calls: 3 answers are to 2 different chats, each asked once" in said
    assert "judge calls: 2 for each answer (judges × orders × repeats); equal ones are asked once" in said
    recorded = ("provider=replay", "provider.column=target", "metric=accuracy")
    said = runner("estimate", "--config-dir", "mine", "dataset=sums", "prompt=sums", *recorded).out
    assert re.search(r"(?m)^sums +3 +0 +0 ", said), said


def test_an_interrupted_estimate_keeps_nothing(sums, monkeypatch):
    """It says so, and how to go on."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.cli.estimate.estimate_plan", interrupt)
    outcome = sums.estimate(LIMIT)
    assert "stopped; nothing was asked. To go on: runner estimate" in outcome.err
