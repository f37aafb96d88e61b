"""Rows to chats to completions to predictions: the middle of every run and of every judge."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import islice
from typing import Any, NamedTuple

import polars as pl

from runner import parse
from runner.core.errors import AccessError, ConfigError, name_keys, name_place, put_keys_below
from runner.core.provider import REPLAY, Provider
from runner.core.types import CUT, REPEAT, Parser, Request, Sampling, advise_on_cut
from runner.engine.allowance import Allowance
from runner.engine.ask import Advance, ask_all
from runner.engine.call import UNASKED, Answer, OnAnswer, ignore_answer, make_keys, read_answers
from runner.engine.ledger import Ledger
from runner.money import prices
from runner.money.lengths import note_lengths
from runner.money.prices import PriceBook
from runner.parse.thinking import find_answer_tokens, split_thinking
from runner.pipeline.prompt import Prompt

log = logging.getLogger(__name__)
_warned_models: set[str] = set()

OpenBar = Callable[[str, int], Advance]
"""Called with a title and a number of rows; opens a progress bar and returns the function that moves it."""

TOKENS = ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens")
PROBE_ROWS = 50  # rows that are looked up to see whether a run makes calls: the ledger has mostly all or none
NOTICE = timedelta(days=90)
CHUNK_ROWS = 5_000  # rows that become a column at a time: as Python objects they take ten times the memory
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def open_no_bar(title: str, total: int) -> Advance:
    """Show nothing; an :data:`OpenBar`."""
    return lambda count: None


@dataclass(frozen=True)
class Responder:
    """Turns rows into predictions: a prompt, a provider, its sampling settings and a parser."""

    prompt: Prompt
    provider: Provider
    parser: Parser
    sampling: Sampling
    book: PriceBook = field(default_factory=prices.load_prices)
    asks: bool = True
    """False if no call will be made, so that no API key is needed."""
    fresh: str | None = None
    """The name of the set of answers, see :class:`Request`."""
    repeats: int = 1
    """How often each row is asked."""
    key: str = ""
    """Where its settings are in the config, with a dot at the end: ``judge.`` for a judge."""
    places: Mapping[str, str] = field(default_factory=dict)
    """The same for ``hyperparameter``, ``prompt`` and ``provider``, which a panel's members may share."""

    def check(self, columns: Sequence[str] | None = None) -> None:
        """Raise :class:`ConfigError` before any call if the provider cannot use the settings or columns."""
        self.provider.check_limits()
        if self.asks:
            self.provider.check(self.sampling, columns)
        self._check_price()

    def find_missing_access(self, columns: Sequence[str] | None = None) -> str | None:
        """What :meth:`check` with ``asks`` says of a missing key or address, or None; it raises all else."""
        with name_place(f"{self.places.get('provider', '')}provider"), name_keys(self.places):
            try:
                self.provider.check(self.sampling, columns)
            except AccessError as error:
                return put_keys_below(str(error), self.places)
        return None

    def _check_price(self) -> None:
        priced_as = self.provider.priced_as
        if priced_as and self.book.find_price(self.provider.name, priced_as) is None:
            raise ConfigError(
                f"provider.priced_as={priced_as}: {self.provider.name} has no price under this name"
            )


def render_chats(
    frame: pl.DataFrame,
    prompt: Prompt,
    shots: Sequence[Sequence[Mapping[str, Any]]] | None = None,
    column: str = "messages",
) -> pl.DataFrame:
    """Add the chat of each row as ``column``. ``shots`` holds the shot rows of each row."""
    rows = enumerate(frame.iter_rows(named=True))
    chats = pl.Series(column, [], dtype=MESSAGES)
    while part := [prompt.render_chat(row, shots[i] if shots else ()) for i, row in islice(rows, CHUNK_ROWS)]:
        chats.append(pl.Series(column, part, dtype=MESSAGES))
    return frame.with_columns(chats)


def answer_rows(
    frame: pl.DataFrame,
    responder: Responder,
    ledger: Ledger,
    advance: Advance,
    allowance: Allowance | None = None,
    on_answer: OnAnswer = ignore_answer,
) -> pl.DataFrame:
    """Send the chats of a frame to the provider and add the columns of :func:`add_answers`."""
    warn_of_shutdown(frame, responder, ledger)
    requests = make_requests(frame, responder)
    answers = ask_all(
        requests, responder.provider, ledger, advance=advance, allowance=allowance, on_answer=on_answer
    )
    note_lengths(ledger, responder.provider, responder.sampling, answers)
    return add_answers(frame, answers, responder)


def leave_unanswered(frame: pl.DataFrame, responder: Responder) -> pl.DataFrame:
    """Add the columns of :func:`add_answers` as if no call had been made."""
    return add_answers(frame, [UNASKED] * frame.height, responder)


def add_answers(
    frame: pl.DataFrame, answers: Sequence[Answer], responder: Responder, prefix: str = ""
) -> pl.DataFrame:
    """Add ``completion``, ``reasoning``, ``error``, token counts, latency, cost, ``stored``, ``ledger_key``.

    ``completion`` is the answer without its thinking, which is in ``reasoning``; it is null where a token
    limit ended the answer before it began. ``logprobs``, added where they are given or asked for, is JSON
    and holds the tokens of the answer only, null where these cannot be told.
    ``stored`` is true for answers that cost nothing now, as recorded ones (``provider=replay``) do, and null
    for rows that were not asked because the budget was used up. ``cost_usd`` is the cost of the answer
    whenever it was bought, null if unknown. It is 0 for a row without an answer and for a row whose request
    an earlier row made. Every column name starts
    with ``prefix``.
    """
    tags, key = responder.provider.thinking_tags, responder.key
    said = [_read_answer(answer, tags, key) for answer in answers]
    completions = [answer.completion for answer in answers]

    def column(name: str, values: Sequence[Any], dtype: Any) -> pl.Series:
        return pl.Series(f"{prefix}{name}", values, dtype=dtype)

    def values_of(name: str) -> list[Any]:
        return [getattr(completion, name) if completion else None for completion in completions]

    tokens = [one.logprobs for one in said]
    if any(tokens) or responder.provider.gives_logprobs(responder.sampling):
        texts = [json.dumps(item, ensure_ascii=False) if item else None for item in tokens]
        frame = frame.with_columns(column("logprobs", texts, pl.String))
    return frame.with_columns(
        column("completion", [one.text for one in said], pl.String),
        column("reasoning", [one.reasoning for one in said], pl.String),
        column("error", [one.error for one in said], pl.String),
        column("answered_by", values_of("model"), pl.String),
        column("finish_reason", values_of("finish_reason"), pl.String),
        *(column(name, values_of(name), pl.Int64) for name in TOKENS),
        column("cost_usd", compute_costs(answers, responder), pl.Float64),
        column("latency_s", values_of("latency_s"), pl.Float64),
        column("stored", [_was_free(answer, responder.provider) for answer in answers], pl.Boolean),
        column("ledger_key", [answer.key for answer in answers], pl.String),
    )


class _Said(NamedTuple):
    """What a row gets of an answer: its text without the thinking, or why there is none."""

    text: str | None = None
    reasoning: str | None = None
    logprobs: Sequence[Mapping[str, Any]] | None = None
    error: str | None = None


def _read_answer(answer: Answer, tags: Sequence[str], key: str) -> _Said:
    """Take the thinking out. A text that a token limit ended before the answer began is no answer."""
    completion = answer.completion
    if completion is None:
        return _Said(error=answer.error)
    text, thoughts = split_thinking(completion.text, tags)
    thoughts = [completion.reasoning, *thoughts] if completion.reasoning else thoughts
    reasoning = "\n\n".join(thoughts) or None
    is_cut = re.search(CUT, completion.finish_reason) is not None
    if text is None or (is_cut and not text.strip()):
        advice = advise_on_cut([completion.finish_reason], key)
        reason = (
            f"the token limit ended the answer before it began; {advice}"
            if is_cut
            else f"the thinking in the answer has no end, so there is no answer ({key}provider.thinking_tags)"
        )
        return _Said(reasoning=reasoning, error=reason)
    logprobs: Sequence[Mapping[str, Any]] | None = completion.logprobs
    if logprobs and (reasoning or text != completion.text):
        logprobs = find_answer_tokens(logprobs, text.strip())
    return _Said(text, reasoning, logprobs)


def _was_free(answer: Answer, provider: Provider) -> bool | None:
    return None if answer is UNASKED else answer.stored or answer.repeated or provider.name == REPLAY


def compute_costs(answers: Sequence[Answer], responder: Responder) -> list[float | None]:
    """Return the dollars of each answer; None where the price is unknown, 0 for one that was not paid."""
    provider, book = responder.provider, responder.book
    configured = book.find_provider_price(provider)
    models = {answer.completion.model for answer in answers if answer.completion}
    suited = book.select_for(provider)
    by_model = {model: configured or suited.find_price(provider.name, model) for model in models}
    costs: list[float | None] = []
    for answer in answers:
        completion = None if answer.repeated else answer.completion
        price = by_model[completion.model] if completion else None
        costs.append((price.compute_cost(completion) if price else None) if completion else 0.0)
    return costs


def needs_answers(frame: pl.DataFrame, responder: Responder, ledger: Ledger) -> bool:
    """Whether the ledger lacks the answer to any rendered row."""
    keys = make_keys(responder.provider, make_requests(frame, responder))
    return len(read_answers(ledger, keys)) < len(set(keys))


def warn_of_shutdown(frame: pl.DataFrame, responder: Responder, ledger: Ledger) -> None:
    """Warn once per model that is shut down within :data:`NOTICE`, if the run will make calls to it."""
    provider = responder.provider
    if provider.model in _warned_models or not needs_answers(frame.head(PROBE_ROWS), responder, ledger):
        return
    day = provider.shutdown_date()
    if day and day <= date.today() + NOTICE:
        _warned_models.add(provider.model)
        log.warning("%s is shut down on %s, in %d days", provider.model, day, (day - date.today()).days)


def make_requests(frame: pl.DataFrame, responder: Responder, prefix: str = "") -> list[Request]:
    """Return the request of each row: its rendered chat with the responder's sampling settings.

    The seed of a repeat is that of the first one plus its number.
    """
    # only providers that read the rows get all columns: requests are held until all rows are answered
    full_rows = not responder.provider.stored
    column, fresh = f"{prefix}{REPEAT}", responder.fresh
    numbers = frame[column].to_list() if column in frame.columns else [0] * frame.height
    samplings = {number: vary_seed(responder.sampling, number) for number in set(numbers)}
    return [
        Request(
            tuple(row[f"{prefix}messages"]),
            samplings[number],
            row if full_rows else {"id": row["id"]},
            fresh,
            number,
        )
        for row, number in zip(frame.iter_rows(named=True), numbers, strict=True)
    ]


def vary_seed(sampling: Sampling, number: int) -> Sampling:
    """Return the settings of a repeat: its number is added to the seed, if there is one."""
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + number)


def parse_answers(
    frame: pl.DataFrame,
    parser: Parser,
    prefix: str = "",
    name: str = "prediction",
    gold: pl.DataType | None = None,
    key: str = "prompt",
) -> pl.DataFrame:
    """Add the parsed completions as the column ``name``; null where the parser finds no value.

    The column ``reading`` (after ``prefix``) says what the parser read and by which rule, or why it read
    nothing. ``gold`` is as for :func:`runner.parse.read_column`, ``key`` is the prompt's. A parser of several
    fields adds a column ``{name}_{field}`` for each, and the reading says what was read of each.

    Raises :class:`DataError` if the rows have a column of such a name.
    """
    texts = frame[f"{prefix}completion"]
    ids = frame["id"] if "id" in frame.columns else None
    values, readings = parse.read_column(parser, texts, gold, ids, f"{key}.parser")
    described = pl.Series(f"{prefix}reading", parse.describe(readings, texts), dtype=pl.String)
    fields = parse.read_fields(parser, texts, ids, f"{key}.parser", frame.columns, name)
    if fields:
        described = pl.Series(described.name, parse.join_readings(fields, texts), dtype=pl.String)
    return frame.with_columns(values.alias(name), described, *(each.values for each in fields))
