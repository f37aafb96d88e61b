"""Rows from files: read, renamed, put through the option's steps, numbered, split, limited."""

from __future__ import annotations

import random

import polars as pl

from runner.config.dataset_schema import DatasetConfig, FileConfig
from runner.core.errors import ConfigError, DataError
from runner.data import fetch, reader, split, steps


def load_rows(config: DatasetConfig, key: str = "dataset") -> pl.DataFrame:
    """All rows of a data set, in the order of its files.

    The first columns are ``id`` (text, unique) and ``split``; the others are those of ``columns`` and
    ``steps``. ``limit`` shortens the evaluated split only. ``key`` is the config's place, for messages.

    Raises:
        ConfigError: a wrong key or value.
        DataError: a wrong file, column or row.
    """
    frame = pl.concat(_parts(config, key), how="vertical_relaxed")
    frame = steps.apply_steps(frame, config.steps, f"{key}.steps")
    frame = _identified(frame, config, key)
    frame = split.assign_splits(frame, config.split, f"{key}.split")
    return _limited(frame, config, key).select("id", "split", pl.exclude("id", "split"))


def list_files(config: DatasetConfig) -> list[FileConfig]:
    """The files of a data set, whether written as one (``path``, ``url``) or as a list (``files``)."""
    return config.files or [FileConfig(config.path, config.url, config.sha256)]


def _parts(config: DatasetConfig, key: str) -> list[pl.DataFrame]:
    if config.files and (config.path or config.url):
        raise ConfigError(
            f"{key}.files and {key}.{'path' if config.path else 'url'} are both given: keep one"
        )
    parts = []
    for number, file in enumerate(list_files(config)):
        where = f"{key}.files[{number}]" if config.files else key
        parts.append(_part(config, file, where, key))
        if set(parts[-1].columns) != set(parts[0].columns):
            odd = sorted(set(parts[-1].columns) ^ set(parts[0].columns))
            raise DataError(
                f"{where}: not all files have the columns {', '.join(odd)}; say what to keep in {key}.columns"
            )
    return [part.select(parts[0].columns) for part in parts]


def _part(config: DatasetConfig, file: FileConfig, where: str, key: str) -> pl.DataFrame:
    path = fetch.locate(file, where)
    frame = reader.select_columns(
        reader.read_file(path, config.format, config.rows, key), config.columns, f"{key}.columns"
    )
    if any(other.split for other in config.files):
        if file.split is None:
            raise ConfigError(f"{where}.split is missing, and other files have one")
        frame = frame.with_columns(split=pl.lit(file.split))
    return frame


def _identified(frame: pl.DataFrame, config: DatasetConfig, key: str) -> pl.DataFrame:
    if "id" not in frame.columns:
        return frame.with_columns(id=pl.format(f"{config.name}:{{}}", pl.int_range(pl.len())))
    ids = frame["id"].cast(pl.String)
    if ids.null_count():
        raise DataError(f"{key}: the column 'id' is empty in {ids.null_count()} rows")
    if repeated := ids.filter(ids.is_duplicated()).unique(maintain_order=True).to_list():
        raise DataError(f"{key}: {_repeats(repeated, config, key)}")
    return frame.with_columns(ids)


def _repeats(ids: list[str], config: DatasetConfig, key: str) -> str:
    shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    said = f"{len(ids)} values of 'id' stand in more than one row ({shown})"
    if any(step.explode or step.both_orders for step in config.steps):
        return (
            f"{said}, since a step makes several rows of one; give the source's id another name in"
            f" {key}.columns, or derive a unique id after that step: id || '-' || \"order\""
        )
    return f"{said}; give that column another name in {key}.columns, and rows are numbered instead"


def _limited(frame: pl.DataFrame, config: DatasetConfig, key: str) -> pl.DataFrame:
    if config.limit is None:
        return frame
    if config.limit < 1:
        raise ConfigError(f"{key}.limit={config.limit}: at least one row must stay; null means all")
    rows = frame.with_row_index("_row").filter(pl.col("split") == config.split.evaluate)["_row"].to_list()
    if config.seed is None:
        kept = rows[: config.limit]
    else:
        kept = random.Random(config.seed).sample(rows, min(config.limit, len(rows)))
    chosen = pl.int_range(pl.len()).is_in(kept)
    return frame.filter(chosen | (pl.col("split") != config.split.evaluate))
