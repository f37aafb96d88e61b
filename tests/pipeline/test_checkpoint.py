"""Which state of a training a config means."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.errors import ConfigError
from runner.core.services import Checkpoint
from runner.pipeline.checkpoint import check_place, name_place, pick_model, read_place

KEPT = [Checkpoint(3, 375, "c"), Checkpoint(4, 500, "d"), Checkpoint(5, 625, "e")]


@pytest.mark.parametrize(
    ("written", "model"),
    [
        (None, "e"),
        ("last", "e"),
        ("last-0", "e"),
        ("last-1", "d"),
        ("last-2", "c"),
        (3, "c"),
        ("5", "e"),
        ("ft:gpt:o::1", "ft:gpt:o::1"),
        ("latest-model", "latest-model"),
    ],
)
def test_picked(written: Any, model: str) -> None:
    """By epoch, counted from the last one, or by its id."""
    assert pick_model(written, KEPT) == model


@pytest.mark.parametrize("written", [1, "2", 6, "last-3", "last-9"])
def test_what_a_training_does_not_have(written: Any) -> None:
    """The message names all that it has."""
    with pytest.raises(ConfigError, match=r"does not exist; this training has 3, 4, 5, last, last-1, last-2"):
        pick_model(written, KEPT)


@pytest.mark.parametrize(
    "written",
    [
        0,
        -1,
        "0",
        "1.0",
        1.0,
        True,
        False,
        "",
        " ",
        "last-",
        "last 1",
        "LAST",
        "last+1",
        "Base",
        "-2",
        "last1",
    ],
)
def test_what_is_meant_as_a_place_and_is_none(written: Any) -> None:
    """Is no model id, either."""
    with pytest.raises(ConfigError, match=r"checkpoint=.*must be base, a number from 1, last, last-1"):
        read_place(written)


@pytest.mark.parametrize(
    ("written", "n_epochs", "kept"),
    [
        (1, 5, 3),
        (2, 5, 3),
        (6, 5, 3),
        ("last-3", 5, 3),
        ("last-3", None, 3),
        (4, 5, 1),
        ("last-1", None, 1),
        (3, 2, None),
    ],
)
def test_what_will_not_exist(written: Any, n_epochs: int | None, kept: int | None) -> None:
    """Is refused before the training is bought."""
    with pytest.raises(ConfigError, match=rf"checkpoint: {written} will not exist; who keeps"):
        check_place(written, n_epochs, kept, "who")


@pytest.mark.parametrize("written", ["latest", "epoch-1", "ft:gpt:o::1"])
def test_a_model_id_of_a_training_to_come(written: str) -> None:
    """A mistyped name does not buy a training, nor does a model that exists."""
    with pytest.raises(ConfigError, match=rf"{written} is taken for a model id.*finetune=none"):
        check_place(written, 5, 3, "who")


def test_the_refusal_names_what_will_be_kept() -> None:
    """Numbers where these are known, and the names counted from the last."""
    with pytest.raises(ConfigError, match=r"openai keeps of 5 epochs: 3, 4, 5, last, last-1, last-2$"):
        check_place(1, 5, 3, "openai")
    with pytest.raises(ConfigError, match=r"mistral keeps: last$"):
        check_place("last-1", None, 1, "mistral")


@pytest.mark.parametrize(
    ("written", "n_epochs", "kept"),
    [
        (3, 5, 3),
        ("last-2", 5, 3),
        (None, 5, 1),
        (5, 5, 1),
        ("base", 5, 3),
        (1, 2, 3),
        (1, None, 3),
        (7, None, None),
        ("last-9", None, None),
    ],
)
def test_what_may_exist(written: Any, n_epochs: int | None, kept: int | None) -> None:
    """What only the service knows is not refused: the training is not lost."""
    check_place(written, n_epochs, kept, "who")


def test_equal_weights_have_one_name() -> None:
    """So that an estimate counts them once."""
    assert {name_place(written, 5) for written in (None, "last", "last-0", 5, "5")} == {"last"}
    assert name_place(4, 5) == name_place("last-1", 5) == "last-1"
    assert (name_place(4, None), name_place(9, 5)) == ("4", "9")
