"""A judge: the same steps once more, over the completions of another model."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from runner.ledger import Ledger
from runner.respond import Responder, complete, predict, render

PREFIX = "judge_"
VERDICT = "verdict"


def judge(
    frame: pl.DataFrame, responder: Responder, ledger: Ledger, advance: Callable[[int], None]
) -> pl.DataFrame:
    """Add ``verdict`` and the judge's own messages, completion and costs, prefixed ``judge_``.

    Rows without a completion are not judged: their verdict is null, which counts against the model in
    strict scores.
    """
    answered = frame.filter(pl.col("completion").is_not_null())
    judged = render(answered, responder.prompt, column=f"{PREFIX}messages")
    judged = complete(judged, responder, ledger, advance, PREFIX)
    judged = predict(judged, responder.parser, PREFIX, VERDICT)
    added = [name for name in judged.columns if name not in frame.columns]
    return frame.join(judged.select("id", *added), on="id", how="left", maintain_order="left")


def both_orders(frame: pl.DataFrame, first: str, second: str) -> pl.DataFrame:
    """Every row twice, the second time with two columns swapped.

    Adds ``pair`` (the row's id) and ``order`` (``ab`` as given, ``ba`` swapped); ``id`` stays unique.
    """
    given = frame.with_columns(pair=pl.col("id"), order=pl.lit("ab"))
    swapped = given.with_columns(pl.col(second).alias(first), pl.col(first).alias(second), order=pl.lit("ba"))
    both = pl.concat([given, swapped]).with_columns(id=pl.concat_str("pair", "order", separator="/"))
    position = pl.int_range(pl.len()) % frame.height
    return both.sort(position, maintain_order=True)
