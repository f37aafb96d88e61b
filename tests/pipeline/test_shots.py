"""Shots are chosen from the train split and refused if they are evaluated."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from runner.config.schema import PromptConfig, ShotChoice, ShotsConfig
from runner.core.errors import ConfigError, DataError, LeakageError
from runner.pipeline import shots
from runner.pipeline.prompt import Prompt, compile_prompt

TOPICS = ["the cat sat on the mat", "a dog ran in the park", "rain fell on the town", "he baked fresh bread"]
TRAIN = pl.DataFrame(
    {
        "id": [f"t{n}" for n in range(24)],
        "text": [f"{TOPICS[n % 4]} number {n}" for n in range(24)],
        "target": ["good"] * 16 + ["bad"] * 5 + ["ugly"] * 3,
    }
)
TEST = pl.DataFrame(
    {"id": ["e0", "e1"], "text": ["one dog in one park", "bread that he baked"], "target": ["good"] * 2}
)


def prompt(
    choice: str = "first", column: str | None = None, seed: int = 0, user: str = "{{ text }}"
) -> Prompt:
    choices = ShotsConfig(choice=ShotChoice(choice), column=column, seed=seed)
    return compile_prompt(PromptConfig(user=user, shots=choices))


@pytest.mark.parametrize("choice", ["first", "random", "balanced", "similar"])
def test_shots_are_nested(choice: str) -> None:
    """The shots for k are the first k of the shots for 9."""
    nine = shots.choose_shots(TRAIN, TEST, 9, prompt(choice))
    for k in range(9):
        assert shots.choose_shots(TRAIN, TEST, k, prompt(choice)) == [numbers[:k] for numbers in nine]


def test_first_takes_the_first_rows() -> None:
    """``first`` takes rows in the order of the train split."""
    assert shots.choose_shots(TRAIN, TEST, 3, prompt()) == [[0, 1, 2], [0, 1, 2]]


def test_random_depends_on_the_seed_alone() -> None:
    """One seed draws the same rows for every evaluated row; another seed draws others."""
    first, second = (shots.choose_shots(TRAIN, TEST, 9, prompt("random", seed=seed)) for seed in (1, 2))
    assert first == shots.choose_shots(TRAIN, TEST, 9, prompt("random", seed=1))
    assert first[0] == first[1]
    assert first != second


def test_every_prefix_of_balanced_is_as_balanced_as_can_be() -> None:
    """Labels take turns, so their counts differ by at most one; a label that is used up is skipped."""
    (order, _) = shots.choose_shots(TRAIN, TEST, 13, prompt("balanced"))
    for k in range(1, 10):
        counts = Counter(TRAIN["target"][order[:k]])
        assert max(counts.values()) - min(counts[label] for label in ("good", "bad", "ugly")) <= 1
    assert Counter(TRAIN["target"][order]) == {"good": 5, "bad": 5, "ugly": 3}


def test_balanced_by_another_column() -> None:
    """``column`` names the labels that are balanced."""
    train = TRAIN.with_columns(side=pl.Series(["l"] * 22 + ["r"] * 2))
    (order, _) = shots.choose_shots(train, TEST, 4, prompt("balanced", "side"))
    assert sorted(train["side"][order]) == ["l", "l", "r", "r"]


@pytest.mark.parametrize("column", [None, "text"])
def test_similar_shows_what_is_alike(column: str | None) -> None:
    """Each evaluated row gets the train rows about its own topic, by prompt or by column."""
    dogs, breads = shots.choose_shots(TRAIN, TEST, 5, prompt("similar", column))
    assert {number % 4 for number in dogs} == {1}
    assert {number % 4 for number in breads} == {3}


def test_similar_over_many_rows_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing rows in blocks, which bounds memory, gives the same shots."""
    whole = shots.choose_shots(TRAIN, TEST, 5, prompt("similar"))
    monkeypatch.setattr(shots, "_BLOCK_PAIRS", 1)
    assert shots.choose_shots(TRAIN, TEST, 5, prompt("similar")) == whole


def test_ids_and_rows_of_shots() -> None:
    """The ids of shots are listed for the log, and their rows for the prompt."""
    chosen = [[1, 0], [2]]
    assert shots.list_shot_ids(TRAIN, chosen).to_list() == [["t1", "t0"], ["t2"]]
    assert [[row["id"] for row in one] for one in shots.list_shot_rows(TRAIN, chosen)] == [
        ["t1", "t0"],
        ["t2"],
    ]
    assert shots.list_shot_ids(TRAIN.clear(), [[], []]).to_list() == [[], []]


@pytest.mark.parametrize(
    ("k", "column", "said"),
    [
        (25, None, r"hyperparameter\.n_shot=25, but the train split has 24 rows"),
        (-1, None, r"hyperparameter\.n_shot=-1"),
        (1, "tagret", r"prompt\.shots\.column='tagret'.*did you mean 'target'"),
    ],
)
def test_impossible_shots_are_a_config_error(k: int, column: str | None, said: str) -> None:
    """Too many shots, a negative number and an unknown column are refused."""
    with pytest.raises(ConfigError, match=said):
        shots.choose_shots(TRAIN, TEST, k, prompt("balanced", column))


def test_without_train_rows_the_key_that_makes_some_is_named() -> None:
    """Rows without splits have none."""
    with pytest.raises(ConfigError, match=r"has 0 rows; '\+dataset\.split\.fractions={.*}' draws one"):
        shots.choose_shots(TRAIN.clear(), TEST, 1, prompt())


def test_similar_without_words_is_a_data_error() -> None:
    """Texts that consist of punctuation only cannot be compared."""
    with pytest.raises(DataError, match="no words"):
        shots.choose_shots(TRAIN.with_columns(text=pl.lit("?!")), TEST, 1, prompt("similar"))


def test_shot_with_the_id_of_an_evaluated_row_is_refused() -> None:
    """A shot with the id of an evaluated row is refused even if its text differs."""
    same = TEST.with_columns(id=pl.Series(["t1", "e1"]))
    with pytest.raises(LeakageError, match=r"1 of 2 evaluated rows are also among the shots, by id: t1\."):
        shots.choose_shots(TRAIN, same, 2, prompt())
    assert shots.choose_shots(TRAIN, same, 1, prompt()) == [[0], [0]]


def test_shot_with_the_text_of_an_evaluated_row_is_refused() -> None:
    """A copy is found despite other case, white space and sentence punctuation."""
    copy = TEST.with_columns(text=pl.Series(["other", " The CAT sat,\non the mat: number 0!"]))
    with pytest.raises(LeakageError, match="by text: e1"):
        shots.choose_shots(TRAIN, copy, 1, prompt())


def test_training_rows_of_another_data_set_are_compared_by_text_alone() -> None:
    """Rows of two data sets are the same only if their questions are equal."""
    other = TRAIN.head(1).with_columns(id=pl.lit("e0"))
    shots.refuse_leakage(TEST, other, prompt(), what="training rows", by_id=False)
    with pytest.raises(
        LeakageError, match="2 of 2 evaluated rows are also among the training rows, by text: e0, e1"
    ):
        shots.refuse_leakage(TEST, other, prompt(user="{{ target }}"), what="training rows", by_id=False)


def test_signs_of_arithmetic_are_not_punctuation() -> None:
    """3-2 and 3+2 are different questions, and so are numbers with a decimal point."""
    texts = shots.normalise_texts(pl.Series(["What is 3-2?", "what is 3+2", "What  is 3.2", "what is 32"]))
    assert texts.n_unique() == 4
    assert shots.normalise_texts(pl.Series(['"Yes," he said.']))[0] == "yes he said"
