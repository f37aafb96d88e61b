"""One verdict of several: of a judge's two orders, of its repeats, and of the judges of a panel.

Lines with the same keys become one line: verdicts by a rule, texts joined by newlines, counts summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import polars as pl

from runner.core.errors import ConfigError
from runner.core.types import REPEAT
from runner.pipeline.answer import TOKENS
from runner.pipeline.judge.sides import TIED, Sides, name_winner

PREFIX, VERDICT = "judge_", "verdict"
CALLS, PAID, ORDERS = f"{PREFIX}calls", f"{PREFIX}paid_usd", f"{PREFIX}orders"
NEW = f"{PREFIX}new_tokens"
VERDICTS, JUDGE_REPEAT = f"{PREFIX}verdicts", f"{PREFIX}{REPEAT}"
AVERAGES, BOUNDS = ("mean", "median"), ("any", "all")
SAID = ("completion", "reasoning", "reading", "error")
"""What tells which judge has said it."""
TEXTS = [f"{PREFIX}{name}" for name in (*SAID, "finish_reason", "ledger_key")]
NUMBERS = [f"{PREFIX}{name}" for name in (*TOKENS, "latency_s")]
NEW_TOKENS = [f"{PREFIX}input_tokens", f"{PREFIX}output_tokens"]
MERGED = [*TEXTS, *NUMBERS, f"{PREFIX}cost_usd", f"{PREFIX}stored"]


@dataclass(frozen=True)
class Rule:
    """How several verdicts become one. Null has no vote; nulls alone give no verdict.

    vote     ``majority``: the most frequent one, of several the first; where two sides are compared, a tie.
             ``mean``, ``median``: of numbers. ``any``, ``all``: the largest and the smallest number; of
             labels the first and the last in the order of ``labels``
    labels   all values of text, the best one first; empty where they are not known
    sides    whether two sides are compared, so that a tie is a verdict
    """

    vote: str = "majority"
    labels: Sequence[str] = ()
    sides: bool = False

    def check(self, verdicts: pl.Series) -> None:
        """Raise :class:`ConfigError` if the verdicts are not of a kind that the rule can be applied to."""
        kind = verdicts.dtype
        if kind.is_numeric() or kind == pl.Null or self.vote == "majority":
            return
        if self.vote in AVERAGES:
            raise ConfigError(f"judge.vote={self.vote}: the verdicts are no numbers ({kind}); use majority")
        if self.sides:
            raise ConfigError(
                f"judge.vote={self.vote}: of two sides none is the better verdict; use majority"
            )
        if kind != pl.String or not self.labels:
            raise ConfigError(
                f"judge.vote={self.vote}: it is not known which verdict is the better one; use majority, or "
                "parsers that give numbers or have the same labels, the best one first"
            )

    def apply(self, verdicts: pl.Expr, kind: pl.DataType) -> pl.Expr:
        """One verdict of those in a group, of the type ``kind``."""
        given = verdicts.drop_nulls()
        if self.vote in AVERAGES:
            return given.mean() if self.vote == "mean" else given.median()
        if self.vote in BOUNDS and kind == pl.String:
            places = given.replace_strict(
                self.labels, range(len(self.labels)), default=None, return_dtype=pl.Int64
            )
            return given.get(places.arg_min() if self.vote == "any" else places.arg_max(), null_on_oob=True)
        if self.vote in BOUNDS:
            return given.max() if self.vote == "any" else given.min()
        most = given.mode(maintain_order=True)
        return (
            pl.when(most.len() > 1).then(pl.lit(TIED)).otherwise(most.first()) if self.sides else most.first()
        )


def name_winners(judged: pl.DataFrame, sides: Sides, keys: Sequence[str]) -> pl.DataFrame:
    """Merge the two lines per answer into one, which ``keys`` name; ``judge_orders`` has both winners."""
    answers = zip(judged[VERDICT].to_list(), judged["order"].to_list(), strict=True)
    winners = [name_winner(verdict, order, sides) for verdict, order in answers]
    winner = pl.col("_winner")
    agreed = pl.when(winner.n_unique() == 1).then(winner.first()).otherwise(pl.lit(TIED))
    verdict = pl.when(winner.null_count() == 0).then(agreed)
    named = judged.with_columns(pl.Series("_winner", winners, dtype=pl.String), id=pl.col("row"))
    return merge(named, keys, verdict.alias(VERDICT), winner.alias(ORDERS))


def count_repeats(
    judged: pl.DataFrame, keys: Sequence[str], rule: Rule, fields: Sequence[str] = ()
) -> pl.DataFrame:
    """Merge the verdicts of one judge on each answer into one; ``judge_verdicts`` has all.

    ``fields`` are those of a parser of several fields; each is voted on, text by the majority.
    """
    same = (f"{PREFIX}messages", f"{PREFIX}answered_by")  # both orders have no such columns
    shared = [pl.col(name).first() for name in same if name in judged.columns]
    orders = [pl.col(ORDERS).explode()] if ORDERS in judged.columns else []
    voted = []
    for name in (f"{VERDICT}_{field}" for field in fields):
        of_field = Rule(rule.vote) if judged.schema[name].is_numeric() else Rule()
        voted.append(of_field.apply(pl.col(name), judged.schema[name]).alias(name))
    return _count(judged, keys, rule, *voted, *shared, *orders)


def count_members(
    judged: Sequence[tuple[str, pl.DataFrame]], keys: Sequence[str], rule: Rule
) -> pl.DataFrame:
    """Merge what the judges of a panel say, each under its name, into a line per answer.

    An answer has an error only if all judges failed; ``judge_verdicts`` has their verdicts in their order.
    """
    lines = []
    for name, frame in judged:
        said = [
            pl.format("{}: {}", pl.lit(name), pl.col(f"{PREFIX}{text}")).alias(f"{PREFIX}{text}")
            for text in SAID
        ]
        made = [] if CALLS in frame.columns else [_count_made().alias(CALLS)]
        paid = [] if PAID in frame.columns else [_sum_paid().alias(PAID)]
        new = [] if NEW in frame.columns else [_sum_new().alias(NEW)]
        named = frame.with_columns(*said, *made, *paid, *new)
        lines.append(named.select(*keys, VERDICT, *MERGED, CALLS, PAID, NEW))
    kinds = {name: frame.schema[VERDICT] for name, frame in judged if frame.schema[VERDICT] != pl.Null}
    if len(set(kinds.values())) > 1 and not all(kind.is_numeric() for kind in kinds.values()):
        said_kinds = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
        raise ConfigError(f"judge.members: verdicts of different types cannot become one: {said_kinds}")
    together = pl.concat(lines, how="vertical_relaxed")
    merged = _count(together, keys, rule)
    failed = together.group_by(keys, maintain_order=True).agg(pl.col(f"{PREFIX}error").is_not_null().all())
    error = pl.when(failed[f"{PREFIX}error"]).then(pl.col(f"{PREFIX}error")).alias(f"{PREFIX}error")
    return merged.with_columns(error)


def find_common(orders: Sequence[Sequence[str]]) -> Sequence[str]:
    """The order of labels that all judges share; empty if they have others."""
    return reduce(lambda one, other: one if list(one) == list(other) else (), orders)


def _count(judged: pl.DataFrame, keys: Sequence[str], rule: Rule, *more: pl.Expr) -> pl.DataFrame:
    rule.check(judged[VERDICT])
    verdict = pl.col(VERDICT)
    voted = rule.apply(verdict, judged.schema[VERDICT]).alias(VERDICT)
    return merge(judged, keys, voted, verdict.alias(VERDICTS), *more)


def merge(judged: pl.DataFrame, keys: Sequence[str], *verdicts: pl.Expr) -> pl.DataFrame:
    """Merge the lines with the same keys into one: texts are joined by newlines, counts are summed.

    ``judge_calls`` counts the calls made now, ``judge_paid_usd`` and ``judge_new_tokens`` have their dollars
    and their tokens.
    """
    cost, stored = pl.col(f"{PREFIX}cost_usd"), pl.col(f"{PREFIX}stored")
    made = pl.col(CALLS) if CALLS in judged.columns else _count_made()
    paid = pl.col(PAID) if PAID in judged.columns else _sum_paid()
    new = pl.col(NEW) if NEW in judged.columns else _sum_new()
    return judged.group_by(keys, maintain_order=True).agg(
        *verdicts,
        *(_join_texts(name) for name in TEXTS),
        *(pl.col(name).sum() for name in NUMBERS),
        pl.when(cost.null_count() == 0).then(cost.sum()).alias(f"{PREFIX}cost_usd"),
        pl.when(paid.null_count() == 0).then(paid.sum()).alias(PAID),
        pl.when(stored.null_count() == 0).then(stored.all()).alias(f"{PREFIX}stored"),
        made.sum().cast(pl.Int64).alias(CALLS),
        new.sum().cast(pl.Int64).alias(NEW),
    )


def _count_made() -> Any:
    """1 for a line whose call was made now."""
    return pl.col(f"{PREFIX}stored").not_().fill_null(False).cast(pl.Int64)


def _sum_paid() -> Any:
    """The dollars of a line that were spent now; null if they are not known."""
    return pl.when(pl.col(f"{PREFIX}stored").fill_null(True)).then(0.0).otherwise(f"{PREFIX}cost_usd")


def _sum_new() -> Any:
    """The tokens, read and written, of a line whose call was made now."""
    return (
        pl.when(pl.col(f"{PREFIX}stored").fill_null(True)).then(0).otherwise(pl.sum_horizontal(*NEW_TOKENS))
    )


def _join_texts(name: str) -> pl.Expr:
    """The texts of a group, one a line; null where there are none."""
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).str.join("\n", ignore_nulls=True))
