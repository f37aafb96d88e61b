"""The judges of a recorded run, and how far those of a panel agree, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from runner.core.errors import count_of
from runner.core.types import AGREEMENT, PAIR, Score
from runner.records.record import Record

EQUAL = 1e-9


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
    """How often the judges of a panel agree, who agrees least, and who abstained how often; or None."""
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
    return "; ".join([said, *_name_odd_one(record, members), *lost])


def tell_pairs(record: Record) -> str:
    """How often each two judges of a panel of three or more agree; empty without such a panel."""
    pairs = _list_pairs(record, (record.config.get("judge") or {}).get("members") or ())
    return "; ".join(
        f"{one} and {other} {score.value:.0%} of {score.n}"
        for (one, other), score in pairs.items()
        if score.value is not None
    )


def _list_pairs(record: Record, members: Iterable[str]) -> dict[tuple[str, str], Score]:
    names = {pair: f"{AGREEMENT}{PAIR.format(*pair)}" for pair in combinations(members, 2)}
    return {pair: record.scores[name] for pair, name in names.items() if name in record.scores}


def _name_odd_one(record: Record, members: Iterable[str]) -> list[str]:
    """Who of three judges or more agrees least with the others, and in how many comparisons."""
    counts: dict[str, list[float]] = {name: [0.0, 0.0] for name in members}
    for pair, score in _list_pairs(record, members).items():
        for name in pair:
            counts[name][0] += (score.value or 0.0) * score.n
            counts[name][1] += score.n
    if not all(asked for _, asked in counts.values()):
        return []
    ranked = sorted(counts, key=lambda name: counts[name][0] / counts[name][1])
    shares = [counts[name][0] / counts[name][1] for name in ranked]
    if len(ranked) < 3 or shares[1] - shares[0] < EQUAL:
        return []
    same, asked = counts[ranked[0]]
    return [f"{ranked[0]} agrees least with the others ({same:.0f} of {asked:.0f})"]
