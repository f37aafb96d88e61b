"""Dividing rows: by file, by fractions, stratified, grouped."""

from __future__ import annotations

import polars as pl
import pytest
from sklearn.model_selection import train_test_split

from runner.config.dataset_schema import SplitConfig
from runner.core.errors import ConfigError, DataError
from runner.data import split

FRAME = pl.DataFrame({"n": range(60), "label": ["a"] * 45 + ["b"] * 15, "doc": [n // 3 for n in range(60)]})
HALVES = {"train": 0.5, "test": 0.5}


def sizes(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame["split"].value_counts().rows())


def test_without_fractions_files_decide() -> None:
    """A split column stays; without one all rows are evaluated."""
    frame = FRAME.with_columns(split=pl.Series(["train"] * 40 + ["test"] * 20))
    assert split.assign_splits(frame, SplitConfig()).equals(frame)
    assert sizes(split.assign_splits(FRAME, SplitConfig(evaluate="dev"))) == {"dev": 60}


def test_fractions_are_drawn_by_scikit_learn() -> None:
    """The rows of the last split are those that train_test_split draws with this seed."""
    frame = split.assign_splits(FRAME, SplitConfig({"train": 0.7, "test": 0.3}, seed=5))
    _, test = train_test_split(list(range(60)), test_size=0.3, random_state=5)
    assert frame.filter(split="test")["n"].to_list() == sorted(test)
    assert frame["n"].to_list() == list(range(60))


def test_three_splits_are_drawn_from_the_last_to_the_first() -> None:
    """The last split comes from all rows, the one before it from the rest."""
    frame = split.assign_splits(FRAME, SplitConfig({"train": 0.5, "validation": 0.2, "test": 0.3}, seed=1))
    rest, test = train_test_split(list(range(60)), test_size=18, random_state=1)
    _, validation = train_test_split(rest, test_size=12, random_state=1)
    assert frame.filter(split="test")["n"].to_list() == sorted(test)
    assert frame.filter(split="validation")["n"].to_list() == sorted(validation)


def test_what_fractions_leave_over_is_in_no_named_split() -> None:
    """Shares below one in sum leave rows unused."""
    config = SplitConfig({"train": 0.5, "validation": 0.2, "test": 0.2}, seed=1)
    assert sizes(split.assign_splits(FRAME, config)) == {
        "train": 30,
        "validation": 12,
        "test": 12,
        "unused": 6,
    }


def test_stratified_keeps_label_shares() -> None:
    """Each split has the labels in the proportion of the whole."""
    frame = split.assign_splits(FRAME, SplitConfig({"train": 0.8, "test": 0.2}, stratify="label"))
    counts = frame.group_by("split").agg((pl.col("label") == label).sum().alias(label) for label in "ab")
    assert counts.sort("split").rows() == [("test", 9, 3), ("train", 36, 12)]


def test_grouped_rows_stay_together() -> None:
    """No document is in two splits."""
    frame = split.assign_splits(FRAME, SplitConfig(HALVES, group="doc", seed=3))
    assert frame.group_by("doc").agg(pl.col("split").n_unique())["split"].max() == 1
    assert sizes(frame) == {"train": 30, "test": 30}


def test_grouped_split_does_not_depend_on_row_order() -> None:
    """Groups are drawn from their sorted values, so shuffled rows land in the same splits."""
    config = SplitConfig(HALVES, group="doc", stratify="label")
    mixed = split.assign_splits(FRAME.sample(fraction=1, shuffle=True, seed=9), config)
    assert mixed.sort("n").equals(split.assign_splits(FRAME, config))


def test_grouped_and_stratified_uses_the_group_value() -> None:
    """A column that is constant in a group stratifies the groups exactly as scikit-learn would."""
    frame = split.assign_splits(
        FRAME, SplitConfig({"train": 0.8, "test": 0.2}, group="doc", stratify="label", seed=4)
    )
    strata = ["a"] * 15 + ["b"] * 5
    _, test = train_test_split(list(range(20)), test_size=0.2, random_state=4, stratify=strata)
    assert frame.filter(split="test")["doc"].unique(maintain_order=True).to_list() == sorted(test)


def test_groups_with_several_values_are_stratified_by_the_set() -> None:
    """Groups that hold both labels are spread apart from groups that hold one."""
    labels = ["a", "b", "a"] * 10 + ["a"] * 30
    frame = FRAME.with_columns(label=pl.Series(labels))
    test = split.assign_splits(frame, SplitConfig(HALVES, group="doc", stratify="label")).filter(split="test")
    assert test["label"].value_counts().sort("label").rows() == [("a", 25), ("b", 5)]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SplitConfig({"train": 0.8, "test": 0.3}), "sum to 1.1, above 1"),
        (SplitConfig({"train": 0.0, "test": 0.5}), r"fractions\.train=0\.0"),
        (SplitConfig({"train": 0.8, "tset": 0.2}), "evaluate='test' is no split.*did you mean 'tset'"),
    ],
)
def test_wrong_config_is_named(config: SplitConfig, said: str) -> None:
    """Shares that cannot be, and a split that does not exist."""
    with pytest.raises(ConfigError, match=said):
        split.assign_splits(FRAME, config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SplitConfig(HALVES, stratify="lable"), "stratify='lable'.*did you mean 'label'"),
        (SplitConfig(HALVES, group="gap"), "group='gap': the column is empty in 59 of 60 rows"),
        (SplitConfig(HALVES, stratify="odd"), "'yes' occurs 1 times"),
        (SplitConfig({"train": 0.98, "test": 0.02}, stratify="n"), "use fewer strata"),
    ],
)
def test_rows_that_cannot_be_divided_so_are_named(config: SplitConfig, said: str) -> None:
    """Unknown, incomplete and too fine columns."""
    odd = pl.Series(["yes"] + ["no"] * 59)
    frame = FRAME.with_columns(odd=odd, gap=pl.when(pl.col("n") == 0).then(1))
    with pytest.raises(DataError, match=said):
        split.assign_splits(frame, config)


def test_too_few_rows_for_the_splits() -> None:
    """A split that would leave nothing to the others is an error."""
    with pytest.raises(DataError, match="at least one must remain"):
        split.assign_splits(FRAME.head(2), SplitConfig({"train": 0.1, "validation": 0.45, "test": 0.45}))


@pytest.mark.parametrize(
    ("values", "evaluate", "names"),
    [
        ([0, 1], "1", ["0", "1"]),
        ([0.5, 1.0], "1.0", ["0.5", "1.0"]),
        ([True, False], "True", ["True", "false"]),  # as YAML makes `evaluate: true`
        (["True", "False"], "True", ["True", "False"]),
        (["TRUE", "FALSE"], "True", ["True", "FALSE"]),
    ],
)
def test_a_split_column_of_any_type_is_text(values: list[object], evaluate: str, names: list[str]) -> None:
    """Folds are numbers in most files; they are compared as they are written."""
    config = SplitConfig(evaluate=evaluate)
    assert split.assign_splits(pl.DataFrame({"split": values}), config)["split"].to_list() == names


def test_a_row_without_a_split_is_named() -> None:
    """Such a row would be left out without a word."""
    frame = pl.DataFrame({"id": ["r1", "r2"], "split": ["test", None]})
    with pytest.raises(DataError, match=r"'split': the column is empty in 1 of 2 rows \(r2\)"):
        split.assign_splits(frame, SplitConfig())


def test_rows_that_are_not_evaluated_need_no_split_for_it():
    """A training file has none."""
    frame = FRAME.with_columns(split=pl.lit("train"))
    assert sizes(split.assign_splits(frame, SplitConfig(), evaluated=False)) == {"train": 60}
