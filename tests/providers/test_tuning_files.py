"""Training files are checked by a service's rules before anything is uploaded."""

import json
from typing import Any

import pytest

from runner.core.errors import DataError
from runner.core.provider import Tuner
from runner.core.services import TrainingFile
from runner.providers.local import Local
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI
from runner.providers.tuning_files import Rules, check_files, make_suffix

RULES = Rules(source="the rules", least_rows=2, most_bytes=2000, most_tokens=50)
USER, GOLD = {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}


def file(*rows: Any) -> TrainingFile:
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    return TrainingFile("train.jsonl", b"\n".join(lines) + b"\n", len(rows))


def chat(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def test_a_good_file_passes() -> None:
    """Several turns, a system turn in front, and a line separator of Unicode inside a text."""
    system = {"role": "system", "content": "brief\u2028now"}
    check_files([file(chat(system, USER, GOLD), chat(USER, GOLD, USER, GOLD))], RULES)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"no json", "not a JSON object"),
        ([1], "not a JSON object"),
        ({"prompt": "x"}, "not a JSON object"),
        (chat(), "no messages"),
        (chat(USER), "the last turn is the user's"),
        (chat({"role": "human", "content": "x"}, GOLD), "turn 1 has the role 'human'"),
        (chat("x", GOLD), "turn 1 has the role None"),
        (chat(USER, {"role": "system", "content": "x"}, GOLD), "turn 2 is a system turn"),
        (chat(USER, {"role": "assistant", "content": " "}), "turn 2 .assistant. is empty"),
        (chat(USER, {"role": "assistant", "content": None}), "turn 2 .assistant. is empty"),
        (chat({"role": "user", "content": "x" * 300}, GOLD), "about 96 tokens, allowed are 50"),
    ],
)
def test_a_bad_row_is_named(row: Any, reason: str) -> None:
    """File, line and rule, and where the service states it."""
    with pytest.raises(DataError, match=rf"train\.jsonl, line 2: {reason}.*\(the rules\)"):
        check_files([file(chat(USER, GOLD), row)], RULES)


def test_too_few_rows_or_too_many_bytes() -> None:
    """Both are rules of a whole file."""
    with pytest.raises(DataError, match="1 row, at least 2"):
        check_files([file(chat(USER, GOLD))], RULES)
    with pytest.raises(DataError, match="bytes, allowed are 2,000"):
        check_files([file(*[chat(USER, GOLD)] * 40)], RULES)


def test_each_service_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI wants ten rows, Mistral takes one; neither is asked."""
    nine = file(*[chat(USER, GOLD)] * 9)
    with pytest.raises(DataError, match="at least 10"):
        OpenAI(model="m").tuner().check((nine,))
    Mistral(model="m").tuner().check((nine,))


@pytest.mark.parametrize(
    ("tuner", "epochs"),
    [
        (OpenAI(model="m").tuner(), [25, 10, 3, 3, 1]),
        (Mistral(model="m").tuner(), [25, 10, 3, 3, 1]),
        (Local().tuner(), [3] * 5),
    ],
)
def test_default_epochs(tuner: Tuner, epochs: list[int]) -> None:
    """More for few rows and fewer for many, by OpenAI's rule; the local trainer has one number."""
    assert [tuner.default_epochs(rows) for rows in (1, 10, 34, 8_333, 25_000)] == epochs


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", "ffff"),
        ("fib", "ffff-fib"),
        ("ä long/name", "ffff-long"),
        ("abcde fgh", "ffff-abcde"),
        ("--", "ffff"),
    ],
)
def test_a_suffix_fits_and_starts_with_the_key(wanted: str, found: str) -> None:
    """Only letters, digits and dashes, never ending in a dash, however short the service wants it."""
    assert make_suffix("f" * 64, wanted, key_letters=4, letters=10) == found
