"""Rows as traces, made from the predictions and written in bulk after the calls.

To trace while calls run costs about 70 ms per call; here many spans are sent at a time. The id of a trace is
made from run and row, so that logging a record again overwrites its traces.

MLflow pairs the rows of two runs by their traces' preview of the request, letter by letter. So the preview is
the row, its id first, and not the chat, which has other shots in another run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from mlflow.entities import (
    Assessment,
    AssessmentSource,
    Expectation,
    Feedback,
    Span,
    TraceInfo,
    TraceLocation,
    TraceState,
)
from mlflow.tracing.client import TracingClient

from runner.core.types import REPEAT, list_members
from runner.records.record import Record
from runner.records.result import find_right_score
from runner.tracking.store import Store

BATCH = 100
PREVIEW = 1000
VALUE = 400
"""So much of a column is in a preview, so that a long document leaves room for the next column."""
FEEDBACK = 200
"""A longer prediction is a text and no value that one groups rows by."""
JUDGE = "judge_"
BEGIN = " begin"
"""When a row's trace starts, in ms; no column has this name."""
Row = Mapping[str, Any]


def log_traces(record: Record, rows: pl.DataFrame, run_id: str, store: Store) -> None:
    """Log these rows as traces and link them to the run.

    MLflow's public functions take one span at a time, through queues, which takes five times as long.
    """
    client = TracingClient(store.uri)
    # a server handles several requests at once; with a database file they would only wait for each other
    with ThreadPoolExecutor(8 if store.uri.startswith("http") else 1) as pool:
        for first, part in zip(range(0, rows.height, BATCH), rows.iter_slices(BATCH), strict=True):
            # MLflow lists the latest traces first, so the first row gets the latest time
            begin = int(record.started * 1000) + rows.height - first
            chunk = [row | {BEGIN: begin - place} for place, row in enumerate(part.to_dicts())]
            infos = [_make_info(record, row, run_id, store.experiment_id) for row in chunk]
            list(pool.map(client.start_trace, infos))
            client.log_spans(
                store.experiment_id, [span for row in chunk for span in _make_spans(record, row, run_id)]
            )
            store.client.link_traces_to_run([info.trace_id for info in infos], run_id)


def choose_rows(record: Record, rows: pl.DataFrame, wanted: object) -> pl.DataFrame:
    """The rows that ``tracking.traces`` asks for: all, none, failures, or a number of them.

    A number of rows is drawn by a hash of their ids. So every run on these rows has the same ones, whatever
    was answered, and they are as often wrong as the rest. Of several answers to a row the first is traced.
    """
    if REPEAT in rows.columns:
        rows = rows.filter(pl.col(REPEAT) == 0)
    if wanted == "failures":
        return rows.filter(_is_failed(record, rows))
    count = rows.height if wanted == "all" else wanted if isinstance(wanted, int) else 0
    drawn = sorted(rows["id"], key=lambda row: _hash_text(row, 16))[:count]
    return rows.filter(pl.col("id").is_in(drawn))


def _is_failed(record: Record, rows: pl.DataFrame) -> pl.Expr:
    """Not answered, not parsed, judged wrong, or wrong by :func:`find_right_score`."""
    failed = pl.lit(False)
    for name in ("error", JUDGE + "error"):
        if name in rows.columns:
            failed |= pl.col(name).is_not_null()
    for name in ("prediction", "verdict"):
        if name in rows.columns:
            failed |= pl.col(name).is_null()
    if rows.schema.get("verdict") == pl.Boolean:
        failed |= pl.col("verdict").not_().fill_null(True)
    right = find_right_score(record)
    return failed | (pl.col(right) == 0).fill_null(False) if right in rows.columns else failed


def make_trace_id(run_id: str, row: Row) -> str:
    """The id of a row's trace: the same for the same row of the same run."""
    return "tr-" + _hash_text(f"{run_id} {row['id']}", 32)


def _make_info(record: Record, row: Row, run_id: str, experiment_id: str) -> TraceInfo:
    trace = make_trace_id(run_id, row)
    return TraceInfo(
        trace_id=trace,
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=row[BEGIN],
        execution_duration=int(sum(_get_seconds(row, prefix) for prefix in ("", JUDGE)) * 1000),
        state=TraceState.ERROR if row.get("error") else TraceState.OK,
        request_preview=_preview(_get_inputs(record, row)),
        response_preview=str(row.get("completion") or row.get("error") or "")[:PREVIEW],
        tags={"mlflow.traceName": record.name, "row": str(row["id"]), "record_id": record.id},
        trace_metadata={"mlflow.sourceRun": run_id},
        assessments=_make_assessments(record, trace, row),
    )


def _make_assessments(record: Record, trace: str, row: Row) -> list[Assessment]:
    """The gold value as expectation; scores, a short prediction and the judge's verdict as feedback.

    The feedback ``correct`` is what :func:`find_right_score` says. The judge's words are the rationale
    of the verdict.
    """
    human, code, judge = (AssessmentSource(kind, "runner") for kind in ("HUMAN", "CODE", "LLM_JUDGE"))
    given: list[Assessment] = []
    if row.get("target") is not None:
        given.append(Expectation("target", row["target"], source=human))
    right = row.get(find_right_score(record) or "")
    values: dict[str, Any] = {"correct": None if right is None else right == 1}
    values |= {name: row.get(name) for name in (*record.row_scores, "prediction")}
    if isinstance(values["prediction"], str) and len(values["prediction"]) > FEEDBACK:
        del values["prediction"]
    for name, value in values.items():
        if value is not None:
            given.append(Feedback(name, value, source=code))
    if row.get("verdict") is not None:
        given.append(
            Feedback("verdict", row["verdict"], source=judge, rationale=row.get(f"{JUDGE}completion"))
        )
    for name in list_members(row):
        own = f"{JUDGE}{name}_"
        if (verdict := row.get(f"{own}verdict")) is not None:
            said = row.get(f"{own}completion")
            given.append(Feedback(f"verdict_{name}", verdict, source=judge, rationale=said))
    for assessment in given:
        assessment.assessment_id = "a-" + _hash_text(f"{trace} {assessment.name}", 32)
    return given


def _make_spans(record: Record, row: Row, run_id: str) -> list[Span]:
    """One span for the row, and in it one for each call.

    Rows do not say when they were asked, so all traces start with their run. Durations are real.
    """
    begin, trace = row[BEGIN] * 10**6, make_trace_id(run_id, row)
    call = _describe_call(row, "", record.tags.get("model", "model"), begin)
    calls = [call]
    judges = {"judge": JUDGE} | {f"judge {name}": f"{JUDGE}{name}_" for name in list_members(row)}
    for name, prefix in judges.items():
        if row.get(f"{prefix}messages") is not None:
            calls.append(_describe_call(row, prefix, name, call["end"]))
    outputs = {name: row.get(name) for name in ("completion", "prediction") if row.get(name) is not None}
    whole = call | {
        "name": record.name,
        "kind": "CHAIN",
        "inputs": _get_inputs(record, row),
        "outputs": outputs or None,
        "usage": None,
        "model": None,
        "format": None,
        "end": max(each["end"] for each in calls),
    }
    return [_make_span(trace, part, place) for place, part in enumerate((whole, *calls))]


def _get_inputs(record: Record, row: Row) -> dict[str, Any]:
    """The id of a row and the columns that its prompt shows; all columns, if a record does not say which."""
    columns = next((given.get("columns") for given in record.inputs if given.get("columns")), None) or {}
    shown = record.shown or [name for name in columns if name not in ("target", "split", "order")]
    return {"id": row["id"]} | {name: row.get(name) for name in shown if name in row}


def _preview(inputs: Mapping[str, Any]) -> str:
    """A row in at most ``PREVIEW`` characters: JSON, with the beginnings of long values."""
    values = {name: _cut(value, VALUE) if isinstance(value, str) else value for name, value in inputs.items()}
    return _cut(json.dumps(values, ensure_ascii=False, default=str), PREVIEW)


def _cut(text: str, length: int) -> str:
    return f"{text[: length - 1]}…" if len(text) > length else text


def _describe_call(row: Row, prefix: str, name: str, start: int) -> dict[str, Any]:
    """One call to a model: messages, completion, tokens, and start and end in ns."""
    tokens = {kind: row.get(f"{prefix}{kind}_tokens") for kind in ("input", "output")}
    usage = {f"{kind}_tokens": count or 0 for kind, count in tokens.items()}
    return {
        "name": name,
        "kind": "CHAT_MODEL",
        "inputs": {"messages": row.get(f"{prefix}messages")},
        "outputs": {
            "choices": [{"message": {"role": "assistant", "content": row.get(f"{prefix}completion")}}]
        },
        "usage": usage | {"total_tokens": sum(usage.values())} if any(tokens.values()) else None,
        "model": row.get(f"{prefix}answered_by"),
        "error": row.get(f"{prefix}error"),
        "format": "openai",  # the UI shows it as a chat
        "start": start,
        "end": start + int(_get_seconds(row, prefix) * 1e9),
    }


def _make_span(trace: str, part: Mapping[str, Any], place: int) -> Span:
    """The span at ``place``; those after the first are its children."""
    attributes = {
        "mlflow.traceRequestId": trace,
        "mlflow.spanType": part["kind"],
        "mlflow.spanInputs": part["inputs"],
        "mlflow.spanOutputs": part["outputs"],
        "mlflow.chat.tokenUsage": part["usage"],
        "mlflow.llm.model": part["model"],
        "mlflow.message.format": part["format"],
    }
    written = {
        name: json.dumps(value, default=str) for name, value in attributes.items() if value is not None
    }
    return Span.from_dict(
        {
            "name": part["name"],
            "trace_id": trace,
            "span_id": f"0x{_hash_text(f'{trace} {place}', 16)}",
            "parent_span_id": f"0x{_hash_text(f'{trace} 0', 16)}" if place else None,
            "start_time_unix_nano": part["start"],
            "end_time_unix_nano": part["end"],
            "status": {"code": "ERROR" if part["error"] else "OK", "message": part["error"] or ""},
            "attributes": written,
        }
    )


def _get_seconds(row: Row, prefix: str) -> float:
    """How long the call took; 0 if that is not known, as for a recorded answer."""
    return row.get(f"{prefix}latency_s") or 0.0


def _hash_text(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
