"""Which points of a sweep may share a deployment."""

from __future__ import annotations

import pytest

from runner.experiment.model import find_need
from runner.pipeline.finetune import TRAINING_SETTINGS

CONFIG = {
    "finetune": {"name": "supervised", "dataset": {"name": "facts"}},
    "checkpoint": 1,
    "dataset": {"name": "a"},
    "prompt": {"user": "{{ q }}"},
    "provider": {"model": "m"},
    "hyperparameter": dict.fromkeys([*TRAINING_SETTINGS, "temperature"]),
}


def changed(group, **values):
    return find_need({**CONFIG, group: {**CONFIG[group], **values}})


@pytest.mark.parametrize(
    ("group", "values", "same"),
    [
        ("dataset", {"name": "b"}, True),
        ("hyperparameter", {"temperature": 1.0}, True),
        ("hyperparameter", {"seed": 1}, False),
        ("hyperparameter", {"n_epochs": 2}, False),
        ("prompt", {"user": "?"}, False),
        ("provider", {"model": "n"}, False),
        ("finetune", {"dataset": {"name": "others"}}, False),
    ],
)
def test_what_determines_a_model(group, values, same):
    """What is trained on and how, but not what is asked."""
    assert (changed(group, **values) == find_need(CONFIG)) is same


def test_the_evaluated_data_set_may_be_the_trained_one():
    """Where no other is given, its train split is what the model learns."""
    plain = {**CONFIG, "finetune": {"name": "supervised", "dataset": None}}
    assert find_need(plain) != find_need({**plain, "dataset": {"name": "b"}})


def test_no_training_needs_no_deployment():
    """Neither does the base model."""
    assert find_need({**CONFIG, "checkpoint": "base"}) is None
    assert changed("finetune", name="none") is None
