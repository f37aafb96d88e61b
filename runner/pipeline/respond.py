"""Rows to messages to completions to predictions: the middle of every run, and of every judge."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice
from typing import Any

import polars as pl

from runner import parse
from runner.config.schema import HyperparameterConfig, PromptConfig
from runner.core.errors import ConfigError
from runner.core.provider import Provider
from runner.core.types import Completion, Parser, Request, Sampling
from runner.engine import ask, batch
from runner.engine.ask import Answer, Purse
from runner.engine.ledger import Ledger
from runner.money import prices
from runner.money.prices import Book
from runner.pipeline.prompt import Prompt

log = logging.getLogger(__name__)
_warned: set[str] = set()

Advance = Callable[[str, int], Callable[[int], None]]
"""Given a title and a total, returns what is told how many more are done."""


TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
PROBED = 50  # rows that tell whether a run has something to ask: the ledger has mostly all or none of them
NOTICE = timedelta(days=90)
PART = 5_000  # rows made into a column at a time: as Python objects they take ten times the space
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def unwatched(title: str, total: int) -> Callable[[int], None]:
    """An :data:`Advance` that shows nothing."""
    return lambda count: None


@dataclass(frozen=True)
class Responder:
    """A prompt, a provider and a parser: what turns rows into predictions."""

    prompt: Prompt
    provider: Provider
    parser: Parser
    sampling: Sampling
    book: Book = field(default_factory=prices.load_prices)
    asks: bool = True
    """False where nothing will be asked, so that no key is needed."""

    def check(self, columns: Sequence[str] | None = None) -> None:
        """Let the provider refuse settings, or rows without a column that it needs, before any call."""
        check = getattr(self.provider, "check", None)
        if check and self.asks:
            check(self.sampling, columns)
        named = getattr(self.provider, "priced_as", None)
        if named and self.book.price(self.provider.name, named) is None:
            raise ConfigError(f"provider.priced_as={named}: no price of {self.provider.name} has this name")


def sampling(hyperparameter: HyperparameterConfig, prompt: PromptConfig) -> Sampling:
    """The part of the hyperparameters that an inference request carries."""
    return Sampling(
        temperature=hyperparameter.temperature,
        top_p=hyperparameter.top_p,
        max_tokens=hyperparameter.max_tokens,
        seed=hyperparameter.seed,
        stop=tuple(hyperparameter.stop) if hyperparameter.stop else None,
        logprobs=hyperparameter.logprobs,
        response_format=prompt.response_format.value,
        json_schema=prompt.json_schema,
    )


def render(
    frame: pl.DataFrame,
    prompt: Prompt,
    shots: Sequence[Sequence[Mapping[str, Any]]] | None = None,
    column: str = "messages",
) -> pl.DataFrame:
    """Add the rendered chats. ``shots`` holds the shot rows of each row; None means no shots."""
    rows = enumerate(frame.iter_rows(named=True))
    chats = pl.Series(column, [], dtype=MESSAGES)
    while part := [prompt.messages(row, shots[i] if shots else ()) for i, row in islice(rows, PART)]:
        chats.append(pl.Series(column, part, dtype=MESSAGES))
    return frame.with_columns(chats)


def complete(
    frame: pl.DataFrame,
    responder: Responder,
    ledger: Ledger,
    advance: Callable[[int], None],
    prefix: str = "",
    purse: Purse | None = None,
) -> pl.DataFrame:
    """Add ``completion``, ``error``, token counts, latency, cost, ``stored`` and ``ledger_key``.

    ``stored`` is true for what cost nothing now, null for what was not asked for want of money (``purse``).
    ``cost_usd`` is what the answer cost whenever it was bought, null if that is not known. A row without an
    answer, and one that asks what another row asks, cost nothing.
    """
    _warn_of_shutdown(frame, responder, ledger, prefix)
    asked = requests(frame, responder, prefix)
    asking = batch.ask if getattr(responder.provider, "batch", False) else ask.ask
    answers = asking(asked, responder.provider, ledger, advance=advance, purse=purse)
    return _answered(frame, answers, responder, prefix)


def silent(frame: pl.DataFrame, responder: Responder) -> pl.DataFrame:
    """The columns of :func:`complete` as if nothing had been asked."""
    frame = _answered(frame, [ask.UNASKED] * frame.height, responder, "")
    options = getattr(responder.provider, "options", None) or {}
    wanted = responder.sampling.logprobs is not None or "logprobs" in options
    return frame.with_columns(logprobs=pl.lit(None, pl.String)) if wanted else frame


def _answered(
    frame: pl.DataFrame, answers: Sequence[Answer], responder: Responder, prefix: str
) -> pl.DataFrame:
    completions = [answer.completion for answer in answers]

    def column(name: str, values: Sequence[Any], dtype: Any) -> pl.Series:
        return pl.Series(f"{prefix}{name}", values, dtype=dtype)

    def given(name: str) -> list[Any]:
        return [getattr(completion, name) if completion else None for completion in completions]

    bought = _first([id(answer) for answer in answers])
    frame = _with_logprobs(frame, completions, prefix)
    return frame.with_columns(
        column("completion", given("text"), pl.String),
        column("error", [answer.error for answer in answers], pl.String),
        column("answered_by", given("model"), pl.String),
        column("finish_reason", given("finish_reason"), pl.String),
        *(column(name, given(name), pl.Int64) for name in TOKENS),
        column("cost_usd", _costs(completions, bought, responder), pl.Float64),
        column("latency_s", given("latency_s"), pl.Float64),
        column("stored", [_stored(*pair) for pair in zip(answers, bought, strict=True)], pl.Boolean),
        column("ledger_key", [answer.key for answer in answers], pl.String),
    )


def _first(items: Sequence[int]) -> list[bool]:
    """Whether each item stands there for the first time."""
    place = {item: number for number, item in reversed(list(enumerate(items)))}
    return [place[item] == number for number, item in enumerate(items)]


def _stored(answer: Answer, first: bool) -> bool | None:
    return None if answer is ask.UNASKED else answer.stored or not first


def _costs(
    completions: Sequence[Completion | None], bought: Sequence[bool], responder: Responder
) -> list[float | None]:
    provider, book = responder.provider, responder.book
    known = book.of(provider)
    by_model = {c.model: known or book.price(provider.name, c.model) for c in completions if c}
    costs: list[float | None] = []
    for completion, first in zip(completions, bought, strict=True):
        price = by_model[completion.model] if completion else None
        paid = completion if first else None
        costs.append((price.cost(paid) if price else None) if paid else 0.0)
    return costs


def unanswered(frame: pl.DataFrame, responder: Responder, ledger: Ledger, prefix: str = "") -> bool:
    """Whether the ledger lacks the answer to any rendered row."""
    keys = ask.request_keys(responder.provider, requests(frame, responder, prefix))
    return len(ledger.get_many(ask.KIND, keys)) < len(set(keys))


def _warn_of_shutdown(frame: pl.DataFrame, responder: Responder, ledger: Ledger, prefix: str) -> None:
    """Say once if a model is about to be shut down, where there is something to ask it."""
    announced, model = getattr(responder.provider, "shutdown_date", None), responder.provider.model
    if announced is None or model in _warned or not unanswered(frame.head(PROBED), responder, ledger, prefix):
        return
    day = announced()
    if day and day <= date.today() + NOTICE:
        _warned.add(model)
        log.warning("%s is shut down on %s, in %d days", model, day, (day - date.today()).days)


def requests(frame: pl.DataFrame, responder: Responder, prefix: str = "") -> list[Request]:
    """What is asked for each row: its rendered chat with the responder's sampling."""
    rows = frame.iter_rows(named=True)
    # whole rows only for those who read them, as they are held until all is answered
    whole = not getattr(responder.provider, "stored", True)
    return [
        Request(tuple(row[f"{prefix}messages"]), responder.sampling, row if whole else {"id": row["id"]})
        for row in rows
    ]


def _with_logprobs(
    frame: pl.DataFrame, completions: Sequence[Completion | None], prefix: str
) -> pl.DataFrame:
    """Token log-probabilities as JSON, where the provider gave any."""
    tokens = [completion.logprobs if completion else None for completion in completions]
    if not any(tokens):
        return frame
    texts = [json.dumps(item, ensure_ascii=False) if item else None for item in tokens]
    return frame.with_columns(pl.Series(f"{prefix}logprobs", texts, dtype=pl.String))


def predict(frame: pl.DataFrame, parser: Parser, prefix: str = "", name: str = "prediction") -> pl.DataFrame:
    """Add what the parser reads in the completions; null where it reads nothing."""
    return frame.with_columns(parse.apply(parser, frame[f"{prefix}completion"]).alias(name))
