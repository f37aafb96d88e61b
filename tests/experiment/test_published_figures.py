"""Published numbers are reproduced from recordings by the commands in the experiment files."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from itertools import chain, product
from pathlib import Path

import numpy as np
import pytest
import yaml
from _pytest.mark import ParameterSet
from commandline import CommandLine
from published import commands, documented, missed
from scipy import stats

from runner.core.paths import CONF
from runner.records.record import Record


def replay(runner: CommandLine, experiment: str) -> list[Record]:
    """Run these commands, check the counts of figures in the docs, and return the records."""
    for command in commands(experiment):
        assert runner(*command.split()[1:], "tracking=none").code == 0
    records = runner.records()
    assert all(record.figures["answered"] == record.figures["n"] for record in records)
    met = [row["agrees"] is True for record in records for row in record.reference]
    counts = [documented()[command] for command in commands(experiment)]
    assert (len(met), sum(met)) == (sum(figures for figures, _ in counts), sum(met for _, met in counts))
    return records


def value(record: Record, metric: str) -> float:
    measured = record.scores[metric].value
    assert measured is not None
    return measured


STATISTICS = {
    "correct_average": "pairwise",
    "correct_False": "pairwise_ab",
    "correct_True": "pairwise_ba",
    "correct_both": "pairwise_both",
    "equal": "pairwise_agreement",
    "kappa_agreement": "pairwise_odd_agreement_kappa",
    "kappa_False": "pairwise_odd_kappa_ab",
    "kappa_True": "pairwise_odd_kappa_ba",
    "kappa_average": "pairwise_odd_kappa",
}
FOLDERS = {"Natural": "Natural", "Neighbor": "Adversarial/Neighbor", "GPTInst": "Adversarial/GPTInst"}


def statistics(shared: Path, case: str) -> dict[str, str]:
    """Return the statistics that LLMBar published with a recording, by our names, as they are printed."""
    judge, subset, evaluator = case.split("/")
    folder = shared / "llmbar_all/Dataset/LLMBar" / FOLDERS[subset] / "evaluators" / judge / evaluator
    printed = json.loads((folder / "statistics.json").read_text())
    texts = {name: str(text).split(" = ")[0].replace(" ", "") for name, text in printed.items()}
    return {STATISTICS[name]: text for name, text in texts.items()}


def list_points(command: str) -> list[str]:
    """Return the case of each point of a sweep over LLMBar's recordings."""
    parts = [part.removeprefix("dataset.params.") for part in command.split()[1:] if "=" in part]
    names = {"judge": "GPT-4"} | dict(part.split("=") for part in parts)
    choices = (names[key].split(",") for key in ("judge", "subset", "evaluator"))
    return ["/".join(point) for point in product(*choices)]


@pytest.mark.parametrize(("experiment", "tables"), [("llmbar", 174), ("llmbar_rating", 21)])
def test_all_tables_of_llmbar_are_there(shared_data: Path, experiment: str, tables: int) -> None:
    """The figures are those of all statistics files as printed, and the documented commands run each once."""
    reference = yaml.safe_load((CONF / "reference" / f"{experiment}.yaml").read_text())
    printed = {
        case: dict(zip(reference["columns"], line.split(), strict=True))
        for case, line in reference["figures"].items()
    }
    assert printed == {case: statistics(shared_data, case) for case in printed}
    assert len(printed) == tables
    points = {command: list_points(command) for command in commands(experiment)}
    assert sorted(chain.from_iterable(points.values())) == sorted(printed)
    for command, cases in points.items():
        assert documented()[command] == (9 * len(cases), 9 * len(cases))


def long(case: str) -> ParameterSet:
    return pytest.param(case, marks=pytest.mark.long)


LLMBAR = [  # each judge, each way of judging, and all ways in which a verdict is missing
    long("llmbar judge=PaLM2,LLaMA2 subset=GPTInst evaluator=CoT,Swap"),
    long("llmbar judge=ChatGPT,Falcon subset=Neighbor evaluator=Metrics,Swap_CoT"),
    long("llmbar judge=GPT-4,ChatGPT-0301 subset=Natural evaluator=Reference,Metrics_Reference"),
    "llmbar judge=LLaMA2 subset=GPTInst evaluator=Vanilla_1shot,Vanilla_2shot",
    "llmbar judge=PaLM2 subset=Natural evaluator=Vanilla_NoRules,Vanilla",
    "llmbar_rating judge=GPT-4 subset=GPTInst evaluator=Rating,Rating_Metrics_Reference",
]


@pytest.mark.parametrize("some", LLMBAR)
def test_llmbar(runner: CommandLine, shared_data: Path, some: str) -> None:
    """All nine figures of some recorded runs are met, from the raw replies; the docs run all of them."""
    experiment, *chosen = some.split()
    choices = [f"dataset.params.{choice}" for choice in chosen]
    assert runner(f"experiment={experiment}", "-m", *choices, "tracking=none").code == 0
    records = runner.records()
    assert len(records) == len(list_points(some))
    assert missed(records) == []
    for record in records:
        assert record.figures["answered"] == record.figures["n"]
        assert len(record.reference) == len(STATISTICS)


def test_unieval(runner: CommandLine, shared_data: Path) -> None:
    """The correlations of six aspects and two more benchmarks agree, also with SciPy on the raw file."""
    records = replay(runner, "unieval")
    assert missed(records) == []
    params = records[0].config["dataset"]["params"]
    file = shared_data / "unieval/reproduce/unieval_predict" / params["files"][params["benchmark"]]
    rows = json.loads(file.read_text())
    said, meant = ([row[side][params["aspect"]] for row in rows] for side in ("predict_scores", "scores"))
    assert value(records[0], "kendall") == pytest.approx(stats.kendalltau(said, meant).statistic)


def test_pandalm(runner: CommandLine, shared_data: Path) -> None:
    """Accuracy, macro scores, kappas and label counts agree, against the majority of three people."""
    records = replay(runner, "pandalm")
    assert missed(records) == []
    folder = shared_data / "pandalm/data"
    people = json.loads((folder / "testset-v1.json").read_text())
    judge = json.loads((folder / "pandalm-7b-testset-v1.json").read_text())
    votes = [sorted(row[f"annotator{n}"] for n in (1, 2, 3))[1] for row in people]
    right = sum(str(row["pandalm_result"]) == str(vote) for row, vote in zip(judge, votes, strict=True))
    assert value(records[1], "accuracy") == pytest.approx(right / 999)


@pytest.mark.long
def test_pandalm_models(runner: CommandLine, shared_data: Path) -> None:
    """Wins, losses and ties of each pair of models agree, except in the cell that is printed in reverse."""
    records = replay(runner, "pandalm_models")
    assert missed(records) == ["people_1", "people_2"] * 2
    people = json.loads((shared_data / "pandalm/data/testset-v1.json").read_text())
    pairs = {record.config["dataset"]["params"]["models"] for record in records}
    assert pairs == {row["cmp_key"] for row in people}


def published_alphas(shared: Path) -> dict[str, float]:
    """Return the last column of JUDGE-BENCH's table, by data set."""
    table = (shared / "judge_bench/results/models_per_dataset_score.tex").read_text()
    cells = re.findall(r"\{blue!25\}|\{red!25\}([\w-]+) \(\d+\).*& ([\d.]+) \\\\$", table, re.MULTILINE)
    return {name: float(alpha) for name, alpha in cells if alpha}


def test_judge_bench(runner: CommandLine, shared_data: Path) -> None:
    """Alphas and upper bounds agree with the paper's table; data with a single annotator has none."""
    records = {record.tags["dataset"].partition("/")[2]: record for record in replay(runner, "judge_bench")}
    assert missed(list(records.values())) == []
    table = published_alphas(shared_data)
    assert round(value(records["dices_crowd"], "alpha"), 2) == table["dices-350-crowdsourced"]
    assert round(value(records["inferential_strategies"], "alpha"), 2) == table["inferential-strategies"]
    for alone in ("cola", "dices_expert", "llmbar_natural"):
        assert records[alone].scores["alpha"].value is None


@pytest.mark.long
def test_judge_bench_recipes(runner: CommandLine, shared_data: Path) -> None:
    """Alphas agree with the results file; their mean and the upper bounds agree with the paper's table."""
    records = replay(runner, "judge_bench_recipes")
    assert missed(records) == []
    file = shared_data / "judge_bench/results/regular/recipe-crowd-sourcing-data.json"
    published = next(iter(json.loads(file.read_text()).values()))
    measured = {record.config["dataset"]["params"]["aspect"]: value(record, "alpha") for record in records}
    assert measured == pytest.approx({name: row["krippendorff_alpha"] for name, row in published.items()})
    mean = round(sum(measured.values()) / len(measured), 2)
    assert mean == published_alphas(shared_data)["recipe-crowd-sourcing-data"]


def test_fib_split(runner: CommandLine, shared_data: Path) -> None:
    """Both splits, made from the source files, equal the published files row by row."""
    records = replay(runner, "fib_split")
    assert missed(records) == []
    numbers = [value(record, "fingerprint") for record in records]
    assert numbers[:2] == numbers[2:]
    lines = (shared_data / "tcapelle_mistral_wandb/data/fib-val.jsonl").read_text().splitlines()
    labels = {0: "inconsistent", 1: "consistent"}
    rows = [(r["premise"], r["hypothesis"], labels[r["target"]]) for r in map(json.loads, lines)]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    assert numbers[3] == int(sha256(text.encode()).hexdigest()[:12], 16)


def test_frank(runner: CommandLine, shared_data: Path) -> None:
    """Partial correlations are those of SciPy on the raw files, of the rows that have a score."""
    chosen = ("dataset.params.corpus=bbc", 'dataset.params.score="Dep Entail"')
    assert runner("experiment=frank", *chosen, "tracking=none").code == 0
    (record,) = runner.records()
    folder = shared_data / "frank/data"
    people, scores = (
        json.loads((folder / f"{name}.json").read_text())
        for name in ("human_annotations", "baseline_factuality_metrics_outputs")
    )
    rows = [
        (said["model_name"], said["Dep Entail"], meant["Factuality"])
        for said, meant in zip(scores, people, strict=True)
        if said["dataset"] == "bbc" and said["Dep Entail"] is not None
    ]
    systems = np.array([[system == other for other in {row[0] for row in rows}] for system, *_ in rows])
    both = np.array([row[1:] for row in rows])
    said, meant = (both - systems @ np.linalg.lstsq(systems.astype(float), both, rcond=None)[0]).T
    assert record.figures["n"] == len(rows) == 981
    assert value(record, "pearson") == pytest.approx(stats.pearsonr(said, meant).statistic)
    assert value(record, "spearman") == pytest.approx(stats.spearmanr(said, meant).statistic)


def test_the_docs_show_the_commands_of_the_experiments() -> None:
    """The docs show the same commands as the experiment files."""
    names = {command.split()[1].removeprefix("experiment=") for command in documented()}
    assert len(names) == 17
    assert {command for name in names for command in commands(name)} == set(documented())


def test_bbh(runner: CommandLine, shared_data: Path) -> None:
    """Tasks of one and of three files meet their figures, without and with thinking."""
    (command,) = commands("bbh")
    assert documented()[command] == (46, 46)
    tasks = "dataset.params.task=penguins_in_a_table,tracking_shuffled_objects"
    ways = "dataset.params.prompting=direct,cot"
    assert runner("experiment=bbh", "-m", tasks, ways, "average_over=[]", "tracking=none").code == 0
    assert [record.figures["n"] for record in runner.records()] == [146, 146, 750, 750]
    assert missed(runner.records()) == []


def test_bbh_averages() -> None:
    """The published averages are the means of the published figures, each rounded to its printed digit."""
    reference = yaml.safe_load((CONF / "reference" / "bbh.yaml").read_text())
    for way, (mean,) in reference["averages"]["figures"].items():
        printed = [
            float(text[:-1]) for case, (text,) in reference["figures"].items() if case.endswith(f"/{way}")
        ]
        assert len(printed) == reference["averages"]["points"]
        assert sum(printed) / 23 == pytest.approx(float(mean[:-1]), abs=0.1)
