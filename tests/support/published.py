"""What docs/reproduction.md and the experiment files say about published figures."""

from __future__ import annotations

import re
from collections.abc import Iterable

from places import ROOT

from runner.core.paths import CONF
from runner.records.record import Record

DOCS = ROOT / "docs" / "reproduction.md"
ROW = re.compile(r"\| (?P<figures>\d+) \| (?P<met>\d+) \| `(?P<command>runner [^`]*)` \|$", re.MULTILINE)


def commands(experiment: str) -> list[str]:
    """Return the commands at the top of an experiment file that need no model."""
    lines = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    shown = [line.removeprefix("#   ") for line in lines if line.startswith("#   runner ")]
    return [command for command in shown if " provider=" not in command]


def documented() -> dict[str, tuple[int, int]]:
    """Return, by command, the numbers of compared and agreeing figures that the docs state."""
    return {row["command"]: (int(row["figures"]), int(row["met"])) for row in ROW.finditer(DOCS.read_text())}


def missed(records: Iterable[Record]) -> list[str]:
    """Return the metrics that differ from their published figure."""
    return [row["metric"] for record in records for row in record.reference if row["agrees"] is not True]
