"""What was run: facts that all points share, and a table of those that differ."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from runner.core.errors import count_of
from runner.core.redact import remove_credentials
from runner.core.types import format_dollars
from runner.records.judges import list_judges, tell_pairs, tell_panel
from runner.records.record import Record
from runner.records.repeats import tell_repeats
from runner.records.sweep import column_names, shared_params
from runner.report.points import IRRELEVANT_KEYS, Point


@dataclass(frozen=True)
class Facts:
    """``shared`` holds names and values; ``columns`` and ``lines`` are the table of points."""

    shared: list[tuple[str, str]]
    columns: list[str]
    lines: list[list[str]]
    differences: list[tuple[str, list[tuple[str, str]]]]
    """What else differs: a name, and each value after the numbers of the points that have it."""
    settings: list[tuple[str, str]]
    """All settings that the points share."""


def gather_facts(points: Sequence[Point]) -> Facts:
    """Sort the facts of these points into shared and different ones."""
    records = [point.record for point in points]
    numbers = [point.number for point in points]
    known = {name: [fact(record) for record in records] for name, fact in FACTS.items()}
    varied = {name: values for name, values in known.items() if _are_different(values)}
    short = {name: values for name, values in varied.items() if name not in LONG}
    swept = {
        name: [format_setting(record.swept.get(key)) for record in records]
        for key, name in column_names(records).items()
    }
    columns = {"": numbers} | swept | short
    others = {name: varied[name] for name in LONG if name in varied} | _find_differences(records)
    return Facts(
        shared=[
            *((name, max(values)) for name, values in known.items() if name not in varied and any(values)),
            *[("made", _format_times(records)), ("cost", _format_total_cost(records))],
        ],
        columns=list(columns),
        lines=[list(line) for line in zip(*columns.values(), strict=True)],
        differences=[(name, _group_points(values, numbers)) for name, values in others.items()],
        settings=[
            (key, format_setting(value))
            for key, value in shared_params(_select_planned(records)).items()
            if _is_relevant(key)
        ],
    )


def _are_different(values: Sequence[str]) -> bool:
    """Whether there are different values; a point that stopped before it had one does not count."""
    return len({value for value in values if value}) > 1


def _select_planned(records: Sequence[Record]) -> list[Record]:
    """The records of runs that got as far as having settings."""
    return [record for record in records if record.params]


def _group_points(values: Sequence[str], numbers: Sequence[str]) -> list[tuple[str, str]]:
    """Each different value after the numbers of the points that have it."""
    groups: dict[str, list[str]] = {}
    for value, point in zip(values, numbers, strict=True):
        groups.setdefault(value, []).append(point)
    return [(" ".join(group), value) for value, group in groups.items()]


def format_setting(value: Any) -> str:
    """A value of a config as text, without the credentials that a URL may carry."""
    return "" if value is None else remove_credentials(str(value))


def _find_differences(records: Sequence[Record]) -> dict[str, list[str]]:
    """Settings that differ though they are not swept, because they follow from a swept one."""
    swept = {key for record in records for key in record.swept}
    keys = dict.fromkeys(key for record in records for key in record.params if key not in swept)
    values = {
        key: [format_setting(record.params.get(key)) for record in records]
        for key in keys
        if _is_relevant(key)
    }
    planned = [bool(record.params) for record in records]
    return {key: each for key, each in values.items() if len({*compress(each, planned)}) > 1}


def _is_relevant(key: str) -> bool:
    return key.split(".")[0] not in IRRELEVANT_KEYS


def _describe_data(record: Record) -> str:
    return _describe_split(record.inputs[0]) if record.inputs else record.tags.get("dataset", "")


def _describe_split(entry: dict[str, Any]) -> str:
    return f"{entry['name']}, split {entry['split']}, {count_of(entry['rows'], 'row')}"


def _describe_other_splits(record: Record) -> str:
    return "; ".join(f"{_describe_split(entry)} ({str(entry['digest'])[:12]})" for entry in record.inputs[1:])


def _read_input(name: str, length: int | None = None) -> Callable[[Record], str]:
    return lambda record: format_setting(record.inputs[0].get(name))[:length] if record.inputs else ""


def _read_tag(name: str) -> Callable[[Record], str]:
    return lambda record: record.tags.get(name, "")


def _read_param(name: str) -> Callable[[Record], str]:
    return lambda record: format_setting(record.params.get(name))


def _read_identity(role: str) -> Callable[[Record], str]:
    """Make a fact of what identifies the model in a role; digests are shortened."""

    def read(record: Record) -> str:
        identity = {
            key: format_setting(value) for key, value in record.identities.get(role, {}).items() if value
        }
        return ", ".join(f"{key} {_DIGEST.sub(_shorten_digest, value)}" for key, value in identity.items())

    return read


_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def _shorten_digest(found: re.Match[str]) -> str:
    return found[0][:12]


def _describe_judge(record: Record) -> str:
    """The judge's name and what identifies its model, or that of each member of a panel."""
    judge = record.config.get("judge") or {}
    models = [
        f"{who.removeprefix('judge.')}: {_read_identity(who)(record)}" for who in list_judges(record.config)
    ]
    said = "; ".join(models) if judge.get("members") else _read_identity("judge")(record)
    return f"{judge['name']} ({said})".removesuffix(" ()") if judge.get("name") else ""


def _describe_software(record: Record) -> str:
    """The versions of this package and of Python; the record has all others."""
    names = ("llm-experiment-runner", "python")
    return ", ".join(f"{name} {record.environment[name]}" for name in names if name in record.environment)


def _read_reference(name: str) -> Callable[[Record], str]:
    return lambda record: format_setting((record.config.get("reference") or {}).get(name))


def _read_count(name: str, judged: str | None = None) -> Callable[[Record], str]:
    def count(record: Record) -> str:
        values = [record.figures[key] for key in (name, judged) if key in record.figures]
        return f"{sum(values):,.0f}" if any(values) else ""

    return count


def _read_cost(name: str) -> Callable[[Record], str]:
    return lambda record: _format_dollars(record.figures.get(name))


def _format_dollars(amount: float | None) -> str:
    return f"${format_dollars(amount)}" if amount else ""


FACTS: dict[str, Callable[[Record], str]] = {
    "experiment": lambda record: record.name,
    "status": lambda record: record.status,
    "model": _read_tag("model"),
    "provider": _read_tag("provider"),
    "stage": _read_tag("stage"),
    "identity": _read_identity("model"),
    "judge": _describe_judge,
    "data": _describe_data,
    "data digest": _read_input("digest", 12),
    "source": _read_input("source"),
    "other splits": _describe_other_splits,
    "prompt": _read_param("prompt.name"),
    "prompt digest": _read_param("prompt_digest"),
    "published in": _read_reference("source"),
    "table": _read_reference("table"),
    "code": lambda record: record.tags.get("code") or record.tags.get("git_sha", ""),
    "software": _describe_software,
    "panel": lambda record: (tell_panel(record) or "").removeprefix("panel: "),
    "pairs of judges": tell_pairs,
    "repeats": lambda record: tell_repeats(record) or "",
    "answered": _read_count("answered"),
    "parsed": _read_count("parsed"),
    "failed": _read_count("failed"),
    "cut": _read_count("cut", "judge_cut"),
    "tokens in": _read_count("input_tokens", "judge_input_tokens"),
    "tokens out": _read_count("output_tokens", "judge_output_tokens"),
    "spent": _read_cost("cost_usd"),
    "answers worth": _read_cost("cost_usd_total"),
}

LONG = ("identity", "judge", "panel", "pairs of judges", "repeats", "source", "published in", "table")
"""Facts that are too long for a column of the table."""


def _format_times(records: Sequence[Record]) -> str:
    """When the points were run, and for how long."""
    ends = [record.finished or record.started for record in records]
    first, last = (
        time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))
        for moment in (min(record.started for record in records), max(ends))
    )
    took = sum(end - record.started for record, end in zip(records, ends, strict=True))
    until = "" if last == first else f" – {last[11:] if last[:10] == first[:10] else last}"
    return f"{first}{until} UTC, {took:,.0f} s of running"


def _format_total_cost(records: Sequence[Record]) -> str:
    """What all points cost together, as far as the prices are known."""
    unknown = sum("cost_usd" not in record.figures for record in records)
    if unknown == len(records):
        return "not known"
    now, worth = (
        sum(record.figures.get(name, 0.0) for record in records) for name in ("cost_usd", "cost_usd_total")
    )
    parts = [
        f"{_format_dollars(now) or '$0'} spent",
        *([f"answers worth {_format_dollars(worth)}"] if worth > now else []),
    ]
    return ", ".join([*parts, *([f"not known for {count_of(unknown, 'point')}"] if unknown else [])])
