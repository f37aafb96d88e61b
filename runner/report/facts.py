"""What was run: what all points share is said once, what differs is a column of the table of points."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from runner.core.redact import remove_credentials
from runner.records.record import Record
from runner.records.sweep import column_names, shared_params
from runner.report.points import BESIDE_THE_POINT, Point


@dataclass(frozen=True)
class Facts:
    """``shared`` name and value; ``columns`` and ``lines`` of the table of points; ``settings`` in full."""

    shared: list[tuple[str, str]]
    columns: list[str]
    lines: list[list[str]]
    differences: list[tuple[str, list[tuple[str, str]]]]
    """What else differs: its name, and each value with the points that have it."""
    settings: list[tuple[str, str]]
    """Settings that all points share."""


def gather(points: Sequence[Point]) -> Facts:
    """Sort all facts of these points into shared and different ones."""
    records = [point.record for point in points]
    numbers = [point.number for point in points]
    known = {name: [fact(record) for record in records] for name, fact in FACTS.items()}
    varied = {name: values for name, values in known.items() if _differ(values)}
    short = {name: values for name, values in varied.items() if name not in LONG}
    swept = {
        name: [text(record.swept.get(key)) for record in records]
        for key, name in column_names(records).items()
    }
    columns = {"": numbers} | swept | short
    apart = {name: varied[name] for name in LONG if name in varied} | _differences(records)
    return Facts(
        shared=[
            *((name, max(values)) for name, values in known.items() if name not in varied and any(values)),
            *[("made", _span(records)), ("cost", _cost_of_all(records))],
        ],
        columns=list(columns),
        lines=[list(line) for line in zip(*columns.values(), strict=True)],
        differences=[(name, _grouped(values, numbers)) for name, values in apart.items()],
        settings=[
            (key, text(value)) for key, value in shared_params(_planned(records)).items() if _matters(key)
        ],
    )


def _differ(values: Sequence[str]) -> bool:
    """Whether there are two values; a point that stopped before it had one differs from none."""
    return len({value for value in values if value}) > 1


def _planned(records: Sequence[Record]) -> list[Record]:
    """The records of runs that came as far as having settings."""
    return [record for record in records if record.params]


def _grouped(values: Sequence[str], numbers: Sequence[str]) -> list[tuple[str, str]]:
    """Each different value behind the numbers of the points that have it."""
    groups: dict[str, list[str]] = {}
    for value, point in zip(values, numbers, strict=True):
        groups.setdefault(value, []).append(point)
    return [(" ".join(group), value) for value, group in groups.items()]


def text(value: Any) -> str:
    """A value of a config as one line of text, without the credentials that a URL may carry."""
    return "" if value is None else remove_credentials(str(value))


def _differences(records: Sequence[Record]) -> dict[str, list[str]]:
    """Settings that are not swept and yet differ, since they follow from what is."""
    swept = {key for record in records for key in record.swept}
    keys = dict.fromkeys(key for record in records for key in record.params if key not in swept)
    values = {key: [text(record.params.get(key)) for record in records] for key in keys if _matters(key)}
    planned = [bool(record.params) for record in records]
    return {key: each for key, each in values.items() if len({*compress(each, planned)}) > 1}


def _matters(key: str) -> bool:
    return key.split(".")[0] not in BESIDE_THE_POINT


def _data(record: Record) -> str:
    return _split(record.inputs[0]) if record.inputs else record.tags.get("dataset", "")


def _split(entry: dict[str, Any]) -> str:
    return f"{entry['name']}, split {entry['split']}, {entry['rows']:,} rows"


def _others(record: Record) -> str:
    return "; ".join(f"{_split(entry)} ({str(entry['digest'])[:12]})" for entry in record.inputs[1:])


def _input(name: str, length: int | None = None) -> Callable[[Record], str]:
    return lambda record: text(record.inputs[0].get(name))[:length] if record.inputs else ""


def _tag(name: str) -> Callable[[Record], str]:
    return lambda record: record.tags.get(name, "")


def _param(name: str) -> Callable[[Record], str]:
    return lambda record: text(record.params.get(name))


def _who(role: str) -> Callable[[Record], str]:
    """What identifies the model in a role: provider, endpoint, the beginning of digests."""

    def who(record: Record) -> str:
        identity = {key: text(value) for key, value in record.identities.get(role, {}).items() if value}
        return ", ".join(f"{key} {_DIGEST.sub(_beginning, value)}" for key, value in identity.items())

    return who


_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def _beginning(found: re.Match[str]) -> str:
    return found[0][:12]


def _judge(record: Record) -> str:
    """The judge's name and what identifies its model."""
    name = (record.config.get("judge") or {}).get("name")
    return f"{name} ({_who('judge')(record)})".removesuffix(" ()") if name else ""


def _software(record: Record) -> str:
    """Versions of this package and of Python; all others are in the record."""
    names = ("llm-experiment-runner", "python")
    return ", ".join(f"{name} {record.environment[name]}" for name in names if name in record.environment)


def _published(name: str) -> Callable[[Record], str]:
    return lambda record: text((record.config.get("reference") or {}).get(name))


def _count(name: str, judged: str | None = None) -> Callable[[Record], str]:
    def count(record: Record) -> str:
        values = [record.figures[key] for key in (name, judged) if key in record.figures]
        return f"{sum(values):,.0f}" if any(values) else ""

    return count


def _cost(name: str) -> Callable[[Record], str]:
    return lambda record: _dollars(record.figures.get(name))


def _dollars(amount: float | None) -> str:
    return f"${amount:,.4f}" if amount else ""


FACTS: dict[str, Callable[[Record], str]] = {
    "experiment": lambda record: record.name,
    "status": lambda record: record.status,
    "model": _tag("model"),
    "provider": _tag("provider"),
    "stage": _tag("stage"),
    "identity": _who("model"),
    "judge": _judge,
    "data": _data,
    "data digest": _input("digest", 12),
    "source": _input("source"),
    "other splits": _others,
    "prompt": _param("prompt.name"),
    "prompt digest": _param("prompt_digest"),
    "published in": _published("source"),
    "table": _published("table"),
    "code": _tag("git_sha"),
    "software": _software,
    "answered": _count("answered"),
    "parsed": _count("parsed"),
    "failed": _count("failed"),
    "tokens in": _count("input_tokens", "judge_input_tokens"),
    "tokens out": _count("output_tokens", "judge_output_tokens"),
    "spent": _cost("cost_usd"),
    "answers worth": _cost("cost_usd_total"),
}

LONG = ("identity", "judge", "source", "published in", "table")
"""Facts that are too long for a column."""


def _span(records: Sequence[Record]) -> str:
    """When the points were made, and how long they ran."""
    ends = [record.finished or record.started for record in records]
    first, last = (
        time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))
        for moment in (min(record.started for record in records), max(ends))
    )
    took = sum(end - record.started for record, end in zip(records, ends, strict=True))
    until = "" if last == first else f" – {last[11:] if last[:10] == first[:10] else last}"
    return f"{first}{until} UTC, {took:,.0f} s of running"


def _cost_of_all(records: Sequence[Record]) -> str:
    """What all points cost together, as far as that is known."""
    unknown = sum("cost_usd" not in record.figures for record in records)
    if unknown == len(records):
        return "not known"
    now, worth = (
        sum(record.figures.get(name, 0.0) for record in records) for name in ("cost_usd", "cost_usd_total")
    )
    parts = [f"{_dollars(now) or '$0'} spent", *([f"answers worth {_dollars(worth)}"] if worth > now else [])]
    return ", ".join([*parts, *([f"not known for {unknown} points"] if unknown else [])])
