"""One experiment, from plan to record. This module is the table of contents of the package.

rows ─ shots ─ messages ─ completion ─ prediction ─ verdict ─ scores ─ record
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from runner import metrics, parse, tracking
from runner.core.errors import ConfigError, DataError, ProviderError, suggest
from runner.data import dataset, fingerprint
from runner.engine.ask import Purse
from runner.engine.ledger import Ledger
from runner.experiment import model, reference
from runner.experiment.plan import Plan
from runner.experiment.spending import Spending
from runner.money import usage
from runner.money.budget import Budget
from runner.pipeline import judge, label_probability, respond, shots
from runner.records.record import PREDICTIONS, Record


@dataclass(frozen=True)
class Rows:
    """The frame that is measured and the frame that shots and training rows come from."""

    evaluated: pl.DataFrame
    train: pl.DataFrame


def run(plan: Plan, record: Record, folder: Path, advance: respond.Advance, report: model.Report) -> None:
    """Carry out a plan and write what comes of it into ``record`` and ``folder``."""
    with closing(Ledger(plan.config.ledger.url)) as ledger, purses(plan, ledger, record) as spending:
        rows = load(plan, record)
        frame = ask(plan, rows, record)
        rehearse(plan, frame, ledger)
        beside = tracking.warm_up_in_background(plan.config.tracking)
        with model.responder(plan, frame, ledger, record, report, spending) as responder, beside:
            frame = answer(responder, frame, ledger, advance, spending.answering(responder, frame))
        frame = likely(plan, frame)
        frame.write_parquet(folder / PREDICTIONS)
        frame = judged(plan, frame, ledger, advance, spending.judging())
        frame, unasked = usage.split_unasked(frame)
        frame.write_parquet(folder / PREDICTIONS)
        measure(plan, frame, record)
        record.figures |= spending.figures(pl.concat([frame, unasked]))
    spending.check(frame.height, frame.height + unasked.height)


def purses(plan: Plan, ledger: Ledger, record: Record) -> Spending:
    """What the run pays from; the points of a sweep share one budget."""
    limit, judge = plan.config.budget_usd, plan.config.judge
    budget = None if limit is None else Budget(ledger, record.sweep or record.id, limit)
    return Spending(ledger, budget, plan.judge, judge.both_orders if judge else None)


def load(plan: Plan, record: Record) -> Rows:
    """The evaluated split and the train split, with what they are written into the record."""
    config = plan.config.dataset
    frame = dataset.load_rows(config)
    rows = Rows(
        *(frame.filter(pl.col("split") == name) for name in (config.split.evaluate, config.split.train))
    )
    if rows.evaluated.is_empty():
        found = ", ".join(frame["split"].unique().sort())
        raise DataError(f"dataset.split.evaluate: no row is in {config.split.evaluate!r}; there are: {found}")
    record.inputs = fingerprint.describe_rows(config, frame)
    return rows


def ask(plan: Plan, rows: Rows, record: Record) -> pl.DataFrame:
    """Choose the shots and render the chats; refuse templates and shots that would not hold."""
    prompt = plan.responder.prompt
    prompt.check(rows.evaluated.columns)
    plan.responder.check(rows.evaluated.columns)
    record.params["prompt_digest"] = prompt.digest[:12]
    chosen = shots.choose(rows.train, rows.evaluated, plan.config.hyperparameter.n_shot, prompt)
    frame = rows.evaluated.with_columns(shots.ids(rows.train, chosen))
    return respond.render(frame, prompt, shots.rows(rows.train, chosen))


def rehearse(plan: Plan, frame: pl.DataFrame, ledger: Ledger) -> None:
    """Do what follows the answers as if nobody had answered, to refuse before anything is paid what could
    not be measured: a gold value that is missing or cannot be read, a column that no row has, an objective
    that no metric gives.
    """
    frame = likely(plan, graded(plan.responder, respond.silent(frame, plan.responder)))
    names = metrics.rehearse(plan.metrics, judged(plan, frame, ledger, respond.unwatched))
    if names is not None:
        check_objective(plan.config.objective, names)


def check_objective(objective: str | None, names: Iterable[str]) -> None:
    """Refuse an objective that is not among the scores' names."""
    known = list(names)
    if objective is not None and objective not in known:
        raise ConfigError(f"objective: {objective!r} is no metric{suggest(objective, known)}")


def answer(
    responder: respond.Responder,
    frame: pl.DataFrame,
    ledger: Ledger,
    advance: respond.Advance,
    purse: Purse | None = None,
) -> pl.DataFrame:
    """Completions, predictions and gold values."""
    bar = advance(responder.provider.model, frame.height)
    frame = respond.complete(frame, responder, ledger, bar, purse=purse)
    refuse_silence(frame)
    return graded(responder, frame)


def graded(responder: respond.Responder, frame: pl.DataFrame) -> pl.DataFrame:
    """Predictions, and the gold value through the same parser."""
    frame = respond.predict(frame, responder.parser)
    if "target" not in frame.columns:
        return frame
    return frame.with_columns(target=parse.parse_target(responder.parser, frame["target"], frame["id"]))


def likely(plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    """Probabilities of the positive class, where the answers' log-probabilities tell."""
    positive = plan.config.dataset.params.get("positive")
    return label_probability.add(frame, parse.classes(plan.responder.parser), positive)


def refuse_silence(frame: pl.DataFrame) -> None:
    """A run in which every single row failed has measured nothing, and says so instead of giving zeros."""
    errors = frame["error"].drop_nulls()
    if errors.len() == frame.height:
        raise ProviderError(f"none of the {frame.height} rows was answered; the first: {errors[0]}")


def judged(
    plan: Plan, frame: pl.DataFrame, ledger: Ledger, advance: respond.Advance, purse: Purse | None = None
) -> pl.DataFrame:
    """Verdicts of the judge, if the config has one."""
    if plan.judge is None:
        return frame
    plan.judge.prompt.check([*frame.columns, "first", "second"], "judge.prompt")
    title = f"judge {plan.judge.provider.model}"
    sides = plan.config.judge.both_orders if plan.config.judge else None
    return judge.judge(frame, plan.judge, ledger, advance(title, frame.height), sides, purse)


def measure(plan: Plan, frame: pl.DataFrame, record: Record) -> None:
    """Scores with intervals, plain figures, and the comparison with published ones."""
    if frame.is_empty():
        return
    record.scores |= metrics.evaluate(plan.metrics, frame)
    record.labels = parse.classes(plan.responder.parser)
    record.figures |= usage.count_usage(frame)
    if errors := frame["error"].drop_nulls().to_list():
        record.tags["first_error"] = errors[0]
    record.reference = reference.compare(plan.config.reference, record.scores)
