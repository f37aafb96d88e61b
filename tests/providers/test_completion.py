"""Answers whose parts are missing or malformed: null, or an error of their row, and never anything else."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import completion

from runner.core.adapt import check_completion
from runner.core.errors import ProviderError, RetryableError
from runner.core.types import Completion
from runner.providers.completion import parse_completion

ODD: tuple[Any, ...] = (7, 1.5, True, "text", [7], [None], {"a": 1}, [["x"]], [{"a": 1}])
"""One value of each JSON type, and some inside others."""


def choice(**fields: Any) -> dict[str, Any]:
    """A completion whose only choice has these fields."""
    body = completion()
    body["choices"][0] |= fields
    return body


def token(**fields: Any) -> dict[str, Any]:
    """A completion with the log-probabilities of one token, which has these fields."""
    found = {"token": "1", "logprob": -0.1, "top_logprobs": [], **fields}
    return choice(logprobs={"content": [found]})


PLACES = {
    "answer": lambda odd: odd,
    "choices": lambda odd: completion(choices=odd),
    "choice": lambda odd: completion(choices=[odd]),
    "message": lambda odd: choice(message=odd),
    "content": lambda odd: choice(message={"content": odd}),
    "part": lambda odd: choice(message={"content": [odd]}),
    "part's text": lambda odd: choice(message={"content": [{"type": "text", "text": odd}]}),
    "refusal": lambda odd: choice(message={"refusal": odd}),
    "finish_reason": lambda odd: choice(finish_reason=odd),
    "model": lambda odd: completion(model=odd),
    "usage": lambda odd: completion(usage=odd),
    "prompt_tokens": lambda odd: completion(usage={"prompt_tokens": odd}),
    "details": lambda odd: completion(usage={"prompt_tokens_details": odd}),
    "cached_tokens": lambda odd: completion(usage={"prompt_tokens_details": {"cached_tokens": odd}}),
    "choice's error": lambda odd: choice(error=odd),
    "reasoning": lambda odd: choice(message={"content": "1", "reasoning_content": odd, "reasoning": odd}),
    "thinking": lambda odd: choice(message={"content": [{"type": "thinking", "thinking": odd}]}),
    "part's type": lambda odd: choice(message={"content": [{"type": odd, "text": "1"}]}),
    "logprobs": lambda odd: choice(logprobs=odd),
    "tokens": lambda odd: choice(logprobs={"content": odd}),
    "token": lambda odd: token(token=odd),
    "logprob": lambda odd: token(logprob=odd),
    "top_logprobs": lambda odd: token(top_logprobs=odd),
    "error": lambda odd: {"error": odd},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_malformed_part_is_an_error_of_its_row(place: str) -> None:
    """Whatever stands wherever: an answer with parts of the right types, or a ProviderError."""
    for odd in ODD:
        with suppress(ProviderError):
            found = parse_completion(PLACES[place](odd), "service")
            assert isinstance(found.text, str)
            counts = (found.input_tokens, found.output_tokens, found.cached_tokens)
            assert all(count is None or type(count) is int for count in counts)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([1], r"the answer: expected an object, got a list: \[1\]"),
        ({"done": 1}, 'choices: expected a list, got null in an object: {"done": 1}'),
        ({"choices": []}, r"choices\[0\]: expected an object"),
        ({"choices": [{"message": {}}]}, "message has no content"),
        (choice(message={"content": None}, finish_reason=None), "neither content nor finish_reason"),
    ],
)
def test_an_unreadable_answer_may_be_asked_again(body: Any, reason: str) -> None:
    """It came from a fault on the way; the message says what is wrong."""
    with pytest.raises(RetryableError, match=f"service: the answer cannot be read: {reason}"):
        parse_completion(body, "service")


@pytest.mark.parametrize(
    "body", [{"object": "error", "message": "too long", "code": 400}, {"detail": "too long"}]
)
def test_an_error_without_its_frame_is_quoted(body: Any) -> None:
    """As vLLM and FastAPI write it, inside a 200."""
    with pytest.raises(ProviderError, match="too long"):
        parse_completion(body, "service")


def test_no_content_but_a_reason_is_an_empty_answer() -> None:
    """Where thinking used up the tokens, some servers leave the content out: it was paid, so it is kept."""
    found = parse_completion(choice(message={"role": "assistant"}, finish_reason="length"), "service")
    assert (found.text, found.finish_reason) == ("", "length")


def test_an_answer_that_a_filter_ended_is_no_answer() -> None:
    """What is left of it is not what the model would have said."""
    with pytest.raises(ProviderError, match=r"ended by the content filter \(content_filter\)"):
        parse_completion(choice(finish_reason="content_filter"), "service")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(place=st.sampled_from(sorted(PLACES)), odd=JSON | st.sampled_from([10**30, "error", "length", "-1"]))
@settings(max_examples=150, deadline=None, database=None)
def test_any_json_anywhere(place: str, odd: Any) -> None:
    """A ProviderError of the row, or an answer that is stored and read back the same."""
    with suppress(ProviderError):
        found = check_completion(parse_completion(PLACES[place](odd), "service"), "service")
        stored = json.dumps(asdict(found), ensure_ascii=False).encode()
        assert check_completion(Completion(**json.loads(stored)), "ledger") == found


def test_what_is_missing_is_null() -> None:
    """Nothing is made up; a whole number may be written with a point, or in quotes."""
    usage = {"prompt_tokens": 9.0, "prompt_tokens_details": {"cached_tokens": "3"}}
    found = parse_completion(completion(usage=usage, model=None), "service")
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (9, None, 3)
    assert (found.model, found.logprobs, found.reasoning) == ("", None, None)


@pytest.mark.parametrize(
    "body",
    [
        *(completion(usage=odd) for odd in (None, "12", [1], {"prompt_tokens": "twelve"})),
        *(completion(usage={"prompt_tokens": odd}) for odd in (-1, 1.5, True, "1e3", 10**30, float("nan"))),
        *(choice(finish_reason=odd) for odd in (None, 7, {"reason": "stop"})),
        *(choice(logprobs=odd) for odd in (7, [], {"content": 7}, {"content": [None]})),
        *(token(logprob=odd) for odd in (None, "-0.1", float("nan"), float("-inf"), 0.7, True)),
        *(token(top_logprobs=odd) for odd in (7, [None], [{"token": "1"}])),
    ],
)
def test_what_stands_beside_the_text_costs_no_answer(body: Any) -> None:
    """Counts, reasons and log-probabilities of an odd shape are unknown; the answer is kept."""
    found = parse_completion(body, "service")
    assert (found.text, found.logprobs) == ("1", None)
    assert found.input_tokens in (None, 9)


def test_an_alternative_of_probability_zero_is_none() -> None:
    """Minus infinity is left out; null alternatives are none."""
    options = [{"token": "1", "logprob": -0.1}, {"token": "2", "logprob": float("-inf")}]
    found = parse_completion(token(top_logprobs=options), "service").logprobs
    assert found == [{"token": "1", "logprob": -0.1, "top": options[:1]}]
    assert parse_completion(token(top_logprobs=None), "service").logprobs == [{**found[0], "top": []}]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (4, "expected a text, got a number: 4"),
        (True, "expected a text, got a truth value: true"),
        ({"label": "A"}, 'expected a text, got an object: {"label": "A"}'),
        (["A", "B"], 'expected parts with a type, got a text: "A"'),
        ([{"text": "A"}], "expected parts with a type, got an object"),
        ([{"type": "text", "text": 4}], "expected a text, got a part with a number: 4"),
    ],
)
def test_a_content_that_is_no_text_is_the_rows_error(content: Any, what: str) -> None:
    """It says what came; the same request would bring the same again, so it is not paid twice."""
    with pytest.raises(ProviderError) as caught:
        parse_completion(choice(message={"content": content}), "service")
    assert f"service: content: {what}" in str(caught.value)
    assert not isinstance(caught.value, RetryableError)


@pytest.mark.parametrize(
    "body",
    [
        *(choice(finish_reason=reason) for reason in ("error", "ERROR", "abort", "network_error")),
        choice(error={"code": 502, "message": "upstream"}),
        choice(error={"code": "429", "message": "slow"}),
        choice(error="overloaded"),
        completion(error={"message": "overloaded"}),
        completion("", error={"code": True}),
    ],
)
def test_an_error_inside_a_success_is_asked_again(body: Any) -> None:
    """Whatever text came with it is no answer."""
    with pytest.raises(RetryableError, match="service: "):
        parse_completion(body, "service")


def test_no_text_with_a_reason_is_an_empty_answer() -> None:
    """Null content is "" where the model stopped or called a tool, and an error where a filter did it."""
    assert parse_completion(completion(None), "service").text == ""
    called = choice(message={"content": None, "tool_calls": [{}]}, finish_reason=None)
    assert parse_completion(called, "service").text == ""
    with pytest.raises(ProviderError, match="held back by the content filter"):
        parse_completion(choice(message={"content": None}, finish_reason="SAFETY"), "service")


@pytest.mark.parametrize(
    "message",
    [
        {"content": "4", "reasoning_content": "2 + 2"},
        {"content": "4", "reasoning": "2 + 2", "reasoning_content": None},
        {"content": [{"type": "thinking", "thinking": "2 + 2"}, {"type": "text", "text": "4"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "2 + 2"}]}]},
    ],
)
def test_thinking_in_a_field_of_its_own(message: dict[str, Any]) -> None:
    """It is kept apart from the text."""
    found = parse_completion(choice(message=message), "service")
    assert found.reasoning == "2 + 2"
    assert found.text in ("4", "")
