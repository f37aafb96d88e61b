"""Rows as traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import tracked
from mlflow.entities import Trace
from tracked import client, logged

from runner.config.schema import TrackingConfig
from runner.tracking import store
from runner.tracking.traces import choose_rows


def scored(folder: Path) -> Path:
    """The folder of a run whose rows have their score."""
    right = pl.col("prediction").eq(pl.col("target")).cast(pl.Float64)
    frame = tracked.rows().with_columns(accuracy=right, closeness=right / 2)
    kinds = {"closeness": "value", "accuracy": "right"}
    return tracked.write(folder, frame=frame, row_scores=kinds)


def traces(config: TrackingConfig, folder: Path, wanted: object) -> dict[str, Trace]:
    """Log a record with traces and read them back, by row."""
    run = logged(folder, replace(config, traces=wanted))
    experiment = store.connect(config).experiment_id
    found = client(config).search_traces(locations=[experiment], run_id=run.info.run_id)
    return {trace.info.tags["row"]: trace for trace in found}


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ("none", set()),
        (None, set()),
        (0, set()),
        ("failures", {3, 7}),
        ("all", set(range(8))),
        (9, set(range(8))),
    ],
)
def test_only_the_wanted_rows_are_traced(mlflow_config, tmp_path, wanted, rows):
    """All, none, as many as there are, or those with a wrong, missing or unreadable answer."""
    assert set(traces(mlflow_config, scored(tmp_path / "run"), wanted)) == {f"fib/{row}" for row in rows}


def test_runs_trace_the_same_rows():
    """Which rows are drawn depends on their ids alone: not on the answers, nor on the order of the rows."""
    record, frame = tracked.record(), tracked.rows(500)
    first = choose_rows(record, frame, 100)["id"].to_list()
    other = frame.with_columns(prediction=pl.lit("else")).reverse()
    assert set(choose_rows(record, other, 100)["id"]) == set(first)
    assert (len(first), first) == (100, sorted(first, key=lambda row: int(row[4:])))
    assert {row[-1] for row in first} == set("0123456789")


def test_without_row_scores_only_what_is_missing_failed(mlflow_config, tmp_path):
    """A record of an earlier version does not say what is right: an unread answer has failed, no other."""
    folder = tracked.write(tmp_path / "run")
    (trace,) = traces(mlflow_config, folder, "failures").values()
    assert trace.info.tags["row"] == "fib/7"
    assert [assessment.name for assessment in trace.info.assessments] == ["target"]


def test_a_trace_holds_the_call(mlflow_config, tmp_path):
    """What was said both ways, tokens and duration; label, answer and the row's scores as assessments."""
    trace = traces(mlflow_config, scored(tmp_path / "run"), "all")["fib/0"]
    around, span = trace.data.spans
    assert around.outputs == {"completion": "It is inconsistent.", "prediction": tracked.INCONSISTENT}
    assert span.inputs == {"messages": [{"role": "user", "content": "Is summary 0 right?"}]}
    assert span.outputs["choices"][0]["message"]["content"] == "It is inconsistent."
    assert (trace.info.execution_duration, trace.info.token_usage["total_tokens"]) == (250, 23)
    values = {assessment.name: assessment.value for assessment in trace.info.assessments}
    said = {"target": tracked.INCONSISTENT, "prediction": tracked.INCONSISTENT}
    assert values == said | {"closeness": 0.5, "accuracy": 1.0, "correct": True}


def test_a_row_begins_with_its_id_and_the_columns_of_the_prompt(mlflow_config, tmp_path):
    """MLflow pairs runs by the preview: one for a row with any shots, another for a row of the same text."""
    texts = {"document": pl.lit("a long document " * 99), "answer": pl.lit("b")}
    previews = []
    for name, shown in (("a", ["document", "answer"]), ("b", ["document", "answer"]), ("c", [])):
        frame = tracked.rows(2).with_columns(**texts, messages=pl.lit(name))
        columns = {"id": "String", "document": "String", "answer": "String", "target": "String"}
        folder = tracked.write(
            tmp_path / name, name, frame, shown=shown, inputs=[{"name": "fib", "columns": columns}]
        )
        found = traces(mlflow_config, folder, "all")
        (root,) = [span for span in found["fib/0"].data.spans if span.parent_id is None]
        assert list(root.inputs) == ["id", "document", "answer"]
        previews.append([found[row].info.request_preview for row in ("fib/0", "fib/1")])
    assert previews[0] == previews[1] == previews[2]
    assert len({*previews[0]}) == 2
    assert previews[0][0].startswith('{"id": "fib/0", "document": "a long')
    assert previews[0][0].endswith('…", "answer": "b"}')


def test_logging_again_makes_no_second_trace(mlflow_config, tmp_path):
    """A trace belongs to a row of a record, however often that is logged."""
    folder = tracked.write(tmp_path / "run")
    first, second = traces(mlflow_config, folder, "all"), traces(mlflow_config, folder, "all")
    assert {trace.info.trace_id for trace in first.values()} == {t.info.trace_id for t in second.values()}
    assert all(len(trace.info.assessments) <= 2 for trace in second.values())


def test_a_judge_is_part_of_the_trace(mlflow_config, tmp_path):
    """The judge's call follows the judged one, both inside one span; its verdict is feedback."""
    asked = {"judge_messages": pl.col("messages"), "judge_completion": pl.lit("no")}
    frame = tracked.rows().with_columns(**asked, judge_latency_s=0.5, verdict=False)
    found = traces(mlflow_config, tracked.write(tmp_path / "run", frame=frame), "failures")
    assert len(found) == 8
    around, call, judge = sorted(
        found["fib/0"].data.spans, key=lambda span: (span.start_time_ns, -span.end_time_ns)
    )
    assert (call.parent_id, judge.parent_id) == (around.span_id, around.span_id)
    assert judge.start_time_ns == call.end_time_ns
    assert {"verdict": False}.items() <= {a.name: a.value for a in found["fib/0"].info.assessments}.items()


def test_a_failed_call_is_an_error(mlflow_config, tmp_path):
    """The row's error is the status of its span."""
    frame = tracked.rows().with_columns(error=pl.lit("503 overloaded"), completion=None, prediction=None)
    trace = traces(mlflow_config, tracked.write(tmp_path / "run", frame=frame), "all")["fib/0"]
    assert trace.info.state == "ERROR"
    assert trace.data.spans[0].status.description == "503 overloaded"
