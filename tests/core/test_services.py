"""Epochs are told from the steps of checkpoints."""

from __future__ import annotations

import math
import random

import pytest

from runner.core.services import Schedule


@pytest.mark.parametrize("reported", [True, False])
def test_the_last_states_of_any_training(reported: bool) -> None:
    """However many states are kept, and whether a small last batch counts or not, the number is the epoch."""
    chance = random.Random(0)
    for _ in range(2000):
        rows, batch, epochs, keeps = (chance.randint(1, most) for most in (500, 64, 25, 25))
        per_epoch = max(1, chance.choice([math.ceil, math.floor])(rows / batch))
        kept = list(range(max(1, epochs - keeps + 1), epochs + 1))
        schedule = Schedule(rows, batch if reported else None, epochs)
        assert schedule.number([per_epoch * epoch for epoch in kept]) == kept, (rows, batch, epochs)


@pytest.mark.parametrize(
    ("schedule", "steps", "epochs"),
    [
        (Schedule(125, 1), [375, 500, 625], [3, 4, 5]),
        (Schedule(125, 2), [125, 188, 250], [2, 3, 4]),
        (Schedule(10, 4), [5, 8, 10], [2, 3, 4]),
        (Schedule(n_epochs=5), [375, 500, 625], [3, 4, 5]),
        (Schedule(125, 8), [10, 20, 30], None),
        (Schedule(125), [10, 20], None),
        (Schedule(125, 8), [1, 2], None),
        (Schedule(125, 8, 2), [0, 16], None),
        (Schedule(), [], None),
    ],
)
def test_epochs(schedule: Schedule, steps: list[int], epochs: list[int] | None) -> None:
    """By batch and rows, else by the number of epochs; nothing where they do not fit."""
    assert schedule.number(steps) == epochs


def test_a_list_without_its_end() -> None:
    """Without a batch size its states are one epoch apart, if that fits."""
    assert Schedule(n_epochs=5).number([250, 375, 500], complete=False) == [2, 3, 4]
    assert Schedule(n_epochs=5).number([250, 400], complete=False) is None
    assert Schedule(n_epochs=5).number([250], complete=False) is None


@pytest.mark.parametrize("word", ["auto", None, 0, -1, "x", True, 1.5, "\u0663"])
def test_what_a_job_does_not_report_as_a_number(word: object) -> None:
    """Is as the order said it; a number as text counts."""
    assert Schedule(10, 4, 3).fill(word, word) == Schedule(10, 4, 3)
    assert Schedule(10, 4, 3).fill("8", 5) == Schedule(10, 8, 5)
