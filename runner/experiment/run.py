"""One experiment, from plan to record: the table of contents of this package.

rows ─ shots ─ messages ─ completion ─ prediction ─ verdict ─ scores ─ record
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from runner import metrics
from runner.core.errors import note_calls
from runner.core.identity import read_identity
from runner.core.services import TuningStatus
from runner.engine.ledger import Ledger
from runner.experiment import gaps, stages
from runner.experiment.conditions import count_met, list_unmet
from runner.experiment.model import Model, prepare_model, serve_model
from runner.experiment.plan import Plan
from runner.experiment.rehearsal import rehearse
from runner.experiment.scoring import Scored, make_scored, score_rows
from runner.experiment.spending import Spending
from runner.experiment.stages import Measurements
from runner.experiment.tally import Tally
from runner.money.budget import Budget
from runner.money.usage import count_usage, split_unasked
from runner.pipeline.answer import OpenBar, Responder, open_no_bar
from runner.pipeline.jobs import OnStatus
from runner.pipeline.judge import Panel
from runner.pipeline.keeping import SweepKeeper
from runner.records.folder import PREDICTIONS, SCORED
from runner.records.record import Record
from runner.records.result import order_columns


def ignore_status(status: TuningStatus) -> None:
    """Show nothing; an :data:`~runner.pipeline.finetune.OnStatus`."""


@dataclass(frozen=True)
class Screen:
    """Shows the progress of a run; by default nothing. ``tally`` counts it."""

    open_bar: OpenBar = open_no_bar
    on_status: OnStatus = ignore_status
    tally: Tally = field(default_factory=Tally)

    def show_status(self, status: TuningStatus) -> None:
        """Show and count where a fine-tuning job stands."""
        self.tally.note_training(status)
        self.on_status(status)


def run(
    plan: Plan,
    record: Record,
    folder: Path,
    screen: Screen = Screen(),
    keeper: SweepKeeper | None = None,
    command: str = "",
) -> None:
    """Carry out a plan. Write the predictions into ``folder`` and everything else into ``record``.

    ``keeper`` keeps the deployments that other points of the sweep may need. ``command`` is what the points
    of a sweep share: together they make at most one new fine-tuning job.

    Raises :class:`runner.core.errors.RunnerError` if the run fails or its budget is used up; ``record`` then
    holds what is known so far.
    """
    with closing(Ledger(plan.config.ledger.url)) as ledger, open_spending(plan, ledger, record) as spending:
        rows = stages.load_rows(plan.config.dataset)
        record.inputs = rows.described
        frame = stages.render(plan, rows)
        record.params["prompt_digest"] = plan.responder.prompt.digest[:12]
        record.shown = plan.responder.prompt.find_columns(rows.evaluated.columns)
        rehearse(plan, frame)
        model = prepare_model(plan, frame, ledger, screen.show_status, spending, command)
        note_model(record, model)
        with note_calls():
            record.warnings = model.warnings
            own = keeper.of_point(record.job or 0, model.find) if keeper and model.find else None
            with serve_model(plan, model, frame, ledger, spending, own) as responder:
                note_identities(record, responder, plan.panel)
                note_prices(record, responder, plan.panel)
                allowance = spending.allow_answers(responder, frame)
                frame = stages.answer(responder, frame, ledger, screen.open_bar, allowance, screen.tally)
            if gaps.explain_no_answers(frame):  # they may be paid all the same
                record.figures |= count_usage(frame) | spending.sum_up(frame)
            frame, scored, unasked = evaluate(plan, frame, folder, ledger, screen, spending)
            every_row = pl.concat([frame, unasked], how="diagonal")
            measurements = stages.measure(plan, frame, scored)
            note_measurements(record, measurements)
            record.averages = stages.find_averages(plan)
            record.row_scores = metrics.row_score_kinds(plan.metrics)
            record.figures |= spending.sum_up(every_row)
            figures = record.figures | count_met(record.reference)
            record.unmet = list_unmet(plan.config.require, record.scores, figures)
    measurements.check()
    spending.check(frame.height, frame.height + unasked.height)
    gaps.check_failed_rows(frame, plan.config.max_failed)


def evaluate(
    plan: Plan, frame: pl.DataFrame, folder: Path, ledger: Ledger, screen: Screen, spending: Spending
) -> tuple[pl.DataFrame, Scored, pl.DataFrame]:
    """Judge and score the answered rows and write them.

    Returns them, the rows that the metrics read, and those that were not asked.

    Raises :class:`runner.core.errors.ProviderError` if no row has an answer.
    """
    unasked = frame.clear()
    try:
        frame = stages.add_probability(plan, frame)
        if no_answers := gaps.explain_no_answers(frame):
            frame = stages.judge_nothing(plan, frame)
            frame = frame if plan.config.scoring.steps else metrics.score_rows(plan.metrics, frame)
            raise no_answers
        gaps.warn_of_unread(plan.responder.parser, frame)
        allowances = spending.allow_judgments()
        frame = stages.judge(plan, frame, ledger, screen.open_bar, allowances, screen.tally)
        gaps.warn_of_unread_verdicts(plan.panel, frame)
        frame, unasked = split_unasked(frame)
        scored = make_scored(plan, frame)
        frame, scored = score_rows(plan, frame, scored)
    finally:
        write_rows(plan, frame, folder / PREDICTIONS)
    if scored.figures:
        write_rows(plan, scored.frame, folder / SCORED)
    return frame, scored, unasked


def write_rows(plan: Plan, frame: pl.DataFrame, file: Path) -> None:
    """Write rows with the columns in the order in which a reader wants them."""
    order = order_columns(frame.columns, metrics.row_score_kinds(plan.metrics))
    frame.select(order).write_parquet(file)


def open_spending(plan: Plan, ledger: Ledger, record: Record) -> Spending:
    """Return the context that pays for the run; the points of a sweep share one budget."""
    limit = plan.config.budget_usd
    budget = None if limit is None else Budget(ledger, record.sweep or record.id, limit)
    return Spending(ledger, budget, plan.panel)


def note_model(record: Record, model: Model) -> None:
    """Record how the evaluated model was made."""
    record.tags["stage"] = model.stage
    record.params |= model.params
    record.curves |= model.curves
    record.models = model.checkpoints
    if model.base is not None:
        record.identities["base"] = model.base


def note_identities(record: Record, responder: Responder, panel: Panel | None) -> None:
    """Record the identities of the model and of the judges, as in the keys of the ledger."""
    record.identities["model"] = read_identity(responder.provider)
    for judge in panel.judges if panel else ():
        who = f"judge.{judge.name}" if judge.name else "judge"
        record.identities[who] = read_identity(judge.responder.provider)
    record.tags["model"] = str(record.identities["model"].get("model") or responder.provider.model)


def note_prices(record: Record, responder: Responder, panel: Panel | None) -> None:
    """Record the prices of answers with their dates, where they are known."""
    who = {"price": responder} | {
        f"{judge.rename('judge_price')}": judge.responder for judge in (panel.judges if panel else ())
    }
    for name, each in who.items():
        if price := each.book.find_provider_price(each.provider):
            record.params[name] = price.describe()


def note_measurements(record: Record, measurements: Measurements) -> None:
    """Record scores, figures and comparisons."""
    record.scores |= measurements.scores
    record.figures |= measurements.figures
    record.reference = measurements.reference
    record.labels = measurements.labels
    record.spread, record.no_spread = measurements.spread, measurements.no_spread
    if measurements.first_error:
        record.tags["first_error"] = measurements.first_error
