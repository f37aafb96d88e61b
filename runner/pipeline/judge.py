"""A judge: the same steps once more, over the completions of another model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from runner.data.steps import put_in_both_orders
from runner.engine.ask import Purse
from runner.engine.ledger import Ledger
from runner.pipeline.respond import TOKENS, Responder, complete, predict, render

PREFIX = "judge_"
VERDICT = "verdict"


def judge(
    frame: pl.DataFrame,
    responder: Responder,
    ledger: Ledger,
    advance: Callable[[int], None],
    sides: Sequence[str] | None = None,
    purse: Purse | None = None,
) -> pl.DataFrame:
    """Add ``verdict`` and the judge's own messages, completion and costs, prefixed ``judge_``.

    Rows without a completion are not judged: their verdict is null, which counts against the model in
    strict scores. With ``sides``, two columns, each row is judged twice as ``first`` against ``second``,
    the second time swapped, and the verdict is the better column's name, or ``tie`` where the two orders
    disagree; the judge then says ``a`` or ``b``.
    """
    asked = questions(frame.filter(pl.col("completion").is_not_null()), responder, sides)
    asked = complete(asked, responder, ledger, advance, PREFIX, purse)
    asked = predict(asked, responder.parser, PREFIX, VERDICT)
    if sides:
        asked = _winners(asked, sides)
    added = [name for name in asked.columns if name not in frame.columns]
    return frame.join(asked.select("id", *added), on="id", how="left", maintain_order="left")


def questions(frame: pl.DataFrame, responder: Responder, sides: Sequence[str] | None = None) -> pl.DataFrame:
    """What the judge is asked, as ``judge_messages``: once per row, or for both orders of ``row``, its id."""
    if sides:
        first, second = (pl.col(side) for side in sides)
        if frame.schema[sides[0]] != frame.schema[sides[1]]:  # such as an answer beside a parsed target
            first, second = first.cast(pl.String), second.cast(pl.String)
        frame = frame.with_columns(first=first, second=second, row=pl.col("id"))
        frame = put_in_both_orders(frame, "first", "second").with_columns(id=pl.concat_str("id", "order"))
    return render(frame, responder.prompt, column=f"{PREFIX}messages")


def _winners(asked: pl.DataFrame, sides: Sequence[str]) -> pl.DataFrame:
    """Two rows per judged row to one; texts of both orders become lists, counts are summed."""
    said_first = pl.col(VERDICT) == pl.when(pl.col("order") == "ab").then(pl.lit("a")).otherwise(pl.lit("b"))
    winner = pl.when(said_first).then(pl.lit(sides[0])).otherwise(pl.lit(sides[1]))
    winner = pl.when(pl.col(VERDICT).is_not_null()).then(winner)
    agreed = (
        pl.when(pl.col("_winner").n_unique() == 1).then(pl.col("_winner").first()).otherwise(pl.lit("tie"))
    )
    verdict = pl.when(pl.col("_winner").null_count() == 0).then(agreed)
    texts = [f"{PREFIX}{name}" for name in ("completion", "error", "ledger_key")]
    numbers = [f"{PREFIX}{name}" for name in (*TOKENS, "latency_s")]
    cost, stored = pl.col(f"{PREFIX}cost_usd"), pl.col(f"{PREFIX}stored")
    folded = (
        asked.with_columns(_winner=winner)
        .group_by("row", maintain_order=True)
        .agg(
            verdict.alias(VERDICT),
            *(pl.col(name).str.join("\n", ignore_nulls=True) for name in texts),
            *(pl.col(name).sum() for name in numbers),
            pl.when(cost.null_count() == 0).then(cost.sum()).alias(f"{PREFIX}cost_usd"),
            pl.when(stored.null_count() == 0).then(stored.all()).alias(f"{PREFIX}stored"),
        )
    )
    return folded.rename({"row": "id"})
