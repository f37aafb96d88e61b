"""A recorded run once more: the same steps, with answers that are there already."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from runner.core.errors import DataError, RunnerError, count_of
from runner.core.types import REPEAT, Completion, Score, list_keys
from runner.engine.call import read_answers as read_stored
from runner.engine.ledger import Ledger
from runner.experiment import stages
from runner.experiment.plan import Plan
from runner.experiment.scoring import make_scored
from runner.pipeline.answer import OpenBar
from runner.pipeline.judge import PREFIX
from runner.reproduce import differences
from runner.reproduce.differences import Check
from runner.reproduce.past_run import PastRun

COLUMNS = {"text": "completion", "model": "answered_by"}
"""The columns of a completion's fields that have another name."""
NAMED = 5


@dataclass(frozen=True)
class Rerun:
    """The predictions and scores of today, and whether the data is the same."""

    frame: pl.DataFrame
    scores: dict[str, Score]
    data: list[Check]


def rerun(plan: Plan, past: PastRun, ledger: Ledger, open_bar: OpenBar) -> Rerun:
    """Make a run's predictions and scores anew.

    Where its data is not here, or makes no chats any more, the rows and chats are those of its predictions.
    """
    frame, target, data = _render(plan, past)
    frame = stages.answer(plan.responder, frame, ledger, open_bar).with_columns(target)
    stages.require_answers(frame)
    frame = stages.judge(plan, stages.add_probability(plan, frame), ledger, open_bar)
    measurements = stages.measure(plan, frame, make_scored(plan, frame))
    measurements.check()
    return Rerun(frame, measurements.scores, data)


def _render(plan: Plan, past: PastRun) -> tuple[pl.DataFrame, list[pl.Series], list[Check]]:
    """The rows with their chats, and their gold values where these are parsed already."""
    try:
        rows = stages.load_rows(plan.config.dataset)
    except DataError as error:
        reason = str(error).partition(";")[0]
        return *_read_recorded(past), [
            Check("data", "missing", f"{reason}; the record's rows are used"),
            Check("chats", "missing", "not made anew", decides=False),
        ]
    data = differences.compare_inputs(past.record, rows.described)
    try:
        return stages.render(plan, rows), [], data
    except RunnerError as error:
        return *_read_recorded(past), [*data, Check("chats", "different", f"{error}; the record's are used")]


def _read_recorded(past: PastRun) -> tuple[pl.DataFrame, list[pl.Series]]:
    known = {*past.record.inputs[0]["columns"], "split", "shots", "messages", REPEAT} - {"target"}
    target = [past.frame[name] for name in past.frame.columns if name == "target"]
    return past.frame.select(name for name in past.frame.columns if name in known), target


def check_ledger(past: PastRun, ledger: Ledger) -> list[Check]:
    """Whether the ledger still has every answer, by row."""
    return [check for prefix in ("", PREFIX) for check in _check_answers(past.frame, prefix, ledger)]


def _check_answers(frame: pl.DataFrame, prefix: str, ledger: Ledger) -> Iterator[Check]:
    rows = _find_kept(frame, prefix)
    if not rows:
        return
    keys = {
        ", repeat ".join(str(row[name]) for name in list_keys(frame)): row[f"{prefix}ledger_key"].split("\n")
        for row in rows
    }
    known = read_stored(ledger, (key for several in keys.values() for key in several))
    lacking = [row for row, several in keys.items() if not known.keys() >= set(several)]
    what = f"ledger, {'judge' if prefix else 'model'}"
    if not lacking:
        yield Check(what, "same", count_of(len(rows), "answer"))
        return
    named = ", ".join(lacking[:NAMED]) + (", …" if len(lacking) > NAMED else "")
    yield Check(
        what, "missing", f"{len(lacking)} of {count_of(len(rows), 'answer')}, now from the record: {named}"
    )


def _find_kept(frame: pl.DataFrame, prefix: str) -> list[dict[str, Any]]:
    """The rows whose answers went to the ledger."""
    if f"{prefix}ledger_key" not in frame.columns:
        return []
    kept = pl.col(f"{prefix}ledger_key").is_not_null() & pl.col(f"{prefix}completion").is_not_null()
    return list(frame.filter(kept, pl.col(f"{prefix}error").is_null()).iter_rows(named=True))


def read_answers(past: PastRun) -> dict[str, Any]:
    """The answers that the predictions hold, by ledger key, for those that the ledger has lost.

    A judge's two answers to one row are not told apart there, so these are left out.
    """
    return {
        row[f"{prefix}ledger_key"]: dict(_completion_fields(row, prefix))
        for prefix in ("", PREFIX)
        for row in _find_kept(past.frame, prefix)
        if "\n" not in row[f"{prefix}ledger_key"]
    }


def _completion_fields(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for field in fields(Completion):
        value = row.get(prefix + COLUMNS.get(field.name, field.name))
        if value is not None:
            yield field.name, json.loads(value) if field.name == "logprobs" else value
