"""What a row gets of an answer: the text without the thinking, or the reason why there is none."""

from __future__ import annotations

import json

import polars as pl
import pytest

from runner.config.schema import PromptConfig
from runner.core.types import Completion, Sampling
from runner.engine.call import UNASKED, Answer
from runner.parse import Label
from runner.pipeline.answer import Responder, add_answers, parse_answers
from runner.pipeline.prompt import compile_prompt
from runner.providers.openai import OpenAICompatible

PROMPT = compile_prompt(PromptConfig(name="p", user="{{ q }}"))


def answer(text, finish="stop", prefix="", tags=("<think>",), key="", **fields):
    """The row that one completion makes."""
    provider = OpenAICompatible(model="m", base_url="http://localhost", thinking_tags=tags)
    responder = Responder(PROMPT, provider, Label(["A", "B"]), Sampling(logprobs=2), key=key)
    completion = Completion(text, finish_reason=finish, **fields)
    frame = add_answers(pl.DataFrame({"id": ["0"]}), [Answer(completion)], responder, prefix)
    return parse_answers(frame, responder.parser, prefix).row(0, named=True)


def logprobs(*texts):
    return [{"token": text, "logprob": -0.1, "top": []} for text in texts]


def test_thinking_is_apart():
    """From tags and from a field of its own; only the answer is parsed."""
    row = answer("<think>A or</think> B", reasoning="A?")
    assert (row["completion"], row["reasoning"], row["prediction"]) == ("B", "A?\n\nA or", "B")
    assert answer("A")["reasoning"] is None
    assert answer("<think>B</think>A", tags=[])["completion"] == "<think>B</think>A"


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("<think>A or", "length", "the token limit ended the answer before it began"),
        ("", "max_tokens", "raise hyperparameter.max_tokens"),
        ("<think>A</think>\n", "MODEL_LENGTH", "the model's context was full"),
        ("<think>A or", "stop", "the thinking in the answer has no end"),
    ],
)
def test_an_answer_that_did_not_begin(text, finish, reason):
    """It is null with the reason, and never the thought."""
    row = answer(text, finish)
    assert (row["completion"], row["prediction"]) == (None, None)
    assert reason in row["error"]


def test_an_answer_that_is_empty_or_cut_is_what_it_is():
    """An empty one that the model ended, and the begin of a cut one."""
    assert [answer("")[name] for name in ("completion", "error")] == ["", None]
    assert [answer("B, si", "length")[name] for name in ("completion", "error")] == ["B, si", None]


def test_the_judges_keys_are_named():
    """Those of a member are its own."""
    for key in ("judge.", "judge.members.one."):
        row = answer("", "length", "judge_", key=key)
        assert f"raise {key}hyperparameter.max_tokens" in row["judge_error"]


def test_logprobs_are_those_of_the_answer():
    """Tokens of the thinking are left out; where the answer's are not found, there are none."""
    tokens = logprobs("<think>", "A", "</think>", " ", "B")
    assert json.loads(answer("<think>A</think> B", logprobs=tokens)["logprobs"]) == tokens[4:]
    assert json.loads(answer("B", reasoning="A", logprobs=logprobs("A", "B"))["logprobs"]) == logprobs("B")
    assert json.loads(answer(" B", logprobs=logprobs(" B"))["logprobs"]) == logprobs(" B")
    assert answer("B", reasoning="A", logprobs=logprobs("A"))["logprobs"] is None


def test_no_answer_has_no_columns_of_its_own():
    """A row that was not asked has nulls."""
    provider = OpenAICompatible(model="m", base_url="http://localhost")
    responder = Responder(PROMPT, provider, Label(["A", "B"]), Sampling())
    row = add_answers(pl.DataFrame({"id": ["0"]}), [UNASKED], responder).row(0, named=True)
    assert {row[name] for name in ("completion", "reasoning", "error", "finish_reason")} == {None}
