"""Label probabilities are computed from token log-probabilities."""

from __future__ import annotations

import json
from math import log

import polars as pl
import pytest

from runner.parse import Json, Label, Number, Regex
from runner.pipeline.label_probability import add_probability

LABELS = ["consistent", "inconsistent"]
READ = Label(LABELS)


def token(text, **top):
    options = [{"token": name, "logprob": log(p)} for name, p in top.items()]
    return {"token": text, "logprob": 0.0, "top": options}


def probability(tokens, parser, positive, completion=None):
    """The probability that a row with these tokens gets."""
    text = "".join(each["token"] for each in tokens) if completion is None else completion
    frame = pl.DataFrame({"completion": [text], "logprobs": [json.dumps(tokens)]})
    return add_probability(frame, parser, positive)["probability"][0]


@pytest.mark.parametrize(("said", "positive"), [("cons", "consistent"), ("in", "consistent")])
def test_scaled_to_the_labels(said, positive):
    """Alternatives that begin no label are left out, whichever label the model chose."""
    rest = {"cons": "istent", "in": "consistent"}[said]
    tokens = [token('{"label": "'), token(said, cons=0.3, **{"in": 0.1, "the": 0.6}), token(rest + '"}')]
    assert probability(tokens, Json("label", then=READ), positive) == pytest.approx(0.75)


def test_label_inside_a_token():
    """A label that starts inside a token is compared from there."""
    tokens = [token('Answer: "'), token(' "con', **{' "con': 0.2, ' "in': 0.2}), token("sistent")]
    assert probability(tokens[1:], READ, "consistent") == pytest.approx(0.5)


def test_no_label():
    """A text without a label has no probability."""
    assert probability([token("maybe", consistent=1.0)], READ, "consistent") is None


def test_the_place_that_the_parser_read_counts():
    """A later word that begins like a label does not, and neither does an alternative of this kind."""
    tokens = [
        token("No", Yes=0.2, No=0.6, Nothing=0.2),
        token(", it says "),
        token("nothing", no=1.0, yes=9.0),
    ]
    parser = Label(["yes", "no"])
    assert probability(tokens, parser, "yes") == pytest.approx(0.25)


def test_labels_may_be_whole_numbers_and_have_other_names():
    """The positive label may be a number in YAML; alternatives are compared with all names of a label."""
    tokens = [token("1", **{"1": 0.3, "0": 0.1})]
    assert probability(tokens, Label([0, 1]), 1) == pytest.approx(0.75)
    assert probability(tokens, Number(choices=[0, 1]), "1") == pytest.approx(0.75)
    tokens = [token("("), token("a", a=0.3, b=0.1), token(")")]
    assert probability(tokens, Regex(r"\((.)\)", then=Label({1: ["a"], 0: ["b"]})), 1) == pytest.approx(0.75)


def test_a_token_that_begins_two_labels():
    """The probability of one of the two is not known; that of a third label is."""
    tokens = [token("yes", yes=0.5, n=0.5)]
    parser = Label(["yes", "no", "never"])
    assert probability(tokens, parser, "yes") == pytest.approx(0.5)
    assert probability(tokens, parser, "no") is None


def test_the_answer_is_found_behind_the_thinking():
    """Tokens hold more than the completion; where they do not hold it there is no probability."""
    tokens = [token("<think>no"), token("</think>"), token("yes", yes=0.8, no=0.2)]
    parser = Label(["yes", "no"])
    assert probability(tokens, parser, "yes", "yes") == pytest.approx(0.8)
    assert probability(tokens, parser, "yes", "yes!") is None


def test_a_parser_that_does_not_say_where():
    """A user's parser with labels, but without a place."""

    class Mine:
        labels = ("yes", "no")

        def __call__(self, text):
            return text

    assert probability([token("yes", yes=0.8, no=0.2)], Mine(), "yes") is None
