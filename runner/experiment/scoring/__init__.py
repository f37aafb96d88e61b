"""After the answers, before the metrics: ``scoring.steps`` make the scored rows from the answered ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import polars as pl

from runner import metrics, parse
from runner.config.schema import RunnerConfig
from runner.core.errors import DataError, count_of
from runner.core.types import REPEAT, RESERVED, Parser, list_keys, write_column
from runner.data.steps import MEMBERS, SCORING, apply_steps
from runner.parse.sides import list_names
from runner.pipeline.answer import Responder
from runner.pipeline.judge import TIED, VERDICT, Sides
from runner.pipeline.repeats import take_first

log = logging.getLogger(__name__)

FROM = "scored_from"
"""The column of the scored rows that lists the answered rows behind each."""
TEXTS = ("completion", "reasoning", "reading", "judge_completion", "judge_reasoning", "judge_reading")
FIGURES = ("scored_rows", "left_out", "left_out_unread")
ERRORS = ("error", "judge_error")


class Plan(Protocol):
    """What is needed of a :class:`runner.experiment.plan.Plan`."""

    @property
    def config(self) -> RunnerConfig: ...

    @property
    def responder(self) -> Responder: ...

    @property
    def judge(self) -> Responder | None: ...

    @property
    def sides(self) -> Sides | None: ...

    @property
    def metrics(self) -> Mapping[str, Callable[[pl.DataFrame], Any]]: ...


@dataclass(frozen=True)
class Scored:
    """The rows that metrics read, and figures about what became of the answered ones.

    With steps, ``frame`` has the column ``scored_from``, and ``figures`` are ``scored_rows``, the rows of the
    frame, ``left_out``, the answered rows that are in none of them, and ``left_out_unread``, those of them
    from which nothing was read.
    """

    frame: pl.DataFrame
    figures: dict[str, float] = field(default_factory=dict)


def make_scored(plan: Plan, frame: pl.DataFrame) -> Scored:
    """Run ``scoring.steps`` over answered rows; without steps the frame is the same.

    Rows that were not read and are left out make a strict score better, so they are counted, with a warning.

    Raises :class:`DataError` for a step that fails on these rows.
    """
    if not plan.config.scoring.steps or frame.is_empty():
        return Scored(frame)
    try:
        scored = _run_steps(plan, frame)
    except DataError as error:
        raise DataError(
            f"{error}; the answers are kept, so the same command scores them for nothing once this is mended"
        ) from error
    members = scored[MEMBERS].explode()
    left = frame.filter(~pl.Series(range(frame.height)).is_in(members.unique().to_list()))
    unread = left["prediction"].is_null() if VERDICT not in left.columns else left[VERDICT].is_null()
    if unread.any():
        log.warning(
            "scoring.steps leave out %s of which nothing was read (%s%s), so no score counts them as wrong",
            count_of(int(unread.sum()), "row"),
            ", ".join(left.filter(unread)["id"].to_list()[:5]),
            ", …" if int(unread.sum()) > 5 else "",
        )
    counts = (float(scored.height), float(left.height), float(unread.sum()))
    return Scored(_show_members(scored, frame), dict(zip(FIGURES, counts, strict=True)))


def rehearse_steps(plan: Plan, frame: pl.DataFrame, repeats: int) -> tuple[pl.DataFrame, int]:
    """Run ``scoring.steps`` over rows without answers, in which some that are possible stand for them.

    It is done twice, with the same answer to all rows and with answers that differ, since which columns a
    group keeps may depend on them. Returns rows with the columns that come in both cases, each row once, and
    how often a row is scored, of the ``repeats`` that it is asked.

    Raises as :func:`make_scored`, for mistakes that do not depend on the answers.
    """
    if not plan.config.scoring.steps:
        return frame, repeats
    if repeats > 1:
        frame = pl.concat([frame.with_columns(pl.lit(repeat).alias(REPEAT)) for repeat in range(2)])
        frame = frame.sort("id", maintain_order=True)
    same, other = (
        _run_steps(plan, frame.with_columns(_guess(plan, frame, differ)), rehearsed=True)
        for differ in (False, True)
    )
    made = other.select(name for name in other.columns if name in same.columns and name != MEMBERS)
    return take_first(made), repeats if REPEAT in made.columns else 1


def keep_known(labels: dict[str, list[str]], frame: pl.DataFrame) -> dict[str, list[str]]:
    """The closed sets of values without those of columns in which steps have put others."""
    return {
        name: known
        for name, known in labels.items()
        if name not in frame.columns
        or frame.schema[name].is_nested()
        or set(write_column(frame[name].drop_nulls()).unique()) <= set(known)
    }


def _run_steps(plan: Plan, frame: pl.DataFrame, rehearsed: bool = False) -> pl.DataFrame:
    numbered = frame.with_columns(
        pl.Series(MEMBERS, [[row] for row in range(frame.height)], pl.List(pl.Int64))
    )
    scored = apply_steps(numbered, plan.config.scoring.steps, SCORING, rehearsed)
    for name in ("id", "prediction"):
        if name not in scored.columns:
            raise DataError(
                f"{SCORING}: the rows have no column {name!r} any more; name it in the columns of the group,"
                " such as {prediction: MAJORITY(prediction)}"
            )
    ids = write_column(scored["id"])
    keys = scored.select(list_keys(scored))
    if ids.has_nulls() or keys.is_duplicated().any():
        raise DataError(
            f"{SCORING}: several rows have the id {ids.filter(keys.is_duplicated()).first()!r}, or none;"
            " group them, or derive a new id"
        )
    return scored.with_columns(ids)


def _guess(plan: Plan, frame: pl.DataFrame, differ: bool) -> list[pl.Series]:
    """The columns that answers fill: values of a closed set, gold values, or any text or number."""
    known = _list_known("prediction", plan.responder.parser)
    if plan.judge:
        known |= _list_known(VERDICT, plan.judge.parser)
    if plan.sides:
        known[VERDICT] = [*plan.sides.columns, TIED]
    if "target" in frame.columns and not frame.schema["target"].is_nested():
        golds = frame["target"].drop_nulls().unique(maintain_order=True).head(20)
        known["prediction"] = known["prediction"] or write_column(golds).to_list()
    names = {*known, *RESERVED, "probability"} - {"id", REPEAT, "error", "judge_error"}
    return [
        _fill(frame[name], known.get(name, ()), differ)
        for name in frame.columns
        if name in names and not frame.schema[name].is_nested()
    ]


def _list_known(name: str, parser: Parser) -> dict[str, list[str]]:
    """By column, the values that a parser and its fields can give; [] where they are not a closed set."""
    fields = {f"{name}_{field}": each for field, each in parse.list_fields(parser).items()}
    return {
        column: parse.classes(each) or list_names(each) for column, each in {name: parser, **fields}.items()
    }


def _fill(column: pl.Series, values: Sequence[str], differ: bool) -> pl.Series:
    kind, places = column.dtype, range(len(column)) if differ else [0] * len(column)
    if values:
        given: list[Any] = [values[place % len(values)] for place in places]
    elif kind == pl.Boolean:
        given = [place % 2 == 0 for place in places]
    else:
        given = [place % 2 + 1 if kind.is_numeric() else f"text {place}" for place in places]
    made = pl.Series(column.name, given)
    return made if kind == pl.Null else made.cast(kind, strict=False)


def _show_members(scored: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """The scored rows with the names of the rows behind them, and what these said if that is gone.

    Texts are joined by newlines; there is an error only where all rows behind have one.
    """
    members = scored.select(MEMBERS).with_row_index(" row").explode(MEMBERS)
    lost = [name for name in (*TEXTS, *ERRORS) if name in frame.columns and name not in scored.columns]
    said = frame.select(_name_rows(frame).alias("name"), *lost)
    said = said.with_row_index(" member")
    joined = members.join(
        said.with_columns(pl.col(" member").cast(pl.Int64)),
        left_on=MEMBERS,
        right_on=" member",
        how="left",
        maintain_order="left",
    ).drop(MEMBERS)
    texts = [
        pl.when(pl.col(name).is_not_null().any() if name in TEXTS else pl.col(name).is_not_null().all())
        .then(pl.col(name).drop_nulls().unique(maintain_order=True).str.join("\n"))
        .alias(name)
        for name in lost
    ]
    behind = joined.group_by(" row", maintain_order=True).agg(pl.col("name").alias(FROM), *texts).drop(" row")
    return scored.drop(MEMBERS).hstack(behind)


def score_rows(plan: Plan, frame: pl.DataFrame, scored: Scored) -> tuple[pl.DataFrame, Scored]:
    """Add the scores of single rows to both frames.

    With steps, an answered row has the scores of the scored row that it alone became, and no others.
    """
    with_scores = metrics.score_rows(plan.metrics, scored.frame)
    if not scored.figures:
        return with_scores, replace(scored, frame=with_scores)
    alone = with_scores.filter(pl.col(FROM).list.len() == 1).with_columns(pl.col(FROM).list.first())
    alone = alone.filter(pl.col(FROM).is_unique())
    names = [name for name in metrics.row_score_kinds(plan.metrics) if name in with_scores.columns]
    answered = frame.with_columns(_name_rows(frame).alias(FROM))
    joined = answered.join(alone.select(FROM, *names), on=FROM, how="left", maintain_order="left")
    return joined.drop(FROM), replace(scored, frame=with_scores)


def _name_rows(frame: pl.DataFrame) -> pl.Series:
    """What each row is called: its id, and the number of its repeat if there are several."""
    keys = [pl.col(key).cast(pl.String) for key in list_keys(frame)]
    return frame.select(pl.concat_str(keys, separator=", repeat ")).to_series()
