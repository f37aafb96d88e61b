"""What a run used: rows answered, tokens, calls made now, and dollars."""

from __future__ import annotations

import polars as pl

from runner.core.types import CUT, REPEAT, list_members

COUNTED = ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens")


def count_usage(frame: pl.DataFrame) -> dict[str, float]:
    """Count rows, calls and tokens in a frame of predictions that has rows.

    ``n`` is the number of rows, each counted as often as it was asked (then there are also ``rows``,
    ``repeats``, and ``equal_rows``, whose answers are all the same text), ``answered`` those with a
    completion, ``parsed`` those with a prediction, ``parse_rate`` their share of ``n``, ``cut`` those that a
    token limit ended, and ``calls`` the calls made now. ``judge_answered`` has rows with an answer of the
    judge, ``judged`` those with a verdict; of a panel there are also ``judge_<member>_judged`` and
    ``judge_<member>_abstained`` (judged rows without its verdict). Token counts are those of all completions,
    including those from the ledger, and are missing where the service told none. ``new_tokens`` are those
    that the calls made now read and wrote.
    """
    parsed = int(frame["prediction"].is_not_null().sum())
    counts: dict[str, float] = {
        "n": frame.height,
        "answered": int(frame["completion"].is_not_null().sum()),
        "parsed": parsed,
        "parse_rate": parsed / frame.height,
        "failed": int(frame["error"].is_not_null().sum()),
        "cut": _count_cut(frame["finish_reason"]),
        "calls": int((~frame["stored"].fill_null(True)).sum()),
    }
    if REPEAT in frame.columns:
        counts["rows"] = frame["id"].n_unique()
        counts["repeats"] = frame[REPEAT].n_unique()
        text = pl.col("completion")
        is_equal = (text.n_unique() == 1) & (text.null_count() == 0)
        counts["equal_rows"] = int(frame.group_by("id").agg(is_equal.alias("equal"))["equal"].sum())
    if "verdict" in frame.columns:
        counts["judge_answered"] = int(frame["judge_completion"].is_not_null().sum())
        counts["judge_cut"] = _count_cut(frame["judge_finish_reason"])
        counts["judged"] = int(frame["verdict"].is_not_null().sum())
        made = (
            frame["judge_calls"] if "judge_calls" in frame.columns else ~frame["judge_stored"].fill_null(True)
        )
        counts["judge_calls"] = int(made.sum())
    for member in list_members(frame.columns):
        read = frame[f"judge_{member}_verdict"].is_not_null()
        counts[f"judge_{member}_judged"] = int(read.sum())
        counts[f"judge_{member}_abstained"] = int((frame["judge_stored"].is_not_null() & ~read).sum())
    counts["new_tokens"] = sum(_count_new(frame, prefix) for prefix in ("", "judge_"))
    for prefix in ("", "judge_"):
        answered = counts.get(f"{prefix}answered")
        for column in (f"{prefix}{name}" for name in COUNTED):
            if column in frame.columns and not (answered and frame[column].is_null().all()):
                counts[column] = int(frame[column].sum())
    return counts


def _count_new(frame: pl.DataFrame, prefix: str) -> int:
    """The tokens of the calls made now; of several calls about a row the frame has their sum."""
    if (made := f"{prefix}new_tokens") in frame.columns:
        return int(frame[made].sum())
    names = [name for each in COUNTED[:2] if (name := f"{prefix}{each}") in frame.columns]
    if not names:
        return 0
    asked = frame.filter(~frame[f"{prefix}stored"].fill_null(True))
    return int(asked.select(pl.sum_horizontal(names).sum()).item() or 0)


def _count_cut(reasons: pl.Series) -> int:
    return int(reasons.str.contains(CUT).sum())


def split_unasked(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split off the rows that were not asked or not judged because the budget was used up.

    Returns the finished rows and the others.
    """
    unasked = pl.col("stored").is_null()
    if "judge_stored" in frame.columns:
        unasked |= pl.col("judge_stored").is_null() & pl.col("completion").is_not_null()
    if REPEAT in frame.columns:  # the repeats of a row stay together, so that all repeats have the same rows
        unasked = unasked.any().over("id")
    return frame.filter(~unasked), frame.filter(unasked)


def sum_costs(frame: pl.DataFrame) -> dict[str, float]:
    """Return ``cost_usd``, spent now, and ``cost_usd_total``, spent whenever the answers were bought.

    Judgments are included; ``judge_<member>_cost_usd_total`` is the part of a judge of a panel. Returns an
    empty dict if any cost is unknown.
    """
    now = total = 0.0
    own = {
        f"judge_{member}_cost_usd_total": float(frame[f"judge_{member}_cost_usd"].sum())
        for member in list_members(frame.columns)
    }
    for prefix in ("", "judge_"):
        if f"{prefix}cost_usd" not in frame.columns:
            continue
        cost, stored = frame[f"{prefix}cost_usd"], frame[f"{prefix}stored"]
        if cost.filter(stored.is_not_null()).null_count():
            return {}
        total += float(cost.sum())
        paid = f"{prefix}paid_usd"  # of several calls for a row, some may have been made before
        spent = frame[paid] if paid in frame.columns else cost.filter(~stored.fill_null(False))
        now += float(spent.sum())
    return {"cost_usd": now, "cost_usd_total": total} | own
