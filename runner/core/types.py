"""Values that several packages exchange. Rows are exchanged as polars frames."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    import polars as pl

CUT = (
    r"(?im)^(length|max_tokens|max_length|max_output_tokens|max_completion_tokens|token_limit|model_length"
    r"|model_context_window_exceeded)$"
)
"""A pattern for the values of ``finish_reason`` that say that a token limit ended the answer, one a line."""

FULL = r"(?im)^(model_length|model_context_window_exceeded)$"
"""Those of them that say that prompt and answer filled the model's context."""


Direction = Literal["higher", "lower", "none", ""]
"""Which of two scores is better; ``none`` for a number that is neither good nor bad, such as a count."""


def advise_on_cut(reasons: Iterable[str], key: str = "") -> str:
    """What to change where a token limit ended answers, by the values of ``finish_reason``.

    >>> advise_on_cut(["length", "model_length"], "judge.")
    'raise judge.hyperparameter.max_tokens'
    """
    if all(re.search(FULL, reason) for reason in reasons):
        raised = f"raise {key}provider.context_length (local)"
        return f"shorten the prompt or {raised}, since the model's context was full"
    return f"raise {key}hyperparameter.max_tokens"


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample an answer. None is not sent, so that the server's default applies."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    logprobs: int | None = None
    """Number of alternatives per token whose log-probabilities are requested."""
    response_format: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: Mapping[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    thinking_tokens: int | None = None
    """The most tokens of thinking; 0 turns it off."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    ``row`` is the data row of the question: the whole row for a provider that is not ``stored``, such as
    ``replay``, otherwise only its ``id``. ``fresh`` names the set of answers that the answer belongs to: the
    same question may be asked once for each. ``repeat`` says how often the set has been asked it before.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    row: Mapping[str, Any] = field(default_factory=dict)
    fresh: str | None = None
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. Token counts are None where the server does not report them."""

    text: str
    """As it came, thinking between tags included; :mod:`runner.parse.thinking` takes that out."""
    model: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    """Part of ``input_tokens`` that the server billed as cached."""
    cache_write_tokens: int | None = None
    """Part of ``input_tokens`` that was written to the server's cache, if that is billed."""
    batch: bool | None = None
    """True for an answer from a batch, which costs less; None for a live one."""
    logprobs: list[dict[str, Any]] | None = None
    """Per token: ``token``, ``logprob``, ``top`` (a list of token and logprob). No other keys are kept."""
    latency_s: float | None = None
    reasoning_tokens: int | None = None
    """Part of ``output_tokens`` that the model thought with."""
    reasoning: str | None = None
    """What the server sent as the model's thinking in a field of its own."""


class Parser(Protocol):
    """Turns the text of a completion into a value, or None where it has no clear one.

    It may also have ``read(text)``, which gives the same value as a :class:`Reading`.
    """

    def __call__(self, text: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser found in a text, and how.

    value       as ``parser(text)`` gives it; None if there is no clear one
    rule        in a few words: the rule that found the value, or why there is none
    start, end  the characters of the text that were read; None if none were
    """

    value: Any
    rule: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A measured number with its uncertainty.

    ``low`` and ``high`` bound the confidence interval (None where it is not defined); ``n`` counts the
    rows behind the number. ``reason`` says why there is no value, or what to know about it. ``direction``
    says which of two values is better; empty where nobody has said it, as in records of older versions.
    ``least`` and ``most`` are the ends of what it can be, where there are some and they are known.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = field(default="", compare=False)
    direction: Direction = field(default="", compare=False)
    least: float | None = field(default=None, compare=False, repr=False)
    most: float | None = field(default=None, compare=False, repr=False)


_ANSWER = (
    "messages", "completion", "reasoning", "error", "answered_by", "finish_reason", "input_tokens",
    "output_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens", "cost_usd", "latency_s",
    "stored", "ledger_key", "logprobs",
)  # fmt: skip
_JINJA = ("self", "loop", "none", "true", "false", "None", "True", "False")
RESERVED = frozenset(
    {
        *_JINJA,
        "row",
        "shots",
        "gold",
        "repeat",
        "scored_from",
        "judge_verdicts",
        "judge_calls",
        "judge_orders",
        "judge_paid_usd",
        "judge_new_tokens",
        "prediction",
        "reading",
        "probability",
        "verdict",
        "judge_reading",
    }
    | {f"{prefix}{name}" for prefix in ("", "judge_") for name in _ANSWER}
)
"""Names that no column of a data set may have: those that mean something else in templates, and those of the
columns that a run adds."""


REPEAT = "repeat"
"""The column that counts the answers to one row from 0. Only rows that are asked several times have it."""


def list_keys(frame: pl.DataFrame) -> list[str]:
    """The columns that together name one answer: the row's ``id``, and ``repeat`` if there are several."""
    return ["id", REPEAT] if REPEAT in frame.columns else ["id"]


AGREEMENT, PAIR = "panel_agreement", "_{}_and_{}"
"""The metric of a panel of judges whose scores are told in one line."""


def list_members(columns: Iterable[str]) -> list[str]:
    """The names of the judges of a panel, by the columns that a run adds for each; [] for a single judge.

    >>> list_members(["verdict", "judge_ledger_key", "judge_strict_ledger_key"])
    ['strict']
    """
    found = (re.fullmatch(r"judge_(\w+)_ledger_key", name) for name in columns)
    return [each[1] for each in found if each]


def write_value(value: Any) -> str:
    """A value of a row as text, the same wherever one is written: prompts, gold values, ids, names of splits.

    Nothing is empty text, truth values are ``true`` and ``false``, lists and objects are JSON.

    >>> [write_value(value) for value in (None, True, 4, 4.0, "007", ["ü", None])]
    ['', 'true', '4', '4.0', '007', '["ü", null]']
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"  # 0.0000001, and not 1E-7
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=write_value)
    return str(value)


def write_column(column: pl.Series) -> pl.Series:
    """A column with each value as :func:`write_value` writes it; null stays null."""
    import polars as pl

    if column.dtype == pl.String:
        return column
    texts = [None if value is None else write_value(value) for value in column.to_list()]
    return pl.Series(column.name, texts, dtype=pl.String)


def format_dollars(amount: float) -> str:
    """An amount with four decimals, a small one with two digits, so that nothing paid looks like nothing.

    What is left of rounding is nothing.

    >>> [format_dollars(each) for each in (1234.5, 0.0, 0.000036, 5.7e-17)]
    ['1,234.5000', '0.0000', '0.000036', '0.0000']
    """
    decimals = 1 - math.floor(math.log10(amount)) if 1e-9 < amount < 0.0001 else 4
    return f"{amount:,.{decimals}f}"
