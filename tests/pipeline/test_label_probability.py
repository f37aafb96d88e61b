"""Label probabilities are computed from token log-probabilities."""

from __future__ import annotations

from math import log

import pytest

from runner.pipeline.label_probability import compute_label_probability

LABELS = ["consistent", "inconsistent"]


def token(text, **top):
    options = [{"token": name, "logprob": log(p)} for name, p in top.items()]
    return {"token": text, "logprob": 0.0, "top": options}


@pytest.mark.parametrize(("said", "positive"), [("cons", "consistent"), ("in", "consistent")])
def test_scaled_to_the_labels(said, positive):
    """Alternatives that begin no label are left out, whichever label the model chose."""
    rest = {"cons": "istent", "in": "consistent"}[said]
    tokens = [token('{"label": "'), token(said, cons=0.3, **{"in": 0.1, "the": 0.6}), token(rest)]
    assert compute_label_probability(tokens, LABELS, positive) == pytest.approx(0.75)


def test_label_inside_a_token():
    """A label that starts inside a token is compared from there."""
    tokens = [token(' "con', **{' "con': 0.2, ' "in': 0.2}), token("sistent")]
    assert compute_label_probability(tokens, LABELS, "consistent") == pytest.approx(0.5)


def test_no_label():
    """A text without a label has no probability."""
    assert compute_label_probability([token("maybe", maybe=1.0)], LABELS, "consistent") is None
