"""A panel of judges: each is asked about every completion, and their verdicts become one.

A judge without members is a panel of one, whose columns are ``verdict`` and ``judge_…``. Each member of a
panel has columns of its own, ``judge_<member>_verdict`` and so on; ``verdict`` and ``judge_…`` are then of
all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from runner.core.errors import name_keys, put_keys_below
from runner.core.types import Request, list_keys
from runner.data.steps import put_in_both_orders
from runner.engine.allowance import Allowance
from runner.engine.ask import Advance, Part, ask_parts
from runner.engine.call import UNASKED, Answer, Call, OnAnswer, ignore_answer
from runner.engine.ledger import Ledger
from runner.money.lengths import note_lengths
from runner.parse import list_fields
from runner.parse.sides import list_values
from runner.pipeline.answer import Responder, add_answers, make_requests, parse_answers, render_chats
from runner.pipeline.judge.sides import Sides
from runner.pipeline.judge.votes import (
    JUDGE_REPEAT,
    PREFIX,
    VERDICT,
    Rule,
    count_members,
    count_repeats,
    find_common,
    name_winners,
)
from runner.pipeline.repeats import repeat_rows


@dataclass(frozen=True)
class Judge:
    """A model that is asked about each completion; ``name`` is that of a member of a panel, else empty."""

    responder: Responder
    sides: Sides | None = None
    """What it compares, if it is asked in both orders."""
    name: str = ""
    rule: Rule = field(default_factory=Rule)
    """How its repeated verdicts become one."""
    prompt_key: str = "judge.prompt"
    """Where its prompt is in the config: its own, or that of all members."""

    @property
    def verdict(self) -> str:
        """The column of its verdicts."""
        return self.rename(VERDICT)

    @property
    def label(self) -> str:
        """Who it is, on the screen."""
        return f"judge {self.name or self.responder.provider.model}"

    @property
    def values(self) -> list[str]:
        """All verdicts that there can be; empty if they are not a closed set."""
        return self.sides.verdicts if self.sides else list_values(self.responder.parser)

    def rename(self, column: str) -> str:
        """Its name for a column of judges."""
        return f"{PREFIX}{self.name}_{column.removeprefix(PREFIX)}" if self.name else column


@dataclass(frozen=True)
class Panel:
    """Judges who give one verdict together by a rule of :class:`Rule`."""

    judges: tuple[Judge, ...]
    vote: str = "majority"

    @property
    def has_members(self) -> bool:
        """Whether its judges have names, and columns of their own."""
        return bool(self.judges[0].name)

    @property
    def label(self) -> str:
        """Who they are, on the screen."""
        return (
            f"judges {', '.join(judge.name for judge in self.judges)}"
            if self.has_members
            else self.judges[0].label
        )

    @property
    def sides(self) -> Sides | None:
        """What all of them compare."""
        return self.judges[0].sides

    @property
    def values(self) -> list[str]:
        """All verdicts that there can be; empty if they are not a closed set."""
        each = [judge.values for judge in self.judges]
        return list(dict.fromkeys(value for values in each for value in values)) if all(each) else []

    @property
    def rule(self) -> Rule:
        """How the verdicts of its judges become one."""
        return Rule(self.vote, find_common([judge.values for judge in self.judges]), self.sides is not None)

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns of verdicts, each with all its values where they are known."""
        return {judge.verdict: judge.values for judge in self.judges} | {VERDICT: self.values}


def judge_rows(
    frame: pl.DataFrame,
    panel: Panel,
    ledger: Ledger,
    advance: Advance,
    allowances: Sequence[Allowance | None] = (),
    on_answers: Sequence[OnAnswer] = (),
) -> pl.DataFrame:
    """Add ``verdict`` and the judges' messages, completions and costs, prefixed ``judge_``.

    All judges are asked at once; ``allowances`` and ``on_answers`` are by judge. A row is done when all
    judges are. Rows without a completion are not judged: their verdict is null, which counts against the
    model in strict scores. With sides two columns are compared. Each row is then judged twice, as ``first``
    against ``second`` and swapped. The verdict is the name of the better column; ``tie`` if both orders say
    so or if they disagree; null if one of the two answers names neither a side nor a tie. A row in which one
    of the sides is null is not judged. A judge without a verdict on a row has no vote there.
    """
    questions = _pose_all(frame, panel)
    slowest = _Slowest(advance, len(panel.judges))
    parts = []
    for place, (judge, asked) in enumerate(zip(panel.judges, questions, strict=True)):
        rows = group_by_row(asked, judge)
        parts.append(
            Part(
                rows,
                partial(_judge_row_as, judge),
                judge.responder.provider,
                prefetch=[request for row in rows for request in row],
                advance=partial(slowest, place),
                allowance=allowances[place] if allowances else None,
                on_answer=on_answers[place] if on_answers else ignore_answer,
                leaver=judge.label if len(panel.judges) > 1 else "",
            )
        )
    answers = [[one for row in rows for one in row] for rows in ask_parts(parts, ledger)]
    for judge, said in zip(panel.judges, answers, strict=True):
        note_lengths(ledger, judge.responder.provider, judge.responder.sampling, said)
    return _add_verdicts(frame, panel, questions, answers)


def leave_unjudged(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """Add the columns of :func:`judge_rows` as if no call had been made."""
    questions = _pose_all(frame, panel)
    return _add_verdicts(frame, panel, questions, [[UNASKED] * each.height for each in questions])


def group_by_row(questions: pl.DataFrame, judge: Judge) -> list[list[Request]]:
    """Return the requests for the frame of :func:`pose_questions`, as one list per judged row."""
    requests = make_requests(questions, judge.responder, PREFIX)
    per_row = (2 if judge.sides else 1) * judge.responder.repeats
    return [requests[start : start + per_row] for start in range(0, len(requests), per_row)]


async def judge_row(questions: Sequence[Request], call: Call) -> list[Answer]:
    """Return the judge's answers to the questions about one row."""
    return await asyncio.gather(*map(call, questions))


async def _judge_row_as(judge: Judge, questions: Sequence[Request], call: Call) -> list[Answer]:
    """As :func:`judge_row`; what went wrong names the keys of this judge."""
    places = judge.responder.places
    with name_keys(places):
        answers = await judge_row(questions, call)
    return [
        replace(each, error=put_keys_below(each.error, places)) if each.error else each for each in answers
    ]


def pose_questions(frame: pl.DataFrame, judge: Judge) -> pl.DataFrame:
    """Add the judge's chat as ``judge_messages``.

    With sides there are two lines per row, one for each order; ``row`` then holds the id of the row. A
    judge that is asked several times has as many lines, numbered in ``judge_repeat``.
    """
    if judge.sides:
        first, second = (_to_text(frame[side]) for side in judge.sides.columns)
        frame = frame.with_columns(first.alias("first"), second.alias("second"), row=pl.col("id"))
        frame = put_in_both_orders(frame, "first", "second").with_columns(id=pl.concat_str("id", "order"))
    frame = render_chats(frame, judge.responder.prompt, column=f"{PREFIX}messages")
    return repeat_rows(frame, judge.responder.repeats, JUDGE_REPEAT)


def _pose_all(frame: pl.DataFrame, panel: Panel) -> list[pl.DataFrame]:
    """The questions of each judge about the rows that have what is judged."""
    judged = frame.drop_nulls(["completion", *(panel.sides.columns if panel.sides else ())])
    return [pose_questions(judged, judge) for judge in panel.judges]


def _to_text(side: pl.Series) -> pl.Series:
    """A side as the judge reads it; of several acceptable answers the first."""
    return (side.list.first() if isinstance(side.dtype, pl.List) else side).cast(pl.String)


class _Slowest:
    """Counts a row as done when all judges are done with as many."""

    def __init__(self, advance: Advance, judges: int) -> None:
        self._advance, self._done, self._told = advance, [0] * judges, 0

    def __call__(self, place: int, rows: int) -> None:
        self._done[place] += rows
        if (new := min(self._done) - self._told) > 0:
            self._told += new
            self._advance(new)


def _add_verdicts(
    frame: pl.DataFrame,
    panel: Panel,
    questions: Sequence[pl.DataFrame],
    answers: Sequence[Sequence[Answer]],
) -> pl.DataFrame:
    keys, known = list_keys(frame), {*frame.columns}
    found: list[tuple[Judge, pl.DataFrame]] = []
    for judge, asked, said in zip(panel.judges, questions, answers, strict=True):
        judged = _read_verdicts(judge, asked, said, keys)
        found.append((judge, judged.select(*keys, *(name for name in judged.columns if name not in known))))
    parts = [
        judged.rename({n: judge.rename(n) for n in judged.columns if n not in keys})
        for judge, judged in found
    ]
    if panel.has_members:
        named = [(judge.name, judged) for judge, judged in found]
        parts.insert(0, count_members(named, keys, panel.rule))
    for part in parts:
        frame = frame.join(part, on=keys, how="left", maintain_order="left")
    return frame


def _read_verdicts(
    judge: Judge, questions: pl.DataFrame, answers: Sequence[Answer], keys: Sequence[str]
) -> pl.DataFrame:
    """One line for each judged completion, with the verdict of one judge."""
    judged = add_answers(questions, answers, judge.responder, PREFIX)
    judged = parse_answers(judged, judge.responder.parser, PREFIX, VERDICT, key=judge.prompt_key)
    again = [JUDGE_REPEAT] if JUDGE_REPEAT in judged.columns else []
    if judge.sides:
        judged = name_winners(judged, judge.sides, [*keys, *again])
    return (
        count_repeats(judged, keys, judge.rule, [*list_fields(judge.responder.parser)]) if again else judged
    )
