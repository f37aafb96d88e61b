"""The scores of a sweep over a number."""

from __future__ import annotations

import pytest
import tracked

from runner.core.types import Score
from runner.tracking.sweep_curves import trace_curves


def sweep(*swept, **changes):
    """Finished points with these swept keys, whose accuracy is their place."""
    return [
        tracked.record(str(place), swept=keys, scores={"accuracy": Score(place)}, **changes)
        for place, keys in enumerate(swept)
    ]


@pytest.mark.parametrize(
    ("key", "values", "curve"),
    [
        ("hyperparameter.n_shot", [0, 3, 1], [(0, 0), (1, 2), (3, 1)]),
        ("hyperparameter.temperature", [1.0, 0.0], [(0, 1), (1, 0)]),
        ("hyperparameter.learning_rate", [1e-3, 1e-5, 1e-4], [(0, 1), (1, 2), (2, 0)]),
        ("checkpoint", ["base", 1, 2], [(0, 0), (1, 1), (2, 2)]),
        ("prompt", ["a", "b"], None),
        ("fresh", [True, False], None),
        ("hyperparameter.n_shot", [1], None),
        ("hyperparameter.max_tokens", [None, 5], None),
    ],
)
def test_a_swept_number_is_the_step(key, values, curve):
    """Whole numbers as they are, others by their order; what is no number has no curve."""
    found = trace_curves(sweep(*({key: value} for value in values)))
    steps = [(step, value) for step, value, _ in found.points["curve/accuracy"]] if found else None
    assert steps == curve
    if key.endswith("learning_rate"):
        assert "step 0 is 1e-05, 1 is 0.0001, 2 is 0.001" in found.describe()


def test_named_checkpoints_have_their_numbers():
    """``last`` and ``last-1`` stand for the checkpoint that was evaluated; a point that failed has none."""
    points = sweep(
        {"checkpoint": "base"}, {"checkpoint": "last-1"}, {"checkpoint": "last"}, {"checkpoint": 9}
    )
    for point, number in zip(points[1:], (4, 5, 9), strict=True):
        point.models = [{"number": n, "evaluated": n == number} for n in (number - 1, number)]
    points[3].status = "failed"
    found = trace_curves(points)
    assert [step for step, *_ in found.points["curve/accuracy"]] == [0, 4, 5]


def test_other_keys_make_a_curve_each():
    """Of two numbers the one with more values is the step; too many settings give no curve."""
    grid = [{"dataset": data, "n_shot": shots} for data in ("a/b", "c") for shots in (0, 1)]
    assert set(trace_curves(sweep(*grid)).points) == {"curve/accuracy/a b", "curve/accuracy/c"}
    seeds = [{"seed": seed, "n_shot": shots} for seed in (1, 2) for shots in (0, 1, 3)]
    assert trace_curves(sweep(*seeds)).axis == "n_shot"
    wide = [{"prompt": str(text), "n_shot": shots} for text in range(9) for shots in (0, 1)]
    assert trace_curves(sweep(*wide)) is None
    assert trace_curves([]) is None
