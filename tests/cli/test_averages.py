"""A sweep that is averaged, from the command to its records."""

from __future__ import annotations

import json

import polars as pl
import pytest
from options import write_options

from runner.records.folder import find_runs
from runner.records.result import load_sweep

OPTIONS = {
    "dataset/odd.yaml": "name: odd\npath: rows.jsonl\n",
    "prompt/odd.yaml": "name: odd\nuser: '{{ text }}'\n"
    "parser: {_target_: runner.parse.Label, labels: ['0', '1']}\n",
    "reference/odd.yaml": "exact: true\naverages: {case: one, points: 2, figures: {one: {accuracy: 75%}}}\n",
}
FIXED = ["--config-dir", "mine", "dataset=odd", "prompt=odd", "metric=accuracy", "provider=replay"]
GLOBAL = "# @package _global_\n"
SEEDS = "hyperparameter.seed=0,1"


@pytest.fixture
def sweep(runner):
    """A sweep whose seeds choose among recorded answers: half of those of seed 0 are right, all of seed 1."""
    write_options(runner.folder, OPTIONS)
    rows = [{"text": f"Is {n} odd?", "target": str(n % 2), "a0": "1", "a1": str(n % 2)} for n in range(4)]
    (runner.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    column = "provider.column=a${hyperparameter.seed}"
    return lambda *more: runner(*FIXED, column, "tracking=none", "+reference@reference=odd", *more)


def test_a_sweep_over_seeds(sweep, runner):
    """The table ends with the mean, which meets the published one; so do report and Python API."""
    done = sweep("-m", SEEDS, "average_over=[hyperparameter.seed]")
    assert done.code == 0, done.err
    assert "0.750 sd 0.354" in done.out
    assert "published: 1 of 1 figure met" in done.out
    assert "best" not in done.out
    (folder,) = runner.folder.glob("outputs/sweeps/*")
    assert load_sweep(folder).summary.filter(pl.col("job").is_null())["accuracy"].to_list() == [0.75]
    assert len(find_runs(folder)) == 2
    assert "mean accuracy 0.750" in runner("list").out
    assert runner("report").code == 0
    (page,) = runner.folder.glob("outputs/reports/*/index.html")
    assert "mean of 2" in page.read_text()
    assert "0.750 sd 0.354" in (page.parent / "table.md").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-m", SEEDS, "average_over=[dataset]"], "average_over: 'dataset' is not swept"),
        (["-m", "hyperparameter.seed=0,1,1", "average_over=[hyperparameter.seed]"], "are over 2 points"),
        (["-m", SEEDS, "average_over=hyperparameter.seed"], "average_over: must be a list, such as [a, b]"),
        (["average_over=[hyperparameter.seed]", "hyperparameter.seed=0"], "a single run has no points"),
        (
            ["-m", SEEDS, "average_over=[hyperparameter.seed]", "reference.averages.case=two"],
            "reference.averages.case: 'two' is none of the cases in reference.averages.figures",
        ),
        (
            [
                "-m",
                SEEDS,
                "average_over=[hyperparameter.seed]",
                "reference.averages.case=${hyperparameter.seed}",
            ],
            "the points of one average have several: 0, 1",
        ),
    ],
    ids=["not swept", "other points", "no list", "one run", "no case", "several cases"],
)
def test_a_mistake_is_told_before_anything_is_asked(sweep, runner, given, said):
    """Nothing is left of such a sweep."""
    refused = sweep(*given)
    assert (refused.code, runner.records()) == (2, [])
    assert said in refused.err


def test_params_and_groups_are_swept_keys(sweep, runner):
    """A sweep in the config is averaged, too; so are options of a group."""
    params = "hydra: {sweeper: {params: {hyperparameter.seed: '0,1'}}}\n"
    more = {"dataset/two.yaml": OPTIONS["dataset/odd.yaml"], "experiment/seeds.yaml": GLOBAL + params}
    write_options(runner.folder, OPTIONS | more)
    done = sweep("-m", "experiment=seeds", "dataset=odd,two", "average_over=[dataset]")
    assert done.code == 0, done.err
    assert "[mean 2] seed=1, accuracy 1.000" in done.out
