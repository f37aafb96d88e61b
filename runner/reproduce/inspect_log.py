"""A run as a log of Inspect, version 2: ``runner export RUN to=x.eval``, for its viewer and its library.

An ``.eval`` file is a zip of JSON files: ``header.json`` (what was asked, and the scores), a file in
``samples/`` for each answer, ``summaries.json`` with the short form of all samples, and ``reductions.json``
with the mean of each sample over its epochs. Source: ``EvalLog`` and ``EvalSample`` of ``inspect_ai.log``
0.3.285. A repeat is an epoch, counted from 1. What a metric says of a single row is C, I or a number; an
answer that was not read is N, or has no number. Intervals are metrics of the same score (``low``, ``high``).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.core.errors import ConfigError, count_of
from runner.core.redact import remove_credentials
from runner.core.types import write_value
from runner.records.folder import find_runs
from runner.records.record import Record, read_predictions, read_record

SUFFIX = ".eval"
VERSION = 2
_STOPS = {
    "stop": "stop",
    "length": "max_tokens",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
}
_SAID = {"completion", "prediction", "target", "messages", "reasoning", "reading", "error", "repeat", "id"}
"""Columns that have a place of their own in a sample."""
_STATUS = {"finished": "success", "running": "started", "killed": "cancelled", "stopped": "cancelled"}

Json = dict[str, Any]


def write_log(source: Path, target: Path) -> str:
    """Write one run as a log, and return a summary of it.

    Raises :class:`ConfigError` for a sweep, whose points are logs of their own, and :class:`DataError` for a
    run without rows.
    """
    runs = find_runs(source)
    if runs != [source]:
        raise ConfigError(
            f"{source}: a log of Inspect is of one run; this folder has {count_of(len(runs), 'run')}"
        )
    record = read_record(source)
    rows = list(read_predictions(source).iter_rows(named=True))
    samples = [_make_sample(row, record) for row in rows]
    names = {f"samples/{one['id']}_epoch_{one['epoch']}.json": one for one in samples}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {
            **names,
            "summaries.json": [_summarise(one) for one in samples],
            "reductions.json": _reduce(samples, record),
            "header.json": _make_header(samples, record),
        }.items():
            archive.writestr(name, _dump(content))
    return f"{count_of(len(samples), 'sample')}, {count_of(len(record.scores), 'score')}"


def _dump(content: Any) -> str:
    return remove_credentials(json.dumps(content, ensure_ascii=False, default=str))


def _make_sample(row: Mapping[str, Any], record: Record) -> Json:
    answered_by, usage = row.get("answered_by") or _name_model(record), _read_usage(row)
    chat = [_make_message(row, place, turn) for place, turn in enumerate(row.get("messages") or [])]
    reply: Json = _make_message(row, len(chat), {"role": "assistant", "content": row["completion"] or ""})
    reply |= {"source": "generate", "model": answered_by}
    if row.get("reasoning"):
        thought = {"type": "reasoning", "reasoning": row["reasoning"]}
        reply["content"] = [thought, {"type": "text", "text": reply["content"]}]
    stop = _STOPS.get(row.get("finish_reason") or "", "unknown")
    is_said = row["completion"] is not None or bool(row.get("reasoning"))
    output: Json = {
        "model": answered_by,
        "choices": [{"message": reply, "stop_reason": stop}] if is_said else [],
        "completion": row["completion"] or "",
    }
    output |= {"usage": usage} if usage else {}
    output |= {"time": row["latency_s"]} if row.get("latency_s") is not None else {}
    sample: Json = {
        "id": row["id"],
        "epoch": (row.get("repeat") or 0) + 1,
        "input": chat[-1]["content"] if len(chat) == 1 else chat,
        "target": _write_target(row.get("target")),
        "messages": [*chat, reply] if is_said else chat,
        "output": output,
        "scores": _score(row, record),
        "metadata": {
            name: value for name, value in row.items() if name not in _SAID | record.row_scores.keys()
        },
        "store": {},
        "events": [],
        "model_usage": {answered_by: usage} if usage else {},
        "attachments": {},
        "uuid": _identify(record.id, row["id"], row.get("repeat")),
    }
    sample["events"] = _list_events(sample, chat, record)
    if row.get("error"):
        sample["error"] = {"message": row["error"], "traceback": "", "traceback_ansi": ""}
    return sample


def _list_events(sample: Json, chat: list[Json], record: Record) -> list[Json]:
    """What the viewer shows of a sample first: the call and, of each metric, the score."""
    when = {"timestamp": _write_time(record.started), "working_start": 0.0}
    call = {"event": "model", "model": sample["output"]["model"], "input": chat, "tools": []}
    call |= {"tool_choice": "none", "config": {}, "output": sample["output"]}
    scores = [
        {"event": "score", "scorer": name, "score": score, "target": sample["target"]}
        for name, score in sample["scores"].items()
    ]
    return [{**when, **event} for event in (call, *scores)]


def _make_message(row: Mapping[str, Any], place: int, turn: Mapping[str, Any]) -> Json:
    made = {"id": _identify(row["id"], row.get("repeat"), place), **turn}
    return made | {"source": "input"} if turn["role"] == "user" else made


def _identify(*parts: Any) -> str:
    """22 letters that are the same in each export."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:22]


def _write_target(target: Any) -> str | list[str]:
    if isinstance(target, list):
        return [write_value(one) or "" for one in target]
    return write_value(target) or ""


def _read_usage(row: Mapping[str, Any]) -> Json:
    """The tokens of an answer. Inspect's ``input_tokens`` are those without a cache."""
    names = {"input_tokens": "input_tokens", "output_tokens": "output_tokens"}
    names |= {"reasoning_tokens": "reasoning_tokens", "cached_tokens": "input_tokens_cache_read"}
    names |= {"cache_write_tokens": "input_tokens_cache_write"}
    found = {theirs: row[ours] for ours, theirs in names.items() if row.get(ours) is not None}
    if {"input_tokens", "output_tokens"} <= found.keys():
        found["total_tokens"] = found["input_tokens"] + found["output_tokens"]
        for part in ("input_tokens_cache_read", "input_tokens_cache_write"):
            found["input_tokens"] -= found.get(part, 0)
    return found


def _score(row: Mapping[str, Any], record: Record) -> Json:
    scores: Json = {}
    for name, kind in record.row_scores.items():
        value = row.get(name)
        if value is None and kind == "value":
            continue  # it is not known what the metric counts it as, so it is no number here
        if value is not None and kind == "right":
            value = "C" if value == 1 else "I"
        said = row["verdict"] if row.get("verdict") is not None else row["prediction"]
        why = row.get("judge_completion") or row.get("reading")
        scores[name] = {
            "value": "N" if value is None else value,
            "answer": None if said is None else write_value(said),
            "explanation": why,
        }
    return scores


def _summarise(sample: Mapping[str, Any]) -> Json:
    kept = ("id", "epoch", "input", "target", "scores", "model_usage", "uuid")
    error = sample.get("error")
    return {name: sample[name] for name in kept} | {
        "metadata": {},
        "error": error["message"] if error else None,
        "completed": True,
        "message_count": len(sample["messages"]),
    }


_NUMBERS = {"C": 1.0, "I": 0.0, "N": 0.0}


def _reduce(samples: list[Json], record: Record) -> list[Json]:
    """Each sample's mean over its epochs, as Inspect's reducer ``mean`` counts C, I and N."""
    reductions = []
    for name in record.row_scores:
        values: dict[str, list[float]] = {}
        for sample in samples:
            if name not in sample["scores"]:
                continue
            value = sample["scores"][name]["value"]
            values.setdefault(sample["id"], []).append(_NUMBERS.get(value, value))
        reduced = [{"value": sum(each) / len(each), "sample_id": name} for name, each in values.items()]
        reductions.append({"scorer": name, "reducer": "mean", "samples": reduced})
    return reductions


def _make_header(samples: list[Json], record: Record) -> Json:
    ids = list(dict.fromkeys(sample["id"] for sample in samples))
    epochs = max((sample["epoch"] for sample in samples), default=1)
    sampling = record.config.get("hyperparameter") or {}
    settings = {name: sampling.get(name) for name in ("temperature", "top_p", "max_tokens", "seed")}
    settings = {name: value for name, value in settings.items() if value is not None}
    model = _name_model(record)
    return {
        "version": VERSION,
        "status": _STATUS.get(record.status, "error"),
        "eval": {
            "eval_id": record.id,
            "run_id": record.sweep or record.id,
            "created": _write_time(record.started),
            "task": record.name,
            "task_id": _identify(record.name, record.inputs),
            "task_version": 0,
            "task_args": record.swept,
            "dataset": {
                "name": record.inputs[0]["name"] if record.inputs else record.name,
                "samples": len(ids),
                "sample_ids": ids,
                "shuffled": False,
            },
            "model": model,
            "model_generate_config": settings,
            "config": {"epochs": epochs, "epochs_reducer": ["mean"]},
            "packages": record.environment,
            "scorers": [{"name": name} for name in record.row_scores],
            "metadata": {"overrides": record.overrides},
        },
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": settings},
        "results": {
            "total_samples": len(samples),
            "completed_samples": sum(sample.get("error") is None for sample in samples),
            "scores": _list_scores(record),
            "headline": _choose_headline(record),
        },
        "stats": {
            "started_at": _write_time(record.started),
            "completed_at": _write_time(record.finished or record.started),
            "model_usage": _add_usage(samples),
        },
    } | ({"error": {"message": record.error, "traceback": "", "traceback_ansi": ""}} if record.error else {})


def _list_scores(record: Record) -> list[Json]:
    """The scores of the run, each with its interval; those without a value are left out."""
    scores = []
    for name, score in record.scores.items():
        found = {"value": score.value, "low": score.low, "high": score.high}
        metrics = {key: {"name": key, "value": value} for key, value in found.items() if value is not None}
        if metrics:
            scores.append({"name": name, "scorer": name, "scored_samples": score.n, "metrics": metrics})
    return scores


def _choose_headline(record: Record) -> Json | None:
    """The first score with a direction, as in the tables of this package."""
    known = [name for name, score in record.scores.items() if score.value is not None]
    chosen = next((name for name in known if record.scores[name].direction != "none"), None)
    return {"scorer": chosen, "score": chosen, "metric": "value"} if chosen else None


def _add_usage(samples: list[Json]) -> Json:
    total: dict[str, dict[str, int]] = {}
    for sample in samples:
        for model, usage in sample["model_usage"].items():
            for name, count in usage.items():
                counts = total.setdefault(model, {})
                counts[name] = counts.get(name, 0) + count
    return total


def _name_model(record: Record) -> str:
    """The provider and the model, as Inspect writes them: ``openai/gpt-5.4-mini``."""
    tags = record.tags
    return f"{tags.get('provider', 'runner')}/{tags.get('model', record.name)}"


def _write_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
