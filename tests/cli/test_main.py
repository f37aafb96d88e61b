"""A mistake on the command line gives one clear message, exit code 2, no traceback and no call."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from runner.experiment import stages
from runner.providers.local import tuning

MISTAKES = {
    "a key": (["hyperparameter.n_sot=3"], "hyperparameter.n_sot: no such key; did you mean 'n_shot'?"),
    "a group": (["datset=fib"], "datset: no such key; did you mean 'dataset'?"),
    "an option": (["dataset=fibb"], "dataset=fibb: no such option; did you mean 'fib'?"),
    "one of several options": (
        ["metric=[acuracy]"],
        "metric=acuracy: no such option; did you mean 'accuracy'?",
    ),
    "a type": (["dataset.limit=few"], "dataset.limit: 'few' must be a whole number"),
    "a choice": (
        ["prompt.shots.choice=best"],
        "prompt.shots.choice: 'best' is not possible; known:",
    ),
    "a range": (["hyperparameter.temperature=9"], "hyperparameter.temperature: 9.0 must be between 0 and 2"),
    "an open key": (["+provider.modell=x"], "provider.modell: no such key; did you mean 'model'?"),
    "a class": (["provider._target_=no.such.Thing"], "provider._target_: no class 'no.such.Thing'"),
    "a file": (["dataset.path=human_evaluatr.csv"], "human_evaluatr.csv"),
    "a column": (["dataset.columns.question=Qestion"], "did you mean 'Question'?"),
    "a prompt file": (["prompt.user=fib_judge/usr.jinja"], "did you mean 'fib_judge/user.jinja'?"),
    "a variable of the environment": (["provider=openai"], "OPENAI_API_KEY"),
    "a template's name": (
        ["prompt.user='{{ questn }}'"],
        "'questn', which is not a column; did you mean 'question'?",
    ),
    "another prompt's column": (
        ["prompt=fib_judge"],
        "fib_judge/user.jinja, line 2, uses 'document'",
    ),
    "an option in a folder": (
        ["dataset=finetunebench/memorisation"],
        "dataset=finetunebench/memorisation: no such option; did you mean 'finetunebench/memorization'?",
    ),
    "a folder of options": (["experiment=logs/inspct"], "did you mean 'logs/inspect'?"),
    "a wrong case": (["provider=OpenAI"], "provider=OpenAI: no such option; did you mean 'openai'?"),
    "one of many": (
        ["metric=zzz"],
        "metric=zzz: no such option; docs/reference.md lists the options of metric",
    ),
    "nobody who could judge": (
        ["provider=replay", "provider.column=answer", "judge=correctness"],
        "judge.provider: a judge without a provider is the model that is judged, and recorded answers have",
    ),
    "no member who could judge": (
        ["provider=replay", "provider.column=answer", "judge=panel"],
        "judge.members.fitting.provider: a judge without a provider",
    ),
    "a judge's column": (
        ["judge=finetunebench"],
        "uses 'answer_before', which is not a column; known: (answer,",
    ),
    "a file's column": (["dataset.columns.target=Eval"], "did you mean 'Evaluation'?"),
    "a metric's argument": (
        ["metric=precision", "+metric.precision.confidence=2"],
        "metric.precision: confidence 2",
    ),
    "a template in the config": (["prompt.user='{{ x }}'"], "error: prompt.user: uses 'x'"),
    "a far prompt file": (
        ["prompt.user=nofile.jinja"],
        "no prompt file 'nofile.jinja' in prompts, the shipped",
    ),
    "a command": (
        ["lst"],
        "'lst' is neither a command nor an override, which is key=value; did you mean 'list'?",
    ),
    "a word": (["hyperparameter.n_shot", "3"], "write hyperparameter.n_shot=value"),
    "no key": (["=3"], "'=3' has no key"),
    "a late command": (["list"], "'list' is a command, which stands before everything else"),
    "a special character": (
        ["dataset.name=a'b"],
        "is not an override (quote a value with special characters: ",
    ),
    "a template without quotes": (
        ["prompt.user=True? {{ question }}"],
        """(quote a value with special characters: 'prompt.user="True? {{ question }}"')""",
    ),
    "an expression in a list": (
        ["dataset.steps=[{filter: rating > 3}]"],
        """(quote a value with special characters: 'dataset.steps=[{filter: "rating > 3"}]')""",
    ),
    "a mapping as JSON has it": (
        ['require={"exact_agreement": ">= 0.8"}'],
        """special characters: 'require={exact_agreement: ">= 0.8"}')""",
    ),
    "a mapping for a list": (
        ["dataset.steps={filter: x}"],
        "error: dataset.steps: must be a list, not a mapping\n",
    ),
    "a list for a mapping": (
        ["dataset.columns=[a]"],
        "dataset.columns: must be a mapping, not a list\n",
    ),
    "an open bracket": (["hyperparameter.stop=['a'"], "a bracket or a quote is not closed"),
    "a key that is no text": (
        ["dataset.columns={true: Question}"],
        "dataset.columns: the key True is no text; quote it",
    ),
    "several values": (["hyperparameter.n_shot=1,2"], "n_shot=1,2: to sweep over it, add -m"),
    "an override": (["dataset.limit=(3"], "is not an override"),
    "traces": (["tracking.traces=true"], "tracking.traces: True must be all, failures, none"),
    "a tracking address": (
        ["tracking.enabled=true", "tracking.uri=htp://host"],
        "tracking.uri: 'htp://host' has an unknown kind; did you mean 'http'?",
    ),
    "a checkpoint": (["checkpoint=2"], "checkpoint: 2 needs fine-tuning; set finetune=supervised"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(runner, monkeypatch, arguments, message):
    """The message names the key, the value and the nearest valid choice."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    outcome = runner("tracking=none", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_required_name_of_which_others_are_made(runner, tmp_path):
    """A data set without a name: the key that lacks a value is named, not the one that refers to it."""
    (tmp_path / "mine" / "dataset").mkdir(parents=True)
    (tmp_path / "mine" / "dataset" / "d.yaml").write_text("path: rows.csv\n")
    said = runner("--config-dir", str(tmp_path / "mine"), "dataset=d").err
    assert said == "error: mine/dataset/d.yaml: dataset.name: a value is required\n"


def test_overrides_without_effect(runner):
    """A smaller command says what it does not read, and refuses values out of range."""
    outcome = runner("list", "dataset=fib", "hydra.job.name=mine")
    assert (outcome.code, outcome.err) == (0, "dataset=fib: has no effect on runner list\n")
    outcome = runner("report", "report.rows=-3")
    assert (outcome.code, outcome.err) == (2, "error: report.rows: -3 must not be negative\n")
    outcome = runner("list", "report.rows=3")
    assert outcome.err == "report.rows=3: has no effect on runner list\n"


def test_no_reader(tmp_path):
    """A command whose reader has ended, such as ``head``, ends silently."""
    command = [sys.executable, "-m", "runner", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 0)


def test_a_sweep_of_mistakes(runner):
    """It ends with 2 like a single mistake, says why for each point, and leaves nothing."""
    outcome = runner("-m", "tracking=none", "prompt.user=no.jinja,none.jinja")
    assert outcome.code == 2
    assert [f"no prompt file '{name}.jinja'" in outcome.err for name in ("no", "none")] == [True, True]
    assert not list(runner.folder.glob("outputs/*/*"))


@pytest.mark.parametrize(
    "mistake",
    [
        ["dataset.path=${nope}"],
        ["dataset.path=gone.csv"],
        ["provider=openai", "provider.model=null"],
        ["tracking.uri=nonsense"],
        ["objective=nope"],
    ],
)
def test_a_mistake_leaves_nothing(runner, mistake):
    """No record, no folder, and no run in MLflow."""
    outcome = runner("dataset.limit=2", *mistake)
    assert outcome.code == 2, outcome.err
    assert not list(runner.folder.glob("outputs/*/*"))
    assert not (runner.folder / "mlflow.db").exists()


def test_a_mistake_keeps_an_earlier_record(runner):
    """A folder that is used again has the record of the run that was made in it."""
    folder = runner.folder / "mine"
    folder.mkdir()
    (folder / "record.json").write_text("earlier")
    assert runner("hydra.run.dir=mine", "tracking=none", "dataset.path=gone.csv").code == 2
    assert (folder / "record.json").read_text() == "earlier"


@pytest.mark.parametrize("launcher", ["basic", "concurrent"])
def test_one_mistaken_point(runner, launcher):
    """It stops the sweep before its first call, and is named with its reason; one message has all points."""
    sweep = ["-m", "tracking=none", f"hydra/launcher={launcher}", "provider={_target_: own.Plain}"]
    files = "dataset.path=human_evaluator.csv,gone.csv"
    outcome = runner(*sweep, "dataset.limit=2", files, "hyperparameter.seed=1,2")
    assert outcome.code == 2
    first, last = outcome.err.splitlines()
    assert first.startswith("error: [2] [3] dataset.path='gone.csv'")
    assert last == "error: nothing was asked, since 2 of 4 points cannot be run"
    assert not list(runner.folder.glob("outputs/*/*"))


def test_what_a_later_point_lacks_is_found_first(runner, monkeypatch):
    """A library that only a training needs is named before the first point is asked, and by estimate.

    The data are read once for all points.
    """
    monkeypatch.setattr(tuning, "EXTRA", ("no_such_library",))
    read = []
    load_rows = stages.load_rows
    monkeypatch.setattr(stages, "load_rows", lambda config: read.append(config) or load_rows(config))
    rows = "".join(
        f'{{"question": "{name}?", "target": "a", "split": "{name}"}}\n' for name in ("train", "test")
    )
    (runner.folder / "mine/dataset").mkdir(parents=True)
    (runner.folder / "mine/rows.jsonl").write_text(rows)
    text = "name: d\npath: mine/rows.jsonl\n"
    (runner.folder / "mine/dataset/d.yaml").write_text(text)
    given = [
        "--config-dir",
        "mine",
        "dataset=d",
        "prompt.user='{{ question }}'",
        "prompt.assistant='{{ target }}'",
        "prompt.parser=null",
    ]
    given += ["tracking=none", "metric=exact_match", "provider=local", "finetune=supervised"]
    outcome = runner("-m", *given, "checkpoint=base,1,last")
    first, last = outcome.err.splitlines()[-2:]
    assert first.startswith("error: [1] [2] provider=local: training needs no_such_library; ")
    assert (outcome.code, last) == (2, "error: nothing was asked, since 2 of 3 points cannot be run")
    assert (len(read), runner.records()) == (1, [])
    assert "training needs no_such_library" in runner("estimate", *given, "checkpoint=1").err


def test_conditions_on_scores(runner):
    """A score that misses its condition ends a run, and a sweep, with 1 and a line; the scores are kept."""
    given = ["tracking=none", "provider={_target_: own.Plain}", "dataset.limit=4"]
    condition = 'require={n: ">= 4", answered: "> 4"}'
    outcome = runner(*given, condition)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (1, "error: answered 4 is not > 4")
    outcome = runner("-m", *given, condition, "hyperparameter.seed=1,2")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-2:] == [f"error: [{job}] answered 4 is not > 4" for job in (0, 1)]
    assert [record.status for record in runner.records()] == ["finished"] * 3
    assert runner(*given, 'require.n=">= 4"').code == 0


def test_full_error(runner, monkeypatch):
    """HYDRA_FULL_ERROR=1 raises the original exception."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="n_sot"):
        runner("hyperparameter.n_sot=3")


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["dataset=fib", "--cfg", "job"]])
def test_quick_commands(arguments, tmp_path):
    """Help and config are shown without importing modules that only a run needs."""
    code = (
        "import sys; from runner.cli.main import main\n"
        "try: main()\n"
        "finally: print(*{'mlflow', 'openai', 'polars', 'sklearn'} & set(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert done.stderr.strip() == ""
    assert "dataset" in done.stdout


def test_module(tmp_path):
    """``python -m runner`` is the same command as ``runner``."""
    started = time.monotonic()
    command = [sys.executable, "-m", "runner", "--cfg", "job", "--package", "dataset"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert "name: human_evaluator" in done.stdout
    assert time.monotonic() - started < 30


def test_no_password_is_saved(runner):
    """A password in a URL is refused before anything is written, and the message says where to put it."""
    url = "postgresql+psycopg://me:hunter2@db/runs"
    for typed in ([f"ledger.url={url}"], ["-m", f"tracking.uri={url}", "hyperparameter.seed=1,2"]):
        outcome = runner(*typed)
        assert (outcome.code, "hunter2" in outcome.err, "PGPASSWORD" in outcome.err) == (2, False, True)
    assert not list(runner.folder.iterdir())


def test_no_key_is_saved(runner):
    """A key where the name of its variable belongs is refused before anything is written, also in a sweep."""
    for typed in (
        ["provider=openai", "provider.api_key_env=sk-12345"],
        ["-m", "provider=openai", "provider.api_key_env=sk-12345,OPENAI_API_KEY"],
        ["-m", "provider={_target_: own.Plain, api_key_env: sk-12345},{_target_: own.Plain}"],
        ["provider=openai", "provider.api_key_env=sk-(12345"],
    ):
        outcome = runner("tracking=none", *typed)
        assert (outcome.code, "sk-" in outcome.err) == (2, False)
        assert "provider.api_key_env: must be the name of an environment variable" in outcome.err
    assert not list(runner.folder.iterdir())


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("columns: {yes: q}", "dataset/own.yaml, line 3: dataset.columns: the key True is no text; quote it"),
        (
            "steps: [{derive: {no: q}}]",
            "dataset/own.yaml, line 3: derive: the key False is no text; quote it",
        ),
        ("steps: [{join: {path: r.csv, key: q, columns: {on: q}}}]", "steps[0].join.columns: the key True"),
    ],
)
def test_a_key_that_yaml_does_not_read_as_text(runner, tmp_path, dataset, said):
    """``yes`` and ``no`` are truth values in YAML: the message says what to quote, and where."""
    (tmp_path / "mine" / "dataset").mkdir(parents=True)
    (tmp_path / "mine" / "dataset" / "own.yaml").write_text(f"name: own\npath: r.csv\n{dataset}\n")
    (tmp_path / "r.csv").write_text("q\n1\n")
    outcome = runner("--config-dir", "mine", "dataset=own", "prompt.user=x", "tracking=none")
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: [w\n", r"odd.yaml, line 2, column 1: expected ',' or ']'"),
        (b"name: w\nname: v\n", "odd.yaml, line 2, column 1: found duplicate key name"),
        (b"name: \xe9\n", "odd.yaml, line 1 is not UTF-8"),
    ],
)
def test_an_option_file_that_is_no_yaml(runner, tmp_path, content, said):
    """It is a mistake, named with its place."""
    (tmp_path / "mine/prompt").mkdir(parents=True)
    (tmp_path / "mine/prompt/odd.yaml").write_bytes(content)
    outcome = runner("--config-dir", str(tmp_path / "mine"), "prompt=odd")
    assert (outcome.code, said in outcome.err) == (2, True), outcome.err
