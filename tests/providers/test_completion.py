"""Answers whose parts are missing or malformed: null, or an error of their row, and never anything else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from servers import completion

from runner.core.errors import ProviderError, RetryableError
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
        ({}, "choices: expected a list, got null"),
        ({"choices": []}, r"choices\[0\]: expected an object"),
        ({"choices": [{"message": {}}]}, "message has no content"),
        (choice(message={"content": None}, finish_reason=None), "neither content nor finish_reason"),
    ],
)
def test_an_unreadable_answer_may_be_asked_again(body: Any, reason: str) -> None:
    """It came from a fault on the way; the message says what is wrong."""
    with pytest.raises(RetryableError, match=f"service: the answer cannot be read: {reason}"):
        parse_completion(body, "service")


def test_what_is_missing_is_null() -> None:
    """Nothing is made up; a whole number may be written with a point."""
    found = parse_completion(completion(usage={"prompt_tokens": 9.0}, model=None), "service")
    assert (found.input_tokens, found.output_tokens, found.model, found.logprobs) == (9, None, "", None)
