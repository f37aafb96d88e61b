"""What a run used: rows answered, tokens, calls made now and calls that the ledger saved."""

from __future__ import annotations

import polars as pl


def count_usage(frame: pl.DataFrame) -> dict[str, float]:
    """Plain numbers of a frame of predictions.

    ``n`` rows, ``answered`` (a completion came), ``parsed``, ``parse_rate`` (parsed of n), ``calls`` made
    now, and the tokens of all completions, those from the ledger included.
    """
    parsed = int(frame["prediction"].is_not_null().sum())
    counts = {
        "n": frame.height,
        "answered": int(frame["completion"].is_not_null().sum()),
        "parsed": parsed,
        "parse_rate": parsed / frame.height,
        "failed": int(frame["error"].is_not_null().sum()),
        "calls": int((~frame["stored"].fill_null(True)).sum()),
    }
    if "verdict" in frame.columns:
        counts["judged"] = int(frame["verdict"].is_not_null().sum())
        counts["judge_calls"] = int((~frame["judge_stored"].fill_null(True)).sum())
    for name in ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"):
        for column in (name, f"judge_{name}"):
            if column in frame.columns:
                counts[column] = int(frame[column].sum())
    return counts


def split_unasked(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that are done, and those that were not asked, or not judged, because the money ran out."""
    unasked = pl.col("stored").is_null()
    if "judge_stored" in frame.columns:
        unasked |= pl.col("judge_stored").is_null() & pl.col("completion").is_not_null()
    return frame.filter(~unasked), frame.filter(unasked)


def sum_costs(frame: pl.DataFrame) -> dict[str, float]:
    """``cost_usd``, spent now, and ``cost_usd_total``, spent whenever the answers were bought.

    The judge's are included. Nothing where a cost is not known.
    """
    now = total = 0.0
    for prefix in ("", "judge_"):
        if f"{prefix}cost_usd" not in frame.columns:
            continue
        cost, stored = frame[f"{prefix}cost_usd"], frame[f"{prefix}stored"]
        if cost.filter(stored.is_not_null()).null_count():
            return {}
        total += float(cost.sum())
        now += float(cost.filter(~stored.fill_null(False)).sum())
    return {"cost_usd": now, "cost_usd_total": total}
