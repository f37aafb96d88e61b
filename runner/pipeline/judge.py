"""A judge: a second model that answers questions about the completions of the first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from runner.config.schema import JudgeConfig
from runner.core.errors import ConfigError, suggest
from runner.core.types import REPEAT, Parser, Request, list_keys
from runner.data.steps import put_in_both_orders
from runner.engine.allowance import Allowance
from runner.engine.ask import Advance, ask_rows
from runner.engine.call import UNASKED, Answer, Call, OnAnswer, ignore_answer
from runner.engine.ledger import Ledger
from runner.money.lengths import note_lengths
from runner.parse import list_fields
from runner.parse.sides import FIRST, SECOND, TIE, list_names, place_names
from runner.pipeline.answer import (
    TOKENS,
    Responder,
    add_answers,
    make_requests,
    parse_answers,
    render_chats,
)
from runner.pipeline.repeats import check_vote, repeat_rows, vote

PREFIX = "judge_"
VERDICT = "verdict"
CALLS = f"{PREFIX}calls"
VERDICTS, JUDGE_REPEAT = "judge_verdicts", f"{PREFIX}{REPEAT}"
TIED = "tie"
"""The verdict that neither of two sides won."""
PLACES = {"first": FIRST, "second": SECOND, TIED: TIE}


@dataclass(frozen=True)
class Sides:
    """Two columns that are judged in both orders, and what the judge's answers mean.

    ``places`` gives each answer the output that it names: 0 the first shown, 1 the second, 2 a tie. Any other
    answer is no verdict.
    """

    columns: tuple[str, str]
    places: Mapping[str, int]

    @property
    def verdicts(self) -> list[str]:
        """All verdicts that there can be."""
        return [*self.columns, TIED]


def make_sides(judge: JudgeConfig, parser: Parser) -> Sides | None:
    """The sides of a judge that is asked in both orders, or None.

    Raises :class:`ConfigError` for anything but two columns, for a parser that cannot give the names of the
    two sides, and for names in ``judge.sides`` that the parser cannot give.
    """
    named = {side: names for side, names in asdict(judge.sides).items() if names is not None}
    if judge.both_orders is None:
        if named:
            raise ConfigError("judge.sides: it names the sides of judge.both_orders, which is not set")
        return None
    columns = tuple(judge.both_orders)
    if len(set(columns)) != 2 or len(columns) != 2 or TIED in columns:
        raise ConfigError(
            f"judge.both_orders: expected two different columns, none named {TIED!r}, got {list(columns)}"
        )
    if list_fields(parser):
        raise ConfigError(
            "judge.both_orders: a parser of several fields reads each order, and there is one verdict;"
            " name the parser of the verdict alone"
        )
    known = list_names(parser)
    places = _read_places(named, known) if named else place_names(known)
    if places is None:
        given = f"gives {', '.join(known)}" if known else "has no closed set of answers"
        raise ConfigError(
            f"judge.prompt.parser: it {given}, so it is not known which answer names the first output "
            "and which the second; use a parser with the labels a and b (A and B, 1 and 2, perhaps a tie), "
            "or say it in judge.sides, such as judge.sides={first: A, second: B, tie: C}"
        )
    return Sides((columns[0], columns[1]), places)


def _read_places(sides: Mapping[str, Any], known: Sequence[str]) -> dict[str, int]:
    """The place of each name in ``judge.sides``."""
    places: dict[str, int] = {}
    for side, names in sides.items():
        for name in names if isinstance(names, list) else [names]:
            if name is None or isinstance(name, bool):
                raise ConfigError(f"judge.sides.{side}: {name!r} is no name; put quotes around it")
            if known and str(name) not in known:
                raise ConfigError(
                    f"judge.sides.{side}: judge.prompt.parser never gives {name!r}{suggest(str(name), known)}"
                )
            if places.setdefault(str(name), PLACES[side]) != PLACES[side]:
                raise ConfigError(f"judge.sides.{side}: {name!r} names two sides")
    if lacking := [side for side in ("first", "second") if PLACES[side] not in places.values()]:
        raise ConfigError(f"judge.sides.{lacking[0]}: it must name the answer for the {lacking[0]} output")
    return places


def judge_rows(
    frame: pl.DataFrame,
    responder: Responder,
    ledger: Ledger,
    advance: Advance,
    sides: Sides | None = None,
    allowance: Allowance | None = None,
    on_answer: OnAnswer = ignore_answer,
) -> pl.DataFrame:
    """Add ``verdict`` and the judge's own messages, completion and costs, prefixed ``judge_``.

    Rows without a completion are not judged: their verdict is null, which counts against the model in
    strict scores. With ``sides`` two columns are compared. Each row is then judged twice, as ``first``
    against ``second`` and swapped. The verdict is the name of the better column; ``tie`` if both orders say
    so or if they disagree; null if one of the two answers names neither a side nor a tie. A row in which one
    of the sides is null is not judged.
    """
    questions = pose_questions(_select_judged(frame, sides), responder, sides)
    rows = group_by_row(questions, responder, sides)
    prefetch = [request for row in rows for request in row]
    answers = ask_rows(
        rows,
        judge_row,
        responder.provider,
        ledger,
        prefetch=prefetch,
        advance=advance,
        allowance=allowance,
        on_answer=on_answer,
    )
    verdicts = [one for row in answers for one in row]
    note_lengths(ledger, responder.provider, responder.sampling, verdicts)
    return _add_verdicts(frame, questions, verdicts, responder, sides)


def group_by_row(
    questions: pl.DataFrame, responder: Responder, sides: Sides | None = None
) -> list[list[Request]]:
    """Return the requests for the frame of :func:`pose_questions`, as one list per judged row."""
    requests = make_requests(questions, responder, PREFIX)
    per_row = (2 if sides else 1) * responder.repeats
    return [requests[start : start + per_row] for start in range(0, len(requests), per_row)]


async def judge_row(questions: Sequence[Request], call: Call) -> list[Answer]:
    """Return the judge's answers to the questions about one row."""
    return await asyncio.gather(*map(call, questions))


def leave_unjudged(frame: pl.DataFrame, responder: Responder, sides: Sides | None = None) -> pl.DataFrame:
    """Add the columns of :func:`judge_rows` as if no call had been made."""
    questions = pose_questions(_select_judged(frame, sides), responder, sides)
    return _add_verdicts(frame, questions, [UNASKED] * questions.height, responder, sides)


def _select_judged(frame: pl.DataFrame, sides: Sides | None) -> pl.DataFrame:
    """The rows that have what is judged."""
    return frame.drop_nulls(["completion", *(sides.columns if sides else ())])


def pose_questions(frame: pl.DataFrame, responder: Responder, sides: Sides | None = None) -> pl.DataFrame:
    """Add the judge's chat as ``judge_messages``.

    With ``sides`` there are two lines per row, one for each order; ``row`` then holds the id of the row. A
    judge that is asked several times has as many lines, numbered in ``judge_repeat``.
    """
    if sides:
        first, second = (_to_text(frame[side]) for side in sides.columns)
        frame = frame.with_columns(first.alias("first"), second.alias("second"), row=pl.col("id"))
        frame = put_in_both_orders(frame, "first", "second").with_columns(id=pl.concat_str("id", "order"))
    frame = render_chats(frame, responder.prompt, column=f"{PREFIX}messages")
    return repeat_rows(frame, responder.repeats, JUDGE_REPEAT)


def _add_verdicts(
    frame: pl.DataFrame,
    questions: pl.DataFrame,
    answers: Sequence[Answer],
    responder: Responder,
    sides: Sides | None,
) -> pl.DataFrame:
    judged = add_answers(questions, answers, responder, PREFIX)
    judged = parse_answers(judged, responder.parser, PREFIX, VERDICT)
    keys = list_keys(frame)
    again = [JUDGE_REPEAT] if JUDGE_REPEAT in judged.columns else []
    if sides:
        judged = _name_winners(judged, sides, [*keys, *again])
    if again:
        judged = _count_votes(judged, keys, responder.vote, responder.parser)
    added = [name for name in judged.columns if name not in frame.columns]
    return frame.join(judged.select(*keys, *added), on=keys, how="left", maintain_order="left")


def _to_text(side: pl.Series) -> pl.Series:
    """A side as the judge reads it; of several acceptable answers the first."""
    return (side.list.first() if isinstance(side.dtype, pl.List) else side).cast(pl.String)


def name_winner(verdict: Any, order: str, sides: Sides) -> str | None:
    """The column that a judge's answer names in this order, ``tie``, or None."""
    place = None if verdict is None else sides.places.get(_to_name(verdict))
    if place is None or place == TIE:
        return None if place is None else TIED
    return sides.columns[place if order == "ab" else 1 - place]


def _to_name(verdict: Any) -> str:
    return str(int(verdict) if isinstance(verdict, float) and verdict.is_integer() else verdict)


def _name_winners(judged: pl.DataFrame, sides: Sides, keys: Sequence[str]) -> pl.DataFrame:
    """Merge the two lines per answer into one, which ``keys`` name."""
    answers = zip(judged[VERDICT].to_list(), judged["order"].to_list(), strict=True)
    winners = [name_winner(verdict, order, sides) for verdict, order in answers]
    agreed = (
        pl.when(pl.col("_winner").n_unique() == 1).then(pl.col("_winner").first()).otherwise(pl.lit(TIED))
    )
    verdict = pl.when(pl.col("_winner").null_count() == 0).then(agreed)
    named = judged.with_columns(pl.Series("_winner", winners, dtype=pl.String), id=pl.col("row"))
    return _merge(named, keys, verdict.alias(VERDICT))


def _count_votes(judged: pl.DataFrame, keys: Sequence[str], rule: str, parser: Parser) -> pl.DataFrame:
    """Merge the verdicts on each answer into one, by a rule of :func:`vote`; ``judge_verdicts`` has all."""
    check_vote(judged[VERDICT], rule)
    verdict = pl.col(VERDICT)
    same = (f"{PREFIX}messages", f"{PREFIX}answered_by")  # both orders have no such columns
    shared = [pl.col(name).first() for name in same if name in judged.columns]
    fields = [pl.col(f"{VERDICT}_{name}") for name in list_fields(parser)]
    voted = [
        vote(each, rule if judged.select(each).dtypes[0].is_numeric() else "majority") for each in fields
    ]
    return _merge(judged, keys, vote(verdict, rule), *voted, verdict.alias(VERDICTS), *shared)


def _merge(judged: pl.DataFrame, keys: Sequence[str], *verdicts: pl.Expr) -> pl.DataFrame:
    """Merge the lines with the same keys into one: texts are joined by newlines, counts are summed."""
    names = ("completion", "reasoning", "error", "finish_reason", "ledger_key", "reading")
    texts = [f"{PREFIX}{name}" for name in names]
    numbers = [f"{PREFIX}{name}" for name in (*TOKENS, "latency_s")]
    cost, stored = pl.col(f"{PREFIX}cost_usd"), pl.col(f"{PREFIX}stored")
    made = pl.col(CALLS) if CALLS in judged.columns else stored.not_().fill_null(False)
    return judged.group_by(keys, maintain_order=True).agg(
        *verdicts,
        *(_join_texts(name) for name in texts),
        *(pl.col(name).sum() for name in numbers),
        pl.when(cost.null_count() == 0).then(cost.sum()).alias(f"{PREFIX}cost_usd"),
        pl.when(stored.null_count() == 0).then(stored.all()).alias(f"{PREFIX}stored"),
        made.sum().cast(pl.Int64).alias(CALLS),
    )


def _join_texts(name: str) -> pl.Expr:
    """The texts of a group, one a line; null where there are none."""
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).str.join("\n", ignore_nulls=True))
