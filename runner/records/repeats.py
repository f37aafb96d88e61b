"""What a record says of rows that were asked several times, in one line."""

from __future__ import annotations

from collections.abc import Mapping

from runner.records.record import Record

MORE_REPEATS = 10


def tell_repeats(record: Record) -> str | None:
    """How often rows were asked, and how the first score varies between them; None if only once."""
    repeats = int(record.figures.get("repeats", 1))
    parts = [_tell_answers(record, repeats)] if repeats > 1 else []
    judged = next((each for each in record.spread.values() if "judge" in each), None)
    if (record.config.get("judge") or {}).get("members"):
        judged = None  # the panel's own line says how far its judges agree
    if judged and not judged["judge"]:
        parts.append("the judge's verdicts on an answer count the same every time")
    elif judged:
        share = judged["judge"] / judged.get("verdict", sum(judged.values()))
        parts.append(f"{share:.0%} of the variance of a single verdict is the judge's")
    return "; ".join(parts) or None


def _tell_answers(record: Record, repeats: int) -> str:
    """What the repeats of the answers show of the first score, or why they do not."""
    if record.figures.get("equal_rows", 0) >= record.figures.get("rows", 1):
        return f"{repeats} repeats: each row got the same answer every time, so one repeat says as much"
    first = next(iter(record.scores), "")
    name = next((name for name in record.scores if "repeats" in record.spread.get(name, {})), None)
    reason = record.no_spread.get(first)
    unknown = f"the variance of {first} is not known ({reason})" if reason else ""
    if name is None:
        return f"{repeats} repeats" + (f": {unknown}" if unknown else "")
    told = tell_narrowing(name, record.spread[name], repeats)
    return f"{repeats} repeats: {f'{unknown}; ' if unknown and name != first else ''}{told}"


def tell_narrowing(name: str, spread: Mapping[str, float], repeats: int) -> str:
    """One line: which part of the variance of a score is between rows, what more repeats or rows would give.

    >>> tell_narrowing("f1", {"rows": 0.15, "repeats": 0.05}, 3).partition("; ")[2]
    '10 repeats would narrow its interval by 4%, twice the rows by 29%'
    """
    rows, within = spread["rows"], spread["repeats"]
    if rows + within <= 0:
        return f"{name} has no variance: it is the same for all rows in each of them"
    more = MORE_REPEATS if repeats < MORE_REPEATS else 2 * repeats
    now, then = rows + within / repeats, rows + within / more
    narrower = 1 - (then / now) ** 0.5
    return (
        f"{rows / (rows + within):.0%} of the variance of {name} is between rows; {more} repeats would narrow"
        f" its interval by {narrower:.0%}, twice the rows by {1 - 0.5**0.5:.0%}"
    )
