"""What a record says of rows that were asked several times, in one line."""

from __future__ import annotations

from collections.abc import Mapping

from runner.records.record import Record

MORE_REPEATS = 10


def tell_repeats(record: Record) -> str | None:
    """How often rows were asked, and how the first score varies between them; None if only once."""
    repeats = int(record.figures.get("repeats", 1))
    name = next((name for name in record.scores if name in record.spread), None)
    spread = record.spread[name] if name else {}
    parts = [tell_narrowing(spread, repeats) if "repeats" in spread else f"{repeats} repeats"]
    parts = parts if repeats > 1 else []
    judged = next((each for each in record.spread.values() if each.get("judge")), None)
    if judged:
        share = judged["judge"] / sum(judged.values())
        whose = "between the judges" if (record.config.get("judge") or {}).get("members") else "the judge's"
        parts.append(f"{share:.0%} of the variance of a single verdict is {whose}")
    return "; ".join(parts) or None


def tell_narrowing(spread: Mapping[str, float], repeats: int) -> str:
    """One line: how many repeats, which part of the variance is between rows, what more of both would give.

    >>> tell_narrowing({"rows": 0.15, "repeats": 0.05}, 3).partition("; ")[2]
    '10 repeats would narrow the interval by 4%, twice the rows by 29%'
    """
    rows, within = spread["rows"], spread["repeats"]
    begin = f"{repeats} repeats: "
    if rows + within <= 0:
        return f"{begin}no variance; all rows have the same score in each of them"
    more = MORE_REPEATS if repeats < MORE_REPEATS else 2 * repeats
    now, then = rows + within / repeats, rows + within / more
    narrower = 1 - (then / now) ** 0.5
    return (
        f"{begin}{rows / (rows + within):.0%} of the variance is between rows; {more} repeats would narrow"
        f" the interval by {narrower:.0%}, twice the rows by {1 - 0.5**0.5:.0%}"
    )
