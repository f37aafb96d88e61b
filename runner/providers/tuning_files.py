"""What fine-tuning services have in common: files, suffixes that hold a job's key, epochs, checkpoints."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard, TypeVar

from runner.core.errors import AccessError, ConfigError, DataError, ProviderError, count_of, suggest
from runner.core.redact import remember_secret
from runner.core.services import Checkpoint, Schedule, TrainingFile, TuningJob

File = TypeVar("File")
Option = tuple[Callable[[Any], bool], str]

BYTES_PER_TOKEN = 4  # of English text; other scripts take more bytes, and about as many tokens
ROLES = ("system", "user", "assistant")
UNREAD = {"uploaded", "pending", "running", "notrunning"}  # a file's state; Mistral tells none
LOST = {"error", "failed", "canceled", "cancelled", "deleting", "deleted", "expired"}
READ_WITHIN_S = 3600.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of one service. ``source`` is where it states them."""

    source: str
    least_rows: int
    most_bytes: int
    most_tokens: int
    """Per row; a longer one would be cut at its end, where the answer stands."""
    alternating: bool = False
    """Whether the turns after the system's must be the user's and the assistant's in turn."""


def read_integrations(job: TuningJob, secrets: set[str]) -> list[dict[str, Any]]:
    """The integrations as the service takes them; the keys in them are added to ``secrets``.

    A config holds ``api_key_env``, the name of a variable, and the service takes ``api_key``. Raises
    :class:`AccessError` if the variable is not set.
    """
    return [
        _put_key(item, f"finetune.integrations[{place}]", secrets)
        for place, item in enumerate(job.integrations)
    ]


def _put_key(node: Any, place: str, keys: set[str]) -> Any:
    if isinstance(node, list):
        return [_put_key(item, f"{place}[{index}]", keys) for index, item in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    found = {}
    for name, value in node.items():
        if name == "api_key_env" and value is not None:
            found["api_key"] = _read_key(str(value), f"{place}.{name}")
            keys.add(found["api_key"])
        elif name != "api_key_env":
            found[name] = _put_key(value, f"{place}.{name}", keys)
    return found


def _read_key(variable: str, place: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise AccessError(f"{place}={variable}: the environment variable is not set")
    return remember_secret(value)


def check_files(files: Iterable[TrainingFile], rules: Rules) -> None:
    """Raise :class:`DataError` for the first thing that a service would refuse: file, line and rule."""
    for file in files:
        if len(file.content) > rules.most_bytes:
            raise DataError(f"{file.name}: {len(file.content):,} bytes, allowed are {rules.most_bytes:,}")
        lines = file.content.rstrip(b"\n").split(b"\n")
        if len(lines) < rules.least_rows:
            raise DataError(
                f"{file.name}: {count_of(len(lines), 'row')}, at least {rules.least_rows} are needed"
            )
        for number, line in enumerate(lines, start=1):
            if fault := _find_fault(line, rules):
                raise DataError(f"{file.name}, line {number}: {fault} ({rules.source})")


def _find_fault(line: bytes, rules: Rules) -> str | None:
    tokens = len(line) // BYTES_PER_TOKEN
    if tokens > rules.most_tokens:
        return f"about {tokens:,} tokens, allowed are {rules.most_tokens:,}"
    try:
        messages = json.loads(line)["messages"]
    except (ValueError, KeyError, TypeError):
        return "not a JSON object with 'messages'"
    if not isinstance(messages, list) or not messages:
        return "no messages"
    return _find_turn_fault(messages) or (_find_repeated_role(messages) if rules.alternating else None)


def _find_repeated_role(messages: list[Any]) -> str | None:
    before = int(messages[0]["role"] == "system")
    for place, message in enumerate(messages[before:]):
        expected = ("user", "assistant")[place % 2]
        if message["role"] != expected:
            return f"turn {before + place + 1} is the {message['role']}'s, expected the {expected}'s"
    return None


def _find_turn_fault(messages: list[Any]) -> str | None:
    for number, message in enumerate(messages, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            return f"turn {number} has the role {role!r}, known are {', '.join(ROLES)}"
        if role == "system" and number > 1:
            return f"turn {number} is a system turn, which only the first may be"
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return f"turn {number} ({role}) is empty"
    if messages[-1]["role"] != "assistant":
        return f"the last turn is the {messages[-1]['role']}'s, expected the assistant's answer"
    return None


def is_unread(state: object) -> bool:
    """Whether a service has yet to read a file in this state, which is its own word."""
    return str(state).lower() in UNREAD


def is_lost(state: object) -> bool:
    """Whether a file in this state can never be used: unreadable, or deleted."""
    return str(state).lower() in LOST


def wait_until_read(
    file: File,
    read_state: Callable[[File], object],
    look: Callable[[], File],
    sleep: Callable[[float], None],
    what: str,
) -> File:
    """A file once the service has read it, or as one of :data:`LOST`; ``look`` returns it as it is now.

    Raises :class:`ProviderError` after an hour, in which ``what`` names the file.
    """
    waited, pause = 0.0, 1.0
    while is_unread(read_state(file)):
        if waited >= READ_WITHIN_S:
            raise ProviderError(
                f"{what} is still {read_state(file)} after {waited / 60:.0f} minutes;"
                " the same command waits for it again"
            )
        sleep(pause)
        waited, pause = waited + pause, min(2 * pause, 30.0)
        file = look()
    return file


def list_all(first: Any) -> Iterator[Any]:
    """The items of all pages of an SDK; raises :class:`ValueError` where a page has no list."""
    for page in first.iter_pages():
        if not isinstance(page.data, list) or None in page.data:
            raise ValueError("a page without items")
        yield from page.data


def need_text(value: object) -> str:
    """A text that an answer must have; raises :class:`ValueError` where it has none."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected an id or a state, found {value!r}")
    return value


def make_suffix(key: str, words: str, *, key_letters: int, letters: int) -> str:
    """A suffix of a model's name: the job's key, then the user's words; letters, digits and dashes only.

    For services whose jobs carry no metadata: the suffix is what finds the job again.

    >>> make_suffix("0123456789abcdef", "medical facts", key_letters=8, letters=18)
    '01234567-medical-f'
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-")
    return f"{key[:key_letters]}-{plain}"[:letters].rstrip("-")


def has_mark(mark: str, suffix: object, model: object) -> bool:
    """Whether a job has the mark of :func:`make_suffix`, also where only its model's name has it."""
    return str(suffix or "").startswith(mark) or mark in str(model or "")


def check_options(given: Mapping[str, Any], valid: Mapping[str, Option]) -> dict[str, Any]:
    """The options of a training, ``lora_alpha`` twice the rank where only that is given.

    ``valid`` has a test and what it expects by name. Raises :class:`ConfigError` for an option that is not in
    it, or is not what it expects.
    """
    for name, value in given.items():
        if name not in valid:
            raise ConfigError(f"finetune.options.{name}: no such option{suggest(name, valid)}")
        is_valid, expected = valid[name]
        if not is_valid(value):
            raise ConfigError(f"finetune.options.{name}={value!r}: must be {expected}")
    implied = {"lora_alpha": 2.0 * given["lora_rank"]} if "lora_rank" in given else {}
    return {**implied, **given}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is a number, no truth value, and neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


LORA_OPTIONS: Mapping[str, Option] = {
    "method": (lambda value: value in ("lora", "full"), "lora or full"),
    "lora_rank": (lambda value: isinstance(value, int) and value >= 1, "a whole number of at least 1"),
    "lora_alpha": (lambda value: is_number(value) and value > 0, "a number above 0"),
    "lora_dropout": (lambda value: is_number(value) and 0 <= value < 1, "a number from 0 to below 1"),
    "warmup_ratio": (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
}


def estimate_epochs(rows: int) -> int:
    """How often OpenAI trains on so many rows where ``n_epochs`` is not given: 3 times, more for few rows.

    The rule of https://cookbook.openai.com/examples/chat_finetuning_data_prep: 100 to 25,000 rows in all,
    in 1 to 25 epochs.

    >>> [estimate_epochs(rows) for rows in (10, 200, 20_000)]
    [10, 3, 1]
    """
    if rows * 3 < 100:
        return min(25, 100 // max(rows, 1))
    return max(1, 25_000 // rows) if rows * 3 > 25_000 else 3


@dataclass(frozen=True, slots=True)
class State:
    """A state of a training as a service lists it."""

    step: int
    model: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def number_states(listed: Iterable[State], finished: str | None, schedule: Schedule) -> list[Checkpoint]:
    """Listed states as checkpoints, each once, the finished model last and under its own name.

    Services list the finished model under its own name, under another one, or not at all. A state after the
    last step has the finished model's weights, so it is the same checkpoint whatever its name. A finished
    model whose step is not known has the step 0.
    """
    states = sorted(listed, key=lambda state: state.step)
    if finished:
        last = next((state for state in states if state.model == finished), None)
        last = last or _find_end(states, finished, schedule) or State(0, finished)
        states = [state for state in states if state.model != finished and state.step != last.step] + [last]
    numbers = _number([state.step for state in states], schedule)
    return [
        Checkpoint(number, state.step, state.model, state.metrics)
        for number, state in zip(numbers, states, strict=True)
    ]


def _find_end(states: Sequence[State], finished: str, schedule: Schedule) -> State | None:
    """The finished model, if a state under another name is that of the last epoch."""
    numbers = schedule.number([state.step for state in states], complete=False)
    if (numbers and numbers[-1] == schedule.n_epochs) or (len(states) == schedule.n_epochs == 1):
        return replace(states[-1], model=finished)
    return None


def _number(steps: Sequence[int], schedule: Schedule) -> list[int]:
    """The epochs where the steps tell them, else 1, 2, 3 …; a model without a step is the last epoch's."""
    if schedule.n_epochs and steps and steps[-1] == 0:
        before = schedule.number(steps[:-1], complete=False) or []
        if len(before) == len(steps) - 1 and schedule.n_epochs not in before:
            return [*before, schedule.n_epochs]
    return schedule.number(steps) or list(range(1, len(steps) + 1))
