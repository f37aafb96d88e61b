"""A recorded run once more: the same steps, with answers that are there already."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import polars as pl

from runner.core.errors import DataError, RunnerError
from runner.core.types import Completion
from runner.engine.ask import KIND
from runner.engine.ledger import Ledger
from runner.experiment import run
from runner.experiment.plan import Plan
from runner.pipeline.judge import PREFIX
from runner.pipeline.respond import Advance
from runner.records.record import Record
from runner.reproduce import differences
from runner.reproduce.differences import Check
from runner.reproduce.past_run import Past

COLUMNS = {"text": "completion", "model": "answered_by"}
"""The columns of a completion's fields that have another name."""
NAMED = 5


def replay(
    plan: Plan, past: Past, ledger: Ledger, advance: Advance, now: Record
) -> tuple[pl.DataFrame, list[Check]]:
    """The predictions of today, with their scores in ``now``.

    The second value says whether the data is the same. Where it is not here, or makes no chats any more,
    the rows and chats come from the recorded predictions.
    """
    frame, target, told = _asked(plan, past, now)
    frame = run.answer(plan.responder, frame, ledger, advance).with_columns(target)
    frame = run.judged(plan, run.likely(plan, frame), ledger, advance)
    run.measure(plan, frame, now)
    return frame, told


def _asked(plan: Plan, past: Past, now: Record) -> tuple[pl.DataFrame, list[pl.Series], list[Check]]:
    """The rows with their chats, and their gold values where these are parsed already."""
    try:
        rows = run.load(plan, now)
    except DataError as error:
        reason = str(error).partition(";")[0]
        return *_recorded(past), [
            Check("data", "missing", f"{reason}; the record's rows are used"),
            Check("chats", "missing", "not made anew", decides=False),
        ]
    told = differences.inputs(past.record, now)
    try:
        return run.ask(plan, rows, now), [], told
    except RunnerError as error:
        return *_recorded(past), [*told, Check("chats", "different", f"{error}; the record's are used")]


def _recorded(past: Past) -> tuple[pl.DataFrame, list[pl.Series]]:
    known = {*past.record.inputs[0]["columns"], "split", "shots", "messages"} - {"target"}
    target = [past.frame[name] for name in past.frame.columns if name == "target"]
    return past.frame.select(name for name in past.frame.columns if name in known), target


def absent(past: Past, ledger: Ledger) -> list[Check]:
    """Whether the ledger still has every answer, by row."""
    return [check for prefix in ("", PREFIX) for check in _absent(past.frame, prefix, ledger)]


def _absent(frame: pl.DataFrame, prefix: str, ledger: Ledger) -> Iterator[Check]:
    rows = _kept(frame, prefix)
    if not rows:
        return
    keys = {row["id"]: row[f"{prefix}ledger_key"].split("\n") for row in rows}
    known = ledger.get_many(KIND, (key for several in keys.values() for key in several))
    lacking = [row for row, several in keys.items() if not known.keys() >= set(several)]
    what = f"ledger, {'judge' if prefix else 'model'}"
    if not lacking:
        yield Check(what, "same", f"{len(rows)} answers")
        return
    named = ", ".join(lacking[:NAMED]) + (", …" if len(lacking) > NAMED else "")
    yield Check(what, "missing", f"{len(lacking)} of {len(rows)} answers, now from the record: {named}")


def _kept(frame: pl.DataFrame, prefix: str) -> list[dict[str, Any]]:
    """The rows whose answers went to the ledger."""
    if f"{prefix}ledger_key" not in frame.columns:
        return []
    kept = pl.col(f"{prefix}ledger_key").is_not_null() & pl.col(f"{prefix}completion").is_not_null()
    return list(frame.filter(kept, pl.col(f"{prefix}error").is_null()).iter_rows(named=True))


def answered(past: Past) -> dict[str, Any]:
    """The answers that the predictions hold, by ledger key, for those that the ledger has lost.

    A judge's two answers to one row are not told apart there, so these are left out.
    """
    return {
        row[f"{prefix}ledger_key"]: dict(_completion(row, prefix))
        for prefix in ("", PREFIX)
        for row in _kept(past.frame, prefix)
        if "\n" not in row[f"{prefix}ledger_key"]
    }


def _completion(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for field in fields(Completion):
        value = row.get(prefix + COLUMNS.get(field.name, field.name))
        if value is not None:
            yield field.name, json.loads(value) if field.name == "logprobs" else value
