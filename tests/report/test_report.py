"""The report: what it says, what it refuses, and that it is safe to pass on."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
import tracked
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import tracking
from runner.config.instantiate import instantiate
from runner.core.errors import ConfigError
from runner.core.types import Score
from runner.metrics.confusion import UNPARSED
from runner.metrics.statistics import compare_runs, holm
from runner.records.folder import write_notes
from runner.report import best, comparisons, disagreements, facts, formats, plots, results
from runner.report.answers import find_chats
from runner.report.points import (
    Point,
    distinguish_records,
    find_command,
    find_folders,
    load_points,
    name_points,
)
from runner.report.write import rank_points, write_report

ACCURACY = {"accuracy": {"_target_": "runner.metrics.Accuracy"}}
HOSTILE = (
    "\u202e\x07</pre></script><script>alert(1)</script><img src=http://evil/x onerror=alert(1)>"
    " & {{ 7*7 }} \\input{x}"
)


def rows(right: float, count: int = 40, **changes: object) -> pl.DataFrame:
    """Rows of which the first share is right; ``changes`` replace columns."""
    target = ["yes" if i % 2 else "no" for i in range(count)]
    wrong = {"yes": "no", "no": "yes"}
    said = [value if i < right * count else wrong[value] for i, value in enumerate(target)]
    chats = [[{"role": "user", "content": f"Answer this: is {i} odd?"}] for i in range(count)]
    columns = {"id": [str(i) for i in range(count)], "target": target, "prediction": said, "messages": chats}
    frame = pl.DataFrame(columns | {"completion": [f"I say {answer}" for answer in said]})
    frame = frame.with_columns(error=pl.lit(None, dtype=pl.String))
    return frame.with_columns(pl.Series(name, values) for name, values in changes.items())


def point(frame: pl.DataFrame | None = None, job: int = 0, **changes: object) -> Point:
    """A point of a sweep over n_shot that measured accuracy."""
    given = {"swept": {"hyperparameter.n_shot": job}, "config": {"metric": ACCURACY}, "sweep": "s1"}
    record = tracked.record(f"p{job}", **given | {"job": job} | changes)
    return Point(record, rows(0.5) if frame is None else frame)


def written(folder: Path, points: list[Point]) -> Path:
    """The points as folders of the sweep s1."""
    for one in points:
        place = folder / "outputs" / "sweeps" / "s1" / str(one.record.job)
        place.mkdir(parents=True)
        one.record.write(place)
        if one.rows is not None:
            one.rows.write_parquet(place / "predictions.parquet")
    return folder / "outputs" / "sweeps" / "s1"


class Page(HTMLParser):
    """The tags, links and texts of a page; open tags must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text = self.script = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "img", "wbr", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.script += data
        elif "style" not in self.open:
            self.text += data


def page(folder: Path, points: list[Point], **settings: int) -> tuple[Page, Path]:
    """The page of a sweep, and the folder that it is in."""
    target = folder / "report"
    write_report([written(folder, points)], target, instantiate, **settings)
    return Page((target / "index.html").read_text()), target


def test_prompts_and_answers_are_only_text(tmp_path):
    """Whatever a row, a name or an error holds, the page has no script and no address but its own.

    The browser is told the digest of the only script that it may run.
    """
    frame = rows(0.5, completion=[HOSTILE] * 40, prediction=[HOSTILE] * 40)
    failed = point(job=1, status="failed", error=HOSTILE, scores={}, swept={"key": HOSTILE})
    shown, folder = page(tmp_path, [point(frame, name=HOSTILE), failed])
    assert shown.tags.count("script") == 1
    digest = base64.b64encode(hashlib.sha256(shown.script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        in (folder / "index.html").read_text()
    )
    assert shown.handlers == []
    assert {link[:1] if link.startswith("#") else link[:19] for link in shown.links} <= {
        "#",
        "data:image/svg+xml;",
    }
    assert shown.text.count("<script>alert(1)</script>") > 40
    assert "⟨202E⟩⟨07⟩</pre>" in shown.text
    assert not {"\u202e", "\x07"} & {*(folder / "index.html").read_text()}
    assert shown.open == []


def test_no_credential_reaches_a_page(tmp_path):
    """An address in the settings is shown without its password."""
    secret = {
        "dataset.url": "https://me:hunter2@host/rows.csv",
        "ledger.url": "postgresql://me:hunter2@host/x",
    }
    _, folder = page(
        tmp_path, [point(params=secret, overrides=["dataset.url=https://me:hunter2@host/rows.csv"])]
    )
    text = "".join(file.read_text() for file in folder.iterdir())
    assert "hunter2" not in text
    assert "https://***@host/rows.csv" in text


WORDS = st.text("a ='\"$`\\\\\n{}[]*?!;&|<>#~é日", max_size=12)


@settings(deadline=None, max_examples=50)
@given(values=st.lists(WORDS, max_size=3))
def test_the_command_is_what_was_typed(values):
    """A shell reads the words back as they were given, in their order."""
    overrides = [f"key{i}={value}" for i, value in enumerate(values)]
    run = Point(tracked.record("a", overrides=overrides), None)
    command = find_command([run], [Path("gone")])
    assert shlex.split(command or "") == ["runner", *overrides]


def test_the_command_has_all_that_was_given(tmp_path):
    """One's own option files and options of Hydra are in it; secrets are not; odd letters leave it out."""
    hydra = {
        "overrides": {"hydra": ["hydra.mode=MULTIRUN", "hydra/launcher=joblib", "hydra.job.env_set.KEY=s3"]},
        "runtime": {
            "cwd": "/work",
            "config_sources": [
                {"path": "hydra.conf", "provider": "hydra"},
                {"path": "/work/my conf", "provider": "command-line"},
            ],
        },
    }
    (tmp_path / "multirun.yaml").write_text(json.dumps({"hydra": hydra}))
    write_notes(tmp_path, {"overrides": ["experiment=x", "provider.headers.x-api-key=s3", "n=1,2"]})
    assert find_command([point()], [tmp_path]) == (
        "runner --config-dir 'my conf' -m experiment=x 'provider.headers.x-api-key=***' n=1,2"
        " hydra/launcher=joblib 'hydra.job.env_set.KEY=***'"
    )
    for broken in (
        "hydra: [",
        "- 1",
        "hydra: {runtime: {config_sources: 1}, overrides: {hydra: [[], 3]}}",
        "\x00",
    ):
        (tmp_path / "multirun.yaml").write_text(broken)
        assert "-m experiment=x" in str(find_command([point()], [tmp_path]))
    write_notes(tmp_path, {"overrides": ["a=\u202eb"]})
    assert find_command([point()], [tmp_path]) is None


def test_points_are_called_by_what_sets_them_apart():
    """The number is added where two have the same name."""
    points = [point(job=0), point(job=1), point(job=2, swept={"hyperparameter.n_shot": 1})]
    assert name_points(points) == {"[0]": "n_shot=0", "[1]": "[1] n_shot=1", "[2]": "[2] n_shot=1"}


def test_results_show_interval_published_figure_and_parsed_reading():
    """A cell has the score, its bounds, the figure as the paper prints it, and whether they agree."""
    reference = [
        {"metric": "f1", "published": 0.915, "printed": "91.5%", "standing": "missed", "agrees": False}
    ]
    scores = {"f1": Score(0.75, 0.6, 0.9, 8), "f1_parsed": Score(0.8571, 0.7, 1, 7)}
    table = results.tabulate_results([point(scores=scores, reference=reference)])
    assert table.metrics == ["f1"]
    assert table.lines[0].cells == [
        results.Cell(
            "0.750", "0.600", "0.900", "0.857 of 7", "91.5%", "91.5%", agrees=False, compared="not met"
        )
    ]
    assert (table.met, table.compared) == (0, 1)


def test_reasons_of_scores_are_said_once():
    """Why there is no score, and what to know about one, with the points that it holds for."""
    scores = {
        "a": Score(None, reason="no answer was read"),
        "a_parsed": Score(None, reason="no answer was read"),
        "b": Score(0.5, reason="the judge may tell nothing"),
        "c": Score(None, reason="no answer was read"),
    }
    table = results.tabulate_results([point(job=job, scores=scores) for job in range(7)])
    who = "[0], [1], [2], [3], [4] and 2 more"
    assert table.notes == [
        f"{who} not defined: a, c (no answer was read)",
        f"{who} note: b (the judge may tell nothing)",
    ]


def test_wide_tables_become_panels():
    """Eleven scores are two tables of six and five; a point without a score in one of them is not in it."""
    many = point(scores={f"m{i}": Score(0.5) for i in range(11)})
    split_panels = results.tabulate_results([many, point(job=1, scores={"m0": Score(1.0)})]).split_panels(8)
    assert [len(panel.metrics) for panel in split_panels] == [6, 5]
    assert [len(panel.lines) for panel in split_panels] == [2, 1]


def test_the_best_stands_first():
    """The page's table is in the order of the ranking, as on screen; what did not finish is below."""
    points = [point(status="failed"), *(point(job=job, scores={"m": Score(job / 9)}) for job in (1, 2, 3))]
    lines = results.tabulate_results(points).sort_lines(["[3]", "[1]"]).lines
    assert [line.number for line in lines] == ["[3]", "[1]", "[2]", "[0]"]


def test_facts_are_said_once_or_side_by_side():
    """What points share is said once, what differs is a column; who stopped early differs from none."""
    points = [point(job=job, tags={"model": f"m{job}", "provider": "local"}) for job in range(2)]
    early = point(job=2, tags={}, params={}, inputs=[])
    told = facts.gather_facts([*points, early])
    assert ("provider", "local") in told.shared
    assert told.columns == ["", "n_shot", "model"]
    assert told.lines == [["[0]", "0", "m0"], ["[1]", "1", "m1"], ["[2]", "2", ""]]


def test_a_judge_is_named_with_its_model():
    """Who judged, by what identifies it; digests are cut to their beginning."""
    judge = {"config": {"judge": {"name": "correctness"}}, "identities": {"judge": {"weights": "ab" * 32}}}
    assert ("judge", "correctness (weights abababababab)") in facts.gather_facts([point(**judge)]).shared


def test_small_costs_are_no_nothing():
    """What was paid is told, also where it is less than a hundredth of a cent."""
    paid = point(figures={"cost_usd": 0.000036, "cost_usd_total": 0.000036})
    assert ("spent", "$0.000036") in facts.gather_facts([paid]).shared


def test_comparison_corrects_over_all_pairs():
    """Each two points on the same rows are tested; Holm's correction counts the tests of all sets of rows."""
    other = rows(0.5, id=[f"other {i}" for i in range(40)])
    points = [point(rows(0.9), 0), point(rows(0.4), 1), point(rows(0.5), 2), point(other, 3), point(other, 4)]
    compared = comparisons.compare_points(points, instantiate)
    (table,) = compared.tables
    alone = compare_runs(instantiate(ACCURACY["accuracy"], ""), {p.number: p.rows for p in points[:3]})
    assert [c.names for c in table.comparisons] == [
        ("[0]", "[1]"),
        ("[0]", "[2]"),
        ("[1]", "[2]"),
        ("[3]", "[4]"),
    ]
    assert [c.p for c in table.comparisons[:3]] == [c.p for c in alone]
    assert [c.adjusted for c in table.comparisons] == holm([c.p for c in table.comparisons])
    assert table.significant == 2


def test_different_rows_are_refused_in_words(tmp_path):
    """The page says which points cannot be compared and why, and goes on."""
    shown, _ = page(tmp_path, [point(rows(0.9)), point(rows(0.9, count=30), 1)])
    assert "[0] and [1]: the runs have different rows and cannot be compared: 10 rows" in " ".join(
        shown.text.split()
    )


def test_metrics_that_cannot_compare_are_named():
    """What is the same in all points, or no score of two runs, is left out with its reason."""
    metrics = ACCURACY | {
        "people": {"_target_": "runner.metrics.Accuracy", "prediction": "target"},
        "rows": {"_target_": "runner.metrics.Count"},
        "gone": {"_target_": "no.such.Metric"},
    }
    points = [point(rows(share), job, config={"metric": metrics}) for job, share in enumerate((0.9, 0.4))]
    compared = comparisons.compare_points(points, instantiate)
    assert [table.metric for table in compared.tables] == ["accuracy"]
    assert compared.left_out["people"] == "it is the same in all points, row by row"
    assert "cannot compare runs" in compared.left_out["rows"]
    assert "no.such.Metric" in compared.left_out["gone"]


def test_each_experiment_has_its_own_metrics():
    """Two sweeps in one report: a metric is compared where it was measured."""
    config = {"config": {"metric": {"kappa": {"_target_": "runner.metrics.CohenKappa"}}}}
    elsewhere = [rows(share, id=[f"other {i}" for i in range(40)]) for share in (0.9, 0.4)]
    points = [point(rows(0.9)), point(rows(0.4), 1)]
    points += [point(frame, job, **config) for job, frame in enumerate(elsewhere, 2)]
    compared = comparisons.compare_points(points, instantiate)
    assert [(table.metric, len(table.comparisons)) for table in compared.tables] == [
        ("accuracy", 1),
        ("kappa", 1),
    ]


def test_many_points_are_compared_with_the_first():
    """Beyond 45 pairs each point is held against the first one, not each two."""
    points = [point(rows(job / 20, seed=[job] * 40), job) for job in range(11)]
    (table,) = comparisons.compare_points(points, instantiate).tables
    assert {comparison.names[1] for comparison in table.comparisons} == {"[0]"}
    assert len(table.comparisons) == 10


def test_a_sweep_ends_with_a_comparison(tmp_path):
    """The best point, and the others against it; points on other rows do not compete."""
    folder = written(tmp_path, [scored(0.85), scored(0.4, 1), scored(0.9, 2), scored(0.9, 3, rows="other")])
    ending = rank_points([folder / str(job) for job in range(4)], instantiate)
    assert (ending.objective, ending.order) == ("accuracy", [2, 0, 1])
    assert ending.verdicts == {2: "best", 0: "not distinguishable, p 0.500", 1: "worse, p < 0.001"}
    assert ending.csv.splitlines()[1].startswith("accuracy,40,[0],[2],-0.05")
    assert ending.lines == [
        "by accuracy (higher is better; the first score that has a direction, since objective is not set)",
        "best: [2] n_shot=2, accuracy 0.900",
        "1 point worse than the best, 1 point not distinguishable from the best (paired by row, Holm); the"
        " interval of the best is not corrected for having been chosen",
        "not ranked: [3], on rows that no other point has",
    ]


def test_tests_that_take_long_are_left_to_the_report(tmp_path):
    """The points are ranked all the same, and it is said that they were not tested."""
    points = load_points([written(tmp_path, [scored(0.9), scored(0.4, 1)])])
    found = best.find_best(points, instantiate, limit_s=-1)
    assert found.verdicts == {0: "best", 1: "not tested"}
    assert "not tested against the best: it takes long" in best.describe_best(points, found)[-1]


def test_equal_points_are_named(tmp_path):
    """Nothing is preferred of two points with the same score."""
    points = load_points([written(tmp_path, [scored(0.9), scored(0.9, 1)])])
    found = best.find_best(points, instantiate)
    assert set(found.verdicts.values()) == {"best, equal"}
    said = "best: [0] n_shot=0 and [1] n_shot=1, which are equal, accuracy 0.900"
    assert best.describe_best(points, found)[1:] == [said]


def scored(right: float, job: int = 0, **data: str) -> Point:
    """A point whose record has the score and says that higher is better."""
    score = {"accuracy": Score(right, n=40, direction="higher")}
    return point(rows(right), job, scores=score, inputs=[{"ids": data.get("rows", "same")}])


def read(*points: Point, most: int = 50) -> disagreements.Disagreements:
    (family,), _ = comparisons.group_by_rows(points)
    return disagreements.find_disagreements(family, instantiate, most)


def worth_reading(*points: Point) -> list[disagreements.Row]:
    shown = read(*points)
    return shown.rows[: shown.total]


def test_rows_where_points_disagree_come_first():
    """All wrong comes after disputed; what is right everywhere is last; the totals count all rows."""
    shown = read(point(rows(0.5)), point(rows(0.75), 1), most=12)
    assert (shown.total, shown.disputed, shown.missed, len(shown.rows)) == (20, 10, 20, 12)
    assert [row.is_disputed for row in shown.rows] == [True] * 10 + [False] * 2
    assert shown.rows[0].summary == "20 odd?"
    assert [(answer.said, answer.right) for answer in shown.rows[0].answers] == [("yes", False), ("no", True)]


def test_an_unparsed_answer_is_wrong():
    """No prediction is shown as such, with what was said."""
    unread = rows(1, reading=["no label is named"] * 40).with_columns(
        prediction=pl.lit(None, dtype=pl.String)
    )
    shown = read(point(unread))
    answer = shown.rows[0].answers[0]
    assert (shown.missed, answer.said, answer.flags) == (40, UNPARSED.strip("()"), "wu")
    assert (answer.words.text, answer.words.unread) == ("I say no", "no label is named")


def test_a_judge_is_quoted():
    """The judge's own words are there, and why no verdict was read; a failed call is not an unread one."""
    judged = {
        "verdict": ["correct", None, None, *["correct"] * 37],
        "judge_completion": ["Fine: correct.", "Hm.", None, *["correct"] * 37],
        "judge_reading": [None, "no label is named", *[None] * 38],
        "judge_error": [None, None, "HTTP 500", *[None] * 37],
    }
    share = {"share": {"_target_": "runner.metrics.Share", "column": "verdict", "value": "correct"}}
    answers = {
        row.id: row.answers[0] for row in read(point(rows(1, **judged), config={"metric": share})).rows
    }
    said = [(one.judge.text, one.judge.unread, one.judge.error) for one in map(answers.get, "012")]
    assert said == [
        ("Fine: correct.", None, None),
        ("Hm.", "no label is named", None),
        (None, None, "HTTP 500"),
    ]
    told = [(one.flags, one.shown) for one in map(answers.get, "012")]
    assert told == [("-", "correct"), ("wu", "unparsed"), ("we", "failed")]


def test_each_prompt_is_shown_once():
    """Points that were asked the same are together, with the row's own chat; so are their questions."""
    other = [[{"role": "user", "content": f"Is {i} odd, please?"}] for i in range(40)]
    points = [point(), point(job=1), point(rows(0.5, messages=other), 2)]
    (family,), _ = comparisons.group_by_rows(points)
    shown = [(chat.numbers, chat.turns) for chat in find_chats(family)]
    assert shown == [
        (["[0]", "[1]"], [("user", "Answer this: is 0 odd?")]),
        (["[2]"], [("user", "Is 0 odd, please?")]),
    ]
    assert [numbers for numbers, _ in read(*points).rows[0].questions] == [["[0]", "[1]"], ["[2]"]]


def test_long_texts_are_cut_where_there_are_too_many():
    """The page stays small; a cut text says how long it was."""
    (family,), _ = comparisons.group_by_rows([point(rows(0.5, completion=["x" * 3000] * 40))])
    whole, cut = (disagreements.find_disagreements(family, instantiate, 40, most) for most in (10**6, 10**5))
    assert {row.answers[0].words.text for row in whole.rows} == {"x" * 3000}
    assert {row.answers[0].words.text for row in cut.rows} == {
        "x" * 2000 + " … [cut; 3,000 characters in all]"
    }


def test_rows_are_found_in_a_browser(tmp_path):
    """The address chooses the rows: which, of which point, with which words; its row is open."""
    if not (browser := shutil.which("chromium")):
        pytest.skip("needs chromium")
    points = [point(rows(0.5)), point(rows(0.75), 1)]
    _, folder = page(tmp_path, points)
    address = f"file://{folder}/index.html#rows?show=w&point=%5B1%5D&find=ODD+5&row=35"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", address]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    heads = re.findall(r'<details class="row"([^>]*)>.*?<span class="id">(\d+)<', shown, re.DOTALL)
    assert [name for tags, name in heads if "hidden" not in tags] == ["35"]
    assert [name for tags, name in heads if "open" in tags] == ["35"]
    assert "1 of 40 rows" in shown


def test_a_verdict_decides_where_there_is_one():
    """A judged answer is right if the judge says what the metric counts, whatever its wording."""
    share = {"share": {"_target_": "runner.metrics.Share", "column": "verdict", "value": "correct"}}
    frame = rows(0, verdict=["correct"] * 39 + ["incorrect"])
    (row,) = worth_reading(point(frame, config={"metric": share}))
    assert (row.id, row.answers[0].said, row.answers[0].right) == ("39", "incorrect", False)


def test_measures_are_held_against_targets_by_rank():
    """Where only a correlation was measured nothing is right or wrong; the worst misranked come first."""
    target = [i / 10 for i in range(40)]
    said = [100 * value + 0.5 for value in target]
    said[0], said[39] = said[39], said[0]
    metric = {"spearman": {"_target_": "runner.metrics.Spearman"}}
    shown = read(point(rows(1, target=target, prediction=said), config={"metric": metric}))
    assert not shown.is_graded
    assert [row.id for row in shown.rows[: shown.total]] == ["0", "39"]


def test_the_metric_decides_what_is_right():
    """A rating within the tolerance is right, though it is not the target's."""
    metric = {"agreement": {"_target_": "runner.metrics.ExactAgreement", "tolerance": 1}}
    frame = rows(1, target=[3] * 40, prediction=[3] * 37 + [4, 5, None])
    shown = worth_reading(point(frame, config={"metric": metric}))
    assert [(row.id, row.answers[0].right) for row in shown] == [("38", False), ("39", False)]


def test_scores_of_the_record_are_read():
    """The report shows the scores that the run has written, and does not compute them again."""
    frame = rows(0, accuracy=[1.0] * 39 + [0.0])
    (row,) = worth_reading(point(frame, row_scores={"accuracy": "right"}))
    assert (row.id, row.answers[0].right) == ("39", False)


def test_row_values_put_rows_in_order():
    """The answer least like its target comes first, whether high or low values are good; unread is as far."""
    metric = {"token_f1": {"_target_": "runner.metrics.TokenF1"}}
    frame = rows(1, target=["a b c d"] * 40, prediction=["a b c d"] * 37 + ["b c x", "z", None])
    shown = worth_reading(point(frame, config={"metric": metric}))
    assert [(row.id, row.answers[0].right) for row in shown] == [
        ("38", None),
        ("39", None),
        ("37", None),
    ]


def test_a_rate_alone_marks_no_answer():
    """Where only F1 was measured no answer is right or wrong; those that are not the target are listed."""
    metric = {"f1": {"_target_": "runner.metrics.F1", "average": "macro"}}
    shown = read(point(rows(0.9), config={"metric": metric}))
    assert (shown.is_graded, [row.id for row in shown.rows[: shown.total]]) == (
        False,
        ["36", "37", "38", "39"],
    )


def test_checkpoints_make_a_curve(monkeypatch):
    """``base`` is 0 and ``last`` the number of the last one, so that they are points of one line."""
    models = [{"number": n, "step": 10 * n, "model": f"m{n}", "evaluated": False} for n in (1, 2, 3)]
    last = [{**model, "evaluated": model["number"] == 3} for model in models]
    base = point(swept={"checkpoint": "base"})
    end = point(job=1, swept={"checkpoint": "last"}, models=last, tags={"stage": "fine-tuned"})
    drawn = []
    monkeypatch.setattr(plots, "_embed_figure", lambda title, figure: drawn.append(figure))
    plots.plot_sweep([base, end, point(job=2, status="failed", swept={"checkpoint": "2"})])
    (axes,) = drawn[0].axes
    assert axes.lines[0].get_xdata().tolist() == [0, 3]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["base", "last (3)"]


def test_a_training_is_drawn_once():
    """Checkpoints of one job share its curves."""
    curves = {"train_loss": [(1, 2.0), (2, 1.0)]}
    points = [point(job=job, curves=curves, params={"finetune_job": "ft-1"}) for job in range(3)]
    (plot,) = plots.plot_training(points)
    assert plot.caption == "training job ft-1"


def test_cost_is_drawn_where_it_is_known():
    """Two prices make a plot; one price, free answers, or a point that failed make none."""
    priced = [point(job=job, figures={"cost_usd_total": 0.1 * (job + 1)}) for job in range(2)]
    free = point(job=2, figures={"cost_usd_total": 0.0})
    assert plots.plot_cost([*priced, free]) is not None
    assert plots.plot_cost([priced[0], free]) is None
    failed = point(job=1, status="failed", figures={"cost_usd_total": 0.2})
    assert plots.plot_cost([priced[0], failed]) is None


def test_confusion_matrix_counts_and_shares():
    """Counts by true and predicted label, labels from the rows where no parser has them."""
    (drawn,) = plots.plot_confusion_matrices([point(rows(0.75))])
    svg = ElementTree.fromstring(base64.b64decode(drawn.source.partition(",")[2]))
    texts = [" ".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[1:5] == ["true", "predicted", "no", "yes"]
    assert texts[5:] == ["no", "15 75 %", "5 25 %", "yes", "5 25 %", "15 75 %"]


def test_runs_of_different_commands_are_told_apart_by_their_overrides():
    """A list of runs is numbered; its keys are the overrides that differ and matter."""
    common = {"swept": {}, "sweep": None}
    one = tracked.record("a", overrides=["experiment=x", "provider=local", "tracking=none"], **common)
    two = tracked.record("b", overrides=["experiment=x", "hyperparameter.n_shot=3"], **common)
    first, second = distinguish_records([one, two])
    assert (first.job, first.swept) == (0, {"provider": "local", "hyperparameter.n_shot": "–"})
    assert (second.job, second.swept) == (1, {"provider": "–", "hyperparameter.n_shot": 3})


def test_the_newest_is_reported_by_default(tmp_path):
    """Without a folder it is the last sweep or run with a score; points keep the order of their jobs."""
    folder = written(tmp_path, [point(job=job) for job in (10, 9, 2)])
    assert find_folders([], tmp_path / "outputs") == [folder]
    assert find_folders(["last"], tmp_path / "outputs") == [folder]
    typo = tracked.record("typo", status="failed", scores={})
    (tmp_path / "outputs" / "runs" / "typo").mkdir(parents=True)
    typo.write(tmp_path / "outputs" / "runs" / "typo")
    assert find_folders([], tmp_path / "outputs") == [folder]
    assert [one.record.job for one in load_points([folder])] == [2, 9, 10]
    with pytest.raises(ConfigError, match="holds no run and no sweep"):
        find_folders([str(tmp_path)], tmp_path / "outputs")
    with pytest.raises(ConfigError, match="unpack it first"):
        find_folders(["export.zip"], tmp_path / "outputs")


def test_formats_need_nothing_heavy():
    """The command line prints numbers without waiting for a numeric library."""
    code = (
        "import sys, runner.report.formats; print({*sys.modules} & {'numpy', 'polars', 'sklearn', 'scipy'})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("escape", "text"),
    [
        (formats.escape_latex, r"50\% of a\_b \& \{\textbackslash{}input\}"),
        (formats.escape_markdown, r"50% of a\_b & {\\input}"),
    ],
)
def test_tables_are_escaped(escape, text):
    """What LaTeX and markdown would read as commands is printed."""
    assert escape("50% of\na_b & {\\input}") == text


def test_latex_table(tmp_path):
    """Booktabs rules, a measured line and a line of intervals per point, published figures in parentheses."""
    reference = [
        {"metric": "accuracy", "published": 0.9, "printed": "90%", "standing": "met", "agrees": True}
    ]
    _, folder = page(tmp_path, [point(reference=reference), point(job=1)])
    text = (folder / "table.tex").read_text()
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"0 & 0.750 (90\%) & 8 \\" in text
    assert text.count(r"{\scriptsize [0.600, 0.900]}") == 2
    assert text.count("{") == text.count("}")


def test_command(runner, tmp_path):
    """``runner report`` writes page and tables, and a wrong folder is one message."""
    written(tmp_path, [point(rows(0.9)), point(rows(0.4), 1)])
    outcome = runner("report")
    files = [Path(line) for line in outcome.out.split()]
    assert {file.name for file in files} == {
        "index.html", "table.md", "table.tex", "table.csv", "comparison.csv"
    }  # fmt: skip
    assert all((tmp_path / file).read_text().strip() for file in files)
    assert (
        "| \\[1\\] | 1 | 0.750 (0.600 – 0.900) | 8 |" in (tmp_path / files[0].parent / "table.md").read_text()
    )
    outcome = runner("report", "outputs/sweeps/s2")
    assert (outcome.code, "did you mean 'outputs/sweeps/s1'?" in outcome.err) == (2, True)


def test_from_sweep_to_page(runner, tmp_path):
    """Two recorded judges of the same rows: the sweep's end compares them, and so does the page."""
    lines = [f"{i},{i % 2},{i % 2},{0 if i < 12 else i % 2}" for i in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["question,target,good,bad", *lines]))
    prompt = ["prompt=unieval", "prompt.user='{{ question }}'", "prompt.parser.integer=true"]
    (tmp_path / "mine/dataset").mkdir(parents=True)
    (tmp_path / "mine/dataset/own.yaml").write_text("name: own\npath: rows.csv")
    data = ["--config-dir", "mine", "dataset=own"]
    swept = ["provider=replay", "-m", "provider.column=bad,good"]
    outcome = runner(*data, *prompt, *swept, "metric=exact_agreement", "tracking=none")
    assert "best: [1] column=good, exact_agreement 1.000" in outcome.out
    assert "worse, p 0.031" in outcome.out
    assert runner("report", "report.name=mine").code == 0
    text = Page((tmp_path / "outputs/reports/mine/index.html").read_text()).text
    assert "runner --config-dir mine -m dataset=own" in text
    assert "1 of 1 differences is larger than chance explains" in " ".join(text.split())


def test_the_parent_run_has_the_comparison(mlflow_config, tmp_path):
    """What a sweep's end says is a file of its parent run, too."""
    parent = tracking.open_sweep("fib", "s1", mlflow_config)
    files = {"comparison.csv": "metric,n"}
    tracking.close_sweep(parent, [tracked.point(tmp_path, 0)], mlflow_config, files)
    run = tracked.client(mlflow_config).get_run(parent)
    assert tracked.artifact(run, "comparison.csv").read_text() == "metric,n"
