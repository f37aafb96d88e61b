"""Training files are checked before anything is uploaded; checkpoints are numbered after the training."""

import json
from typing import Any

import pytest

from runner.core.errors import DataError
from runner.core.provider import Tuner
from runner.core.services import Schedule, TrainingFile
from runner.providers.local import Local
from runner.providers.mistral import Mistral
from runner.providers.openai import OpenAI
from runner.providers.tuning_files import Rules, State, check_files, make_suffix, number_states

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


FIVE = Schedule(125, 1, 5)
UNREPORTED = Schedule(125, None, 5)


@pytest.mark.parametrize("schedule", [FIVE, UNREPORTED])
@pytest.mark.parametrize("last", ["ft:1", "ft:1:ckpt-step-625", None])
def test_numbers_do_not_depend_on_how_the_last_one_is_named(last: str | None, schedule: Schedule) -> None:
    """Under its own name, under another one, or not in the list: it is the fifth epoch, and there once."""
    listed = [State(625, last, {"loss": 1.0})] if last else []
    listed += [State(500, "ft:1:ckpt-step-500"), State(375, "ft:1:ckpt-step-375")]
    found = number_states(listed, "ft:1", schedule)
    assert [(point.number, point.model) for point in found] == [
        (3, "ft:1:ckpt-step-375"),
        (4, "ft:1:ckpt-step-500"),
        (5, "ft:1"),
    ]
    assert [point.step for point in found] == [375, 500, 625 if last else 0]
    assert found[-1].metrics == ({"loss": 1.0} if last else {})


@pytest.mark.parametrize(
    ("steps", "schedule", "numbers"),
    [
        ([3, 6, 9], Schedule(10, 4, 5), [1, 2, 3, 5]),
        ([250, 375, 500], UNREPORTED, [2, 3, 4, 5]),
        ([10, 25], Schedule(), [1, 2, 3]),
        ([], UNREPORTED, [5]),
        ([], Schedule(), [1]),
        ([7], Schedule(n_epochs=1), [1]),
    ],
)
def test_a_finished_model_that_is_not_listed(
    steps: list[int], schedule: Schedule, numbers: list[int]
) -> None:
    """Comes last: as the last epoch, or counted on."""
    found = number_states([State(step, f"s{step}") for step in steps], "ft:1", schedule)
    assert [point.number for point in found] == numbers
    assert found[-1].model == "ft:1"


@pytest.mark.parametrize(
    ("steps", "end", "numbers"), [([2, 4, 6], 7, [1, 2, 3]), ([2, 4], 6, [1, 2, 3]), ([4, 6], 7, [2, 3])]
)
def test_a_finished_model_at_a_later_step(steps: list[int], end: int, numbers: list[int]) -> None:
    """Is the last epoch, so that the state of that epoch under another name is not the one before."""
    listed = [*(State(step, f"s{step}") for step in steps), State(end, "ft:1")]
    found = number_states(listed, "ft:1", Schedule(n_epochs=3))
    assert [(point.number, point.model) for point in found] == list(
        zip(numbers, [*(f"s{step}" for step in steps[: len(numbers) - 1]), "ft:1"], strict=True)
    )


def test_two_names_at_one_step_are_one_state() -> None:
    """The finished model's own name is the one that is kept."""
    found = number_states([State(2, "a"), State(4, "b"), State(4, "ft:1")], "ft:1", Schedule(n_epochs=2))
    assert [(point.number, point.model) for point in found] == [(1, "a"), (2, "ft:1")]
