"""Which points of a sweep are best, by one score, among those that may be compared."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.core.types import Direction, Score
from runner.records.averages import Average
from runner.records.record import Record
from runner.records.sweep import PARSED

WORDS = {"higher": "higher is better", "lower": "lower is better"}


@dataclass(frozen=True)
class Ranking:
    """Points by their numbers in the list that was ranked.

    groups     the points of each set of rows, the best first; only sets with two points or more
    apart      finished points that share their rows with no other
    undefined  finished points of which the score has no value
    reason     why nothing is ranked; empty if something is
    is_set     whether the config names the objective
    """

    objective: str = ""
    direction: Direction = ""
    is_set: bool = False
    groups: tuple[tuple[int, ...], ...] = ()
    best: tuple[tuple[int, ...], ...] = ()
    """The best point of each group; several if they are equal."""
    apart: tuple[int, ...] = ()
    undefined: tuple[int, ...] = ()
    reason: str = ""

    def describe_objective(self) -> str:
        """Say by what the points are ranked, and which value is better."""
        how = "" if self.is_set else "; the first score that has a direction, since objective is not set"
        return f"{self.objective} ({WORDS[self.direction]}{how})"


def choose_objective(name: str | None, directions: Mapping[str, Direction]) -> str | None:
    """The score to rank by: the one that the config names, or else the first one that has a direction.

    >>> choose_objective(None, {"count": "none", "f1": "higher"})
    'f1'
    """
    if name is not None:
        return name
    main = [score for score in directions if not score.endswith(PARSED)]
    return next((score for score in main if directions[score] in WORDS), None)


def rank(records: Sequence[Record]) -> Ranking:
    """Rank the points that finished and have the score, each among those on the same rows.

    Points compete if their rows (ids and gold values), the number of rows behind the score, the settings of
    its metric and, for a metric of verdicts, the judge are the same. The strict score counts. Averages may be
    ranked in place of points.
    """
    finished = [number for number, record in enumerate(records) if record.status == "finished"]
    names = {records[number].config.get("objective") for number in finished}
    name = names.pop() if len(names) == 1 else None
    scores = {key: score for number in finished for key, score in records[number].scores.items()}
    objective = choose_objective(name, {key: score.direction for key, score in scores.items()})
    if objective is None or objective not in scores:
        old = scores and not any(score.direction for score in scores.values())
        reason = "the records are of a version that did not say which scores are better" if old else ""
        reason = reason or ("no score has a direction" if scores else _explain_no_score(records))
        return Ranking(reason=reason)
    if scores[objective].direction not in WORDS:
        return Ranking(objective, reason=f"neither a high nor a low {objective} is better")
    direction = scores[objective].direction
    groups: dict[Hashable, list[int]] = {}
    undefined: list[int] = []
    for number in finished:
        score = records[number].scores.get(objective)
        if score is None or score.value is None or not _is_whole(records[number], objective):
            undefined.append(number)
        else:
            groups.setdefault(_find_rivals(records[number], objective, score), []).append(number)

    def badness(number: int) -> float:
        value = records[number].scores[objective].value or 0.0
        return -value if direction == "higher" else value

    several = tuple(tuple(sorted(group, key=badness)) for group in groups.values() if len(group) > 1)
    best = tuple(
        tuple(number for number in group if badness(number) - badness(group[0]) < 1e-12) for group in several
    )
    apart = tuple(group[0] for group in groups.values() if len(group) == 1)
    reason = "" if several else _explain_no_rivals(objective, apart)
    return Ranking(objective, direction, name is not None, several, best, apart, tuple(undefined), reason)


def _is_whole(record: Record, objective: str) -> bool:
    """Whether an average is over all its points; of fewer, it may be the average of the easy ones."""
    return not isinstance(record, Average) or record.is_whole(objective)


def _explain_no_score(records: Sequence[Record]) -> str:
    are_averages = any(isinstance(record, Average) for record in records)
    return "no average is over all its points" if are_averages else "no point has a score"


def _explain_no_rivals(objective: str, alone: Sequence[int]) -> str:
    if len(alone) > 1:
        return "no two finished points have the same rows, metric settings and judge"
    return f"{'only one' if alone else 'no'} finished point has a value of {objective}"


def find_metric(config: Mapping[str, Any], objective: str) -> str | None:
    """The key of the metric that gives a score: the longest one with which the name of the score begins."""
    keys = [key for key, node in (config.get("metric") or {}).items() if node and objective.startswith(key)]
    return max(keys, key=len, default=None)


def _find_rivals(record: Record, objective: str, score: Score) -> Hashable:
    """What the points that compete have in common; unlike any other point's if the rows are not known.

    Averages compete if they have the same values of the averaged keys, with rivals at each of them.
    """
    if isinstance(record, Average):
        places = sorted(record.by_place().items())
        return json.dumps(
            [(key, _find_rivals(one, objective, one.scores[objective])) for key, one in places], default=str
        )
    data = record.inputs[0] if record.inputs else {}
    rows = data.get("ids") or data.get("digest") or record.id
    node = (record.config.get("metric") or {}).get(find_metric(record.config, objective) or "")
    judges = {who: each for who, each in record.identities.items() if who.partition(".")[0] == "judge"}
    judge = judges, record.config.get("judge")
    return json.dumps([rows, score.n, node, judge if "verdict" in str(node) else None], default=str)
