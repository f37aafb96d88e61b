"""The judges of a recorded run, and how far those of a panel agree, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.errors import count_of
from runner.core.types import AGREEMENT
from runner.records.record import Record


def list_judges(config: Mapping[str, Any]) -> list[str]:
    """The judges of a recorded config, as in its identities: ``judge``, or ``judge.<member>`` for each."""
    judge = config.get("judge")
    if not isinstance(judge, dict):
        return []
    return [f"judge.{name}" for name in judge.get("members") or ()] or ["judge"]


def find_judge_node(judge: dict[str, Any], who: str) -> dict[str, Any]:
    """The node of a judge in a recorded config, by its name in :func:`list_judges`."""
    member = who.removeprefix("judge").removeprefix(".")
    found: dict[str, Any] = judge["members"][member] if member else judge
    return found


def is_told(record: Record, name: str) -> bool:
    """Whether a score needs no line of its own: :func:`tell_panel` tells it, or it is a member's side score.

    Of what is measured of a member like of the panel, only the score itself has a line.
    """
    judge, nodes = record.config.get("judge") or {}, record.config.get("metric") or {}
    if not judge.get("members"):
        return False
    if name.startswith(AGREEMENT):
        return record.scores[name].value is not None or name != AGREEMENT
    ends = [f"_{member}" for member in judge["members"]]
    copies = [key for key in nodes for end in ends if key.endswith(end) and key.removesuffix(end) in nodes]
    return any(name.startswith(f"{key}_") and name not in nodes for key in copies)


def tell_panel(record: Record) -> str | None:
    """How often the judges of a panel agree, and who had no verdict how often; None without a panel."""
    members = (record.config.get("judge") or {}).get("members") or ()
    if not members:
        return None
    share, alpha = (record.scores.get(f"{AGREEMENT}_{name}") for name in ("parsed", "alpha"))
    said = f"panel: {count_of(len(members), 'judge')}"
    if share and share.value is not None:
        beyond = f" (alpha {alpha.value:.2f})" if alpha and alpha.value is not None else ""
        said += f" agree in {share.value:.0%} of {count_of(share.n, 'row')}{beyond}"
    counts = {name: int(record.figures.get(f"judge_{name}_abstained", 0)) for name in members}
    lost = [f"{name} abstained in {count}" for name, count in counts.items() if count]
    return "; ".join([said, *lost])
