"""Divide rows into named splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil, fsum
from typing import Any

import polars as pl

from runner.config.dataset_schema import SplitConfig
from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.core.types import write_column, write_value

UNUSED = "unused"
"""The split of the rows that are left over where ``fractions`` sum to less than 1."""


def assign_splits(
    frame: pl.DataFrame, config: SplitConfig, key: str = "dataset.split", evaluated: bool = True
) -> pl.DataFrame:
    """Add or replace the column ``split``. The order of the rows does not change.

    With ``fractions``, scikit-learn's ``train_test_split`` draws the last named split from all rows, the
    one before it from the rest, and so on. With ``group`` it draws groups, sorted by their value, and all
    rows of a group stay together; ``stratify`` then compares the sets of values of the groups. Sizes are
    rounded up, as in scikit-learn. Without ``fractions``, an existing ``split`` column is kept, as text; if
    there is none, all rows belong to ``evaluate``.

    Raises:
        ConfigError: wrong fractions, or rows that are ``evaluated`` without the split ``evaluate``.
        DataError: an unknown or incomplete column, or too few rows to draw from.
    """
    if config.fractions:
        frame = _draw_splits(frame, config, key)
    elif "split" not in frame.columns:
        frame = frame.with_columns(split=pl.lit(config.evaluate))
    else:
        frame = frame.with_columns(_name_splits(frame, config, key))
    names = frame["split"].unique(maintain_order=True).to_list()
    if evaluated and config.evaluate not in names:
        hint = "; quote yes, no, on and off, which YAML reads as truth values"
        raise ConfigError(
            f"{key}.evaluate={config.evaluate!r} is no split of these rows{suggest(config.evaluate, names)}"
            f"{hint if config.evaluate in _TRUTH else ''}"
        )
    return frame


def _name_splits(frame: pl.DataFrame, config: SplitConfig, key: str) -> pl.Series:
    """The column ``split`` as text. A truth value is spelled as in ``config``, which YAML makes ``True``."""
    names = write_column(_get_column(frame, "split", key))
    for name in (config.train, config.validation, config.evaluate):
        if name in _TRUTH and not (names == name).any():
            names = names.replace([name.lower(), name.upper()], name)
    return names


_TRUTH = ("True", "False")


def _draw_splits(frame: pl.DataFrame, config: SplitConfig, key: str) -> pl.DataFrame:
    fractions = _check_fractions(config.fractions, key)
    if config.group is None:
        strata = None
        if config.stratify is not None:
            strata = _get_column(frame, config.stratify, f"{key}.stratify").to_list()
        names = _draw(frame.height, strata, fractions, config.seed, key)
        return frame.with_columns(split=pl.Series(names, dtype=pl.String))
    groups = _list_groups(frame, config, key)
    names = _draw(groups.height, _list_strata(groups), fractions, config.seed, key)
    drawn = groups.select("group", split=pl.Series(names, dtype=pl.String))
    return frame.drop("split", strict=False).join(
        drawn, left_on=config.group, right_on="group", how="left", maintain_order="left"
    )


def _check_fractions(fractions: dict[str, float], key: str) -> dict[str, float]:
    for name, share in fractions.items():
        if not 0 < share <= 1:
            raise ConfigError(f"{key}.fractions.{name}={share}: a share must be above 0 and at most 1")
    total = fsum(fractions.values())
    if total > 1 + 1e-9:
        raise ConfigError(f"{key}.fractions={fractions}: the shares sum to {total:g}, above 1")
    return fractions if total > 1 - 1e-9 else fractions | {UNUSED: 1 - total}


def _get_column(frame: pl.DataFrame, name: str, key: str) -> pl.Series:
    if name not in frame.columns:
        raise DataError(f"{key}={name!r}: there is no such column{suggest(name, frame.columns)}")
    if empty := frame[name].null_count():
        rows = frame["id"].filter(frame[name].is_null())[:5].to_list() if "id" in frame.columns else []
        shown = f" ({', '.join(map(write_value, rows))}{', …' if empty > len(rows) else ''})" if rows else ""
        raise DataError(
            f"{key}={name!r}: the column is empty in {empty} of {count_of(frame.height, 'row')}{shown}"
        )
    return frame[name]


def _list_groups(frame: pl.DataFrame, config: SplitConfig, key: str) -> pl.DataFrame:
    """One row per group, sorted by its value, with its set of values of the stratifying column."""
    group = _get_column(frame, str(config.group), f"{key}.group").alias("group")
    labels = pl.repeat("", frame.height, eager=True)
    if config.stratify is not None:
        labels = _get_column(frame, config.stratify, f"{key}.stratify")
    both = pl.DataFrame({"group": group, "labels": labels})
    return both.group_by("group").agg(pl.col("labels").unique().sort()).sort("group")


def _list_strata(groups: pl.DataFrame) -> list[Any] | None:
    """The stratum of each group: its value where every group has only one, else its values as text."""
    sets = groups["labels"].to_list()
    single = all(len(labels) == 1 for labels in sets)
    strata = [labels[0] if single else ", ".join(map(write_value, labels)) for labels in sets]
    return strata if len(set(strata)) > 1 else None


def _draw(
    n: int, strata: Sequence[Any] | None, fractions: dict[str, float], seed: int, key: str
) -> list[str]:
    """The name of the split of each of ``n`` items."""
    from sklearn.model_selection import train_test_split

    first, *others = fractions
    names, rest = [first] * n, list(range(n))
    for name in reversed(others):
        labels = None if strata is None else [strata[item] for item in rest]
        size = ceil(round(fractions[name] * n, 9))
        try:
            rest, taken = train_test_split(rest, test_size=size, random_state=seed, stratify=labels)
        except ValueError as error:
            raise DataError(f"{key}.fractions: {_describe_too_few(name, size, rest, labels)}") from error
        for item in taken:
            names[item] = name
    return names


def _describe_too_few(name: str, size: int, rest: list[int], labels: list[Any] | None) -> str:
    if labels is not None:
        label, least = min(Counter(labels).items(), key=lambda item: item[1])
        kinds = len(set(labels))
        if least < 2 or size < kinds:
            return (
                f"{name!r} takes {size} of {len(rest)} and needs each of {kinds} strata,"
                f" but {label!r} occurs {least} times; use fewer strata or a larger share"
            )
    return f"{name!r} would take {size} of the {len(rest)} that are left, and at least one must remain"
