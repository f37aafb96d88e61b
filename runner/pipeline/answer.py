"""Rows to chats to completions to predictions: the middle of every run, and of every judge."""

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
from runner.engine.ask import Advance, ask_all
from runner.engine.call import KIND, UNASKED, Allowance, Answer, make_keys
from runner.engine.ledger import Ledger
from runner.money import prices
from runner.money.prices import PriceBook
from runner.pipeline.prompt import Prompt

log = logging.getLogger(__name__)
_warned: set[str] = set()

OpenBar = Callable[[str, int], Advance]
"""Given a title and a number of rows, opens a progress bar and returns what moves it."""

TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
PROBED = 50  # rows that tell whether a run has something to ask: the ledger has mostly all or none of them
NOTICE = timedelta(days=90)
PART = 5_000  # rows made into a column at a time: as Python objects they take ten times the space
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def open_no_bar(title: str, total: int) -> Advance:
    """An :data:`OpenBar` that shows nothing."""
    return lambda count: None


@dataclass(frozen=True)
class Responder:
    """A prompt, a provider and a parser: what turns rows into predictions."""

    prompt: Prompt
    provider: Provider
    parser: Parser
    sampling: Sampling
    book: PriceBook = field(default_factory=prices.load_prices)
    asks: bool = True
    """False where nothing will be asked, so that no key is needed."""

    def check(self, columns: Sequence[str] | None = None) -> None:
        """Let the provider refuse settings, or rows without a column that it needs, before any call."""
        self.provider.check_limits()
        if self.asks:
            self.provider.check(self.sampling, columns)
        named = self.provider.priced_as
        if named and self.book.price(self.provider.name, named) is None:
            raise ConfigError(f"provider.priced_as={named}: no price of {self.provider.name} has this name")


def make_sampling(hyperparameter: HyperparameterConfig, prompt: PromptConfig) -> Sampling:
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


def render_chats(
    frame: pl.DataFrame,
    prompt: Prompt,
    shots: Sequence[Sequence[Mapping[str, Any]]] | None = None,
    column: str = "messages",
) -> pl.DataFrame:
    """Add the chat of each row. ``shots`` holds the shot rows of each row; None means no shots."""
    rows = enumerate(frame.iter_rows(named=True))
    chats = pl.Series(column, [], dtype=MESSAGES)
    while part := [prompt.render_chat(row, shots[i] if shots else ()) for i, row in islice(rows, PART)]:
        chats.append(pl.Series(column, part, dtype=MESSAGES))
    return frame.with_columns(chats)


def answer_rows(
    frame: pl.DataFrame,
    responder: Responder,
    ledger: Ledger,
    advance: Advance,
    allowance: Allowance | None = None,
) -> pl.DataFrame:
    """Ask the chats of a frame and add the columns of :func:`add_answers`."""
    warn_of_shutdown(frame, responder, ledger)
    requests = make_requests(frame, responder)
    answers = ask_all(requests, responder.provider, ledger, advance=advance, allowance=allowance)
    return add_answers(frame, answers, responder)


def leave_unanswered(frame: pl.DataFrame, responder: Responder) -> pl.DataFrame:
    """Add the columns of :func:`add_answers` as if nothing had been asked."""
    frame = add_answers(frame, [UNASKED] * frame.height, responder)
    if responder.provider.gives_logprobs(responder.sampling):
        frame = frame.with_columns(logprobs=pl.lit(None, pl.String))
    return frame


def add_answers(
    frame: pl.DataFrame, answers: Sequence[Answer], responder: Responder, prefix: str = ""
) -> pl.DataFrame:
    """Add ``completion``, ``error``, token counts, latency, cost, ``stored`` and ``ledger_key``.

    ``stored`` is true for what cost nothing now, null for what was not asked for want of money. ``cost_usd``
    is what the answer cost whenever it was bought, null if that is not known. A row without an answer costs
    nothing, and neither does one that asks what another row asks.
    """
    completions = [answer.completion for answer in answers]

    def column(name: str, values: Sequence[Any], dtype: Any) -> pl.Series:
        return pl.Series(f"{prefix}{name}", values, dtype=dtype)

    def values_of(name: str) -> list[Any]:
        return [getattr(completion, name) if completion else None for completion in completions]

    frame = _add_logprobs(frame, completions, prefix)
    return frame.with_columns(
        column("completion", values_of("text"), pl.String),
        column("error", [answer.error for answer in answers], pl.String),
        column("answered_by", values_of("model"), pl.String),
        column("finish_reason", values_of("finish_reason"), pl.String),
        *(column(name, values_of(name), pl.Int64) for name in TOKENS),
        column("cost_usd", _costs(answers, responder), pl.Float64),
        column("latency_s", values_of("latency_s"), pl.Float64),
        column("stored", [_was_free(answer) for answer in answers], pl.Boolean),
        column("ledger_key", [answer.key for answer in answers], pl.String),
    )


def _was_free(answer: Answer) -> bool | None:
    return None if answer is UNASKED else answer.stored or answer.repeated


def _costs(answers: Sequence[Answer], responder: Responder) -> list[float | None]:
    provider, book = responder.provider, responder.book
    known = book.price_of(provider)
    models = {answer.completion.model for answer in answers if answer.completion}
    by_model = {model: known or book.price(provider.name, model) for model in models}
    costs: list[float | None] = []
    for answer in answers:
        paid = None if answer.repeated else answer.completion
        price = by_model[paid.model] if paid else None
        costs.append((price.cost(paid) if price else None) if paid else 0.0)
    return costs


def needs_answers(frame: pl.DataFrame, responder: Responder, ledger: Ledger) -> bool:
    """Whether the ledger lacks the answer to any rendered row."""
    keys = make_keys(responder.provider, make_requests(frame, responder))
    return len(ledger.get_many(KIND, keys)) < len(set(keys))


def warn_of_shutdown(frame: pl.DataFrame, responder: Responder, ledger: Ledger) -> None:
    """Say once if a model is about to be shut down, where there is something to ask it."""
    provider = responder.provider
    if provider.model in _warned or not needs_answers(frame.head(PROBED), responder, ledger):
        return
    day = provider.shutdown_date()
    if day and day <= date.today() + NOTICE:
        _warned.add(provider.model)
        log.warning("%s is shut down on %s, in %d days", provider.model, day, (day - date.today()).days)


def make_requests(frame: pl.DataFrame, responder: Responder, prefix: str = "") -> list[Request]:
    """What is asked for each row: its rendered chat with the responder's sampling."""
    # whole rows only for those who read them, as they are held until all is answered
    whole = not responder.provider.stored
    return [
        Request(tuple(row[f"{prefix}messages"]), responder.sampling, row if whole else {"id": row["id"]})
        for row in frame.iter_rows(named=True)
    ]


def _add_logprobs(frame: pl.DataFrame, completions: Sequence[Completion | None], prefix: str) -> pl.DataFrame:
    """Token log-probabilities as JSON, where the provider gave any."""
    tokens = [completion.logprobs if completion else None for completion in completions]
    if not any(tokens):
        return frame
    texts = [json.dumps(item, ensure_ascii=False) if item else None for item in tokens]
    return frame.with_columns(pl.Series(f"{prefix}logprobs", texts, dtype=pl.String))


def parse_answers(
    frame: pl.DataFrame, parser: Parser, prefix: str = "", name: str = "prediction"
) -> pl.DataFrame:
    """Add what the parser reads in the completions; null where it reads nothing."""
    return frame.with_columns(parse.apply(parser, frame[f"{prefix}completion"]).alias(name))
