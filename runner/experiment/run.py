"""One experiment, from plan to record. This module is the table of contents of the package.

rows ─ shots ─ messages ─ completion ─ prediction ─ verdict ─ scores ─ record
"""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from runner import metrics
from runner.core.services import TuningStatus
from runner.engine.ledger import Ledger
from runner.experiment import stages
from runner.experiment.model import Model, prepare_model, serve_model
from runner.experiment.plan import Plan
from runner.experiment.spending import Spending
from runner.experiment.stages import Measured
from runner.money.budget import Budget
from runner.money.usage import split_unasked
from runner.pipeline.answer import OpenBar, Responder, open_no_bar
from runner.pipeline.finetune import OnStatus
from runner.records.folder import PREDICTIONS
from runner.records.record import Record


def ignore_status(status: TuningStatus) -> None:
    """Show nothing of where a fine-tuning job stands."""


@dataclass(frozen=True)
class Screen:
    """Where a run shows how far it is; by default nowhere. ``beside`` is open while calls are under way."""

    open_bar: OpenBar = open_no_bar
    on_status: OnStatus = ignore_status
    beside: AbstractContextManager[None] = field(default_factory=nullcontext)


def run(plan: Plan, record: Record, folder: Path, screen: Screen = Screen()) -> None:
    """Carry out a plan, write the predictions into ``folder`` and all that is known into ``record``."""
    with closing(Ledger(plan.config.ledger.url)) as ledger, open_spending(plan, ledger, record) as spending:
        rows = stages.load_rows(plan.config.dataset)
        record.inputs = rows.described
        frame = stages.render(plan, rows)
        record.params["prompt_digest"] = plan.responder.prompt.digest[:12]
        stages.rehearse(plan, frame)
        model = prepare_model(plan, frame, ledger, screen.on_status, spending)
        note_model(record, model)
        with serve_model(plan, model, frame, ledger, spending) as responder, screen.beside:
            note_identities(record, responder, plan.judge)
            allowance = spending.allow_answers(responder, frame)
            frame = stages.answer(responder, frame, ledger, screen.open_bar, allowance)
        unasked = frame.clear()
        try:
            frame = stages.add_probability(plan, frame)
            stages.refuse_silence(frame)
            frame = stages.judge(plan, frame, ledger, screen.open_bar, spending.allow_judgments())
            frame, unasked = split_unasked(frame)
            frame = metrics.score_rows(plan.metrics, frame)
        finally:
            frame.write_parquet(folder / PREDICTIONS)
        note_measured(record, stages.measure(plan, frame))
        record.row_scores = metrics.row_score_kinds(plan.metrics)
        record.figures |= spending.sum_up(pl.concat([frame, unasked], how="diagonal"))
    spending.check(frame.height, frame.height + unasked.height)


def open_spending(plan: Plan, ledger: Ledger, record: Record) -> Spending:
    """What the run pays from; the points of a sweep share one budget."""
    limit = plan.config.budget_usd
    budget = None if limit is None else Budget(ledger, record.sweep or record.id, limit)
    return Spending(ledger, budget, plan.judge, stages.find_judged_sides(plan))


def note_model(record: Record, model: Model) -> None:
    """Write down how the evaluated model was made."""
    record.tags["stage"] = model.stage
    record.params |= model.params
    record.curves |= model.curves
    record.models = model.checkpoints
    if model.base is not None:
        record.identities["base"] = model.base


def note_identities(record: Record, responder: Responder, judge: Responder | None) -> None:
    """Write down who answers and who judges, as the ledger knows them."""
    record.identities["model"] = dict(responder.provider.identity())
    if judge:
        record.identities["judge"] = dict(judge.provider.identity())
    record.tags["model"] = str(record.identities["model"].get("model") or responder.provider.model)


def note_measured(record: Record, measured: Measured) -> None:
    """Write down what was measured."""
    record.scores |= measured.scores
    record.figures |= measured.figures
    record.reference = measured.reference
    record.labels = measured.labels
    if measured.first_error:
        record.tags["first_error"] = measured.first_error
