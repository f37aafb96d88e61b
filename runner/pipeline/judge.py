"""A judge: a second model that answers questions about the completions of the first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import polars as pl

from runner.core.types import Request
from runner.data.steps import put_in_both_orders
from runner.engine.allowance import Allowance
from runner.engine.ask import Advance, ask_rows
from runner.engine.call import UNASKED, Answer, Call
from runner.engine.ledger import Ledger
from runner.pipeline.answer import (
    TOKENS,
    Responder,
    add_answers,
    make_requests,
    parse_answers,
    render_chats,
)

PREFIX = "judge_"
VERDICT = "verdict"


def judge_rows(
    frame: pl.DataFrame,
    responder: Responder,
    ledger: Ledger,
    advance: Advance,
    sides: Sequence[str] | None = None,
    allowance: Allowance | None = None,
) -> pl.DataFrame:
    """Add ``verdict`` and the judge's own messages, completion and costs, prefixed ``judge_``.

    Rows without a completion are not judged: their verdict is null, which counts against the model in
    strict scores. ``sides`` names two columns to compare. Each row is then judged twice, as ``first``
    against ``second`` and swapped, and the judge answers ``a`` or ``b``. The verdict is the name of the
    better column, or ``tie`` if the two orders disagree.
    """
    questions = pose_questions(frame.filter(pl.col("completion").is_not_null()), responder, sides)
    rows = group_by_row(questions, responder, sides)
    prefetch = [request for row in rows for request in row]
    answers = ask_rows(
        rows, judge_row, responder.provider, ledger, prefetch=prefetch, advance=advance, allowance=allowance
    )
    return _add_verdicts(frame, questions, [one for row in answers for one in row], responder, sides)


def group_by_row(
    questions: pl.DataFrame, responder: Responder, sides: Sequence[str] | None = None
) -> list[list[Request]]:
    """Return the requests for the frame of :func:`pose_questions`, as one list per judged row."""
    requests = make_requests(questions, responder, PREFIX)
    per_row = 2 if sides else 1
    return [requests[start : start + per_row] for start in range(0, len(requests), per_row)]


async def judge_row(questions: Sequence[Request], call: Call) -> list[Answer]:
    """Return the judge's answers to the questions about one row."""
    return await asyncio.gather(*map(call, questions))


def leave_unjudged(
    frame: pl.DataFrame, responder: Responder, sides: Sequence[str] | None = None
) -> pl.DataFrame:
    """Add the columns of :func:`judge_rows` as if no call had been made."""
    questions = pose_questions(frame.filter(pl.col("completion").is_not_null()), responder, sides)
    return _add_verdicts(frame, questions, [UNASKED] * questions.height, responder, sides)


def pose_questions(
    frame: pl.DataFrame, responder: Responder, sides: Sequence[str] | None = None
) -> pl.DataFrame:
    """Add the judge's chat as ``judge_messages``.

    With ``sides`` there are two lines per row, one for each order; ``row`` then holds the id of the row.
    """
    if sides:
        first, second = (pl.col(side) for side in sides)
        if frame.schema[sides[0]] != frame.schema[sides[1]]:  # such as a text against a parsed target
            first, second = first.cast(pl.String), second.cast(pl.String)
        frame = frame.with_columns(first=first, second=second, row=pl.col("id"))
        frame = put_in_both_orders(frame, "first", "second").with_columns(id=pl.concat_str("id", "order"))
    return render_chats(frame, responder.prompt, column=f"{PREFIX}messages")


def _add_verdicts(
    frame: pl.DataFrame,
    questions: pl.DataFrame,
    answers: Sequence[Answer],
    responder: Responder,
    sides: Sequence[str] | None,
) -> pl.DataFrame:
    judged = add_answers(questions, answers, responder, PREFIX)
    judged = parse_answers(judged, responder.parser, PREFIX, VERDICT)
    if sides:
        judged = _name_winners(judged, sides)
    added = [name for name in judged.columns if name not in frame.columns]
    return frame.join(judged.select("id", *added), on="id", how="left", maintain_order="left")


def _name_winners(judged: pl.DataFrame, sides: Sequence[str]) -> pl.DataFrame:
    """Merge the two lines per row into one: texts are joined by newlines, counts are summed."""
    chose_first = pl.col(VERDICT) == pl.when(pl.col("order") == "ab").then(pl.lit("a")).otherwise(pl.lit("b"))
    winner = pl.when(chose_first).then(pl.lit(sides[0])).otherwise(pl.lit(sides[1]))
    winner = pl.when(pl.col(VERDICT).is_not_null()).then(winner)
    agreed = (
        pl.when(pl.col("_winner").n_unique() == 1).then(pl.col("_winner").first()).otherwise(pl.lit("tie"))
    )
    verdict = pl.when(pl.col("_winner").null_count() == 0).then(agreed)
    names = ("completion", "reasoning", "error", "finish_reason", "ledger_key", "reading")
    texts = [f"{PREFIX}{name}" for name in names]
    numbers = [f"{PREFIX}{name}" for name in (*TOKENS, "latency_s")]
    cost, stored = pl.col(f"{PREFIX}cost_usd"), pl.col(f"{PREFIX}stored")
    merged = (
        judged.with_columns(_winner=winner)
        .group_by("row", maintain_order=True)
        .agg(
            verdict.alias(VERDICT),
            *(_join_texts(name) for name in texts),
            *(pl.col(name).sum() for name in numbers),
            pl.when(cost.null_count() == 0).then(cost.sum()).alias(f"{PREFIX}cost_usd"),
            pl.when(stored.null_count() == 0).then(stored.all()).alias(f"{PREFIX}stored"),
        )
    )
    return merged.rename({"row": "id"})


def _join_texts(name: str) -> pl.Expr:
    """The texts of a group, one a line; null where there are none."""
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).str.join("\n", ignore_nulls=True))
