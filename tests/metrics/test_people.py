"""Facts about rows, and what one of several people reaches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score

from runner import metrics
from runner.core.errors import ConfigError, DataError
from runner.core.types import Score

PEOPLE = pl.DataFrame(
    {
        "annotations": [["a", "a", "b"], ["b", "b", "b"], ["b", "a", None], ["a"], ["a", "a", "a"]],
        "target": ["a", "b", "b", "b", "a"],
    }
)


def test_count_of_a_label_or_of_any_value() -> None:
    """Labels are compared as text, so a number in YAML meets a number in the rows."""
    frame = pl.DataFrame({"target": [0, 1, 1, None]})
    assert metrics.Count(value=1)(frame) == {"count": Score(2.0, n=4)}
    assert metrics.Count(name="labelled")(frame) == {"labelled": Score(3.0, n=4)}
    with pytest.raises(DataError, match="did you mean 'target'"):
        metrics.Count(column="targt")(frame)


def test_fingerprint_is_that_of_the_named_columns_in_their_order() -> None:
    """Other columns do not matter; a changed value, a changed row order or type does."""
    rows = pl.DataFrame({"id": [1, 2], "text": ["a", "b"], "target": [0, 1]})
    metric = metrics.Fingerprint(columns=["text", "target"])
    number = metric(rows)["fingerprint"].value
    assert metric(rows.with_columns(id=pl.lit(7)))["fingerprint"].value == number
    changed = [rows.reverse(), rows.with_columns(target=1), rows.with_columns(pl.col("target").cast(str))]
    assert number not in [metric(other)["fingerprint"].value for other in changed]
    assert number == int(number or 0) < 2**48


def test_upper_bound_is_the_mean_over_judges_that_answer_as_one_person_each_row() -> None:
    """Of the rows with several people, two are open: b for a (1 of 3) and a for b (1 of 2)."""
    bound = metrics.UpperBound(metric=metrics.CohenKappa(), annotators="annotations", draws=20_000)(PEOPLE)
    gold = ["a", "b", "b", "a"]
    kappa = {(one, two): cohen_kappa_score(gold, [one, "b", two, "a"]) for one in "ab" for two in "ab"}
    chance = {("a", "b"): 1 / 3, ("a", "a"): 1 / 3, ("b", "b"): 1 / 6, ("b", "a"): 1 / 6}
    expected = sum(kappa[said] * chance[said] for said in chance)
    assert bound["upper_bound"].value == pytest.approx(expected, abs=0.01)
    assert (bound["upper_bound"].low, bound["upper_bound"].high) == (kappa["b", "a"], 1.0)
    assert bound["upper_bound"].n == 4


def test_upper_bound_of_columns_is_that_of_lists() -> None:
    """One column per person, or one column with all of them."""
    lists = metrics.UpperBound(metric=metrics.Accuracy(), annotators="annotations", draws=50)
    columns = metrics.UpperBound(metric=metrics.Accuracy(), annotators=["x", "y", "z"], draws=50)
    wide = PEOPLE.select(
        "target", *(pl.col("annotations").list.get(i, null_on_oob=True).alias(c) for i, c in enumerate("xyz"))
    )
    assert columns(wide) == lists(PEOPLE)


def test_upper_bound_without_a_second_person_is_undefined() -> None:
    """One person alone agrees with what "all" said; that bounds nothing."""
    frame = pl.DataFrame({"annotations": [["a"], ["b"]], "target": ["a", "b"]})
    bound = metrics.UpperBound(metric=metrics.CohenKappa(), annotators="annotations")
    assert bound(frame) == {"upper_bound": Score(None)}
    same = pl.DataFrame({"annotations": [["a", "a"]], "target": ["a"]})
    assert bound(same) == {"upper_bound": Score(None, n=1)}
    with pytest.raises(ConfigError, match="draws 0"):
        metrics.UpperBound(metric=metrics.CohenKappa(), annotators="annotations", draws=0)


NOTEBOOK = {
    "grammar": 0.66,
    "fluency": 0.68,
    "verbosity": 0.67,
    "structure": 0.63,
    "success": 0.61,
    "overall": 0.67,
}


@pytest.mark.parametrize("aspect", NOTEBOOK)
def test_upper_bounds_as_published(shared_data: Path, aspect: str) -> None:
    """The figures of JUDGE-BENCH's notebook for the recipes, with its 1,000 draws and its seed."""
    source = "judge_bench/data/recipe_crowd_sourcing_data/meta_evaluation_recipes.json"
    given = [
        row["annotations"][aspect] for row in json.loads((shared_data / source).read_text())["instances"]
    ]
    frame = pl.DataFrame(
        {
            "target": [row["mean_human"] for row in given],
            "annotations": [row["individual_human_scores"] for row in given],
        }
    )
    bound = metrics.UpperBound(metric=metrics.Spearman(), annotators="annotations", seed=47)(frame)
    assert np.round(bound["upper_bound"].value, 2) == NOTEBOOK[aspect]
