"""Load the rows of a data set: read files, rename columns, run steps, number, split and limit rows."""

from __future__ import annotations

import random
from collections.abc import Mapping

import polars as pl

from runner.config.dataset_schema import DatasetConfig, FileConfig
from runner.core.errors import ChoiceError, ConfigError, DataError, count_of
from runner.core.types import RESERVED, write_column
from runner.data import fetch, reader, split, steps
from runner.data.columns import join_frames
from runner.data.pointer import EACH


def load_rows(config: DatasetConfig, key: str = "dataset", evaluated: bool = True) -> pl.DataFrame:
    """All rows of a data set, in the order of its files.

    The first columns are ``id`` (text, unique) and ``split``; the others come from ``columns`` and ``steps``.
    ``limit`` shortens the evaluated split only. ``key`` is the place of ``config``, for messages.

    Raises:
        ConfigError: a wrong key or value.
        DataError: a wrong file, column or row.
    """
    try:
        frame = join_frames(_read_files(config, key))
        frame = steps.apply_steps(frame, config.steps, f"{key}.steps")
    except ChoiceError as error:
        raise DataError(f"{error}{_name_param(config, error.name, key)}") from error
    _refuse_reserved(frame, key)
    frame = _add_ids(frame, config, key)
    frame = split.assign_splits(frame, config.split, f"{key}.split", evaluated)
    return _limit_rows(frame, config, key).select("id", "split", pl.exclude("id", "split"))


def load_training_rows(config: DatasetConfig, split: str, key: str, limited: bool) -> pl.DataFrame:
    """The rows of one split of a data set that is trained on; with ``limited`` at most ``limit`` of them.

    Not so for the data set that is evaluated, too, whose ``limit`` is about the evaluated rows.
    """
    rows = load_rows(config, key, evaluated=False).filter(pl.col("split") == split)
    if not limited or config.limit is None:
        return rows
    return rows.filter(pl.col("id").is_in(_draw_rows(rows["id"].to_list(), config)))


def _name_param(config: DatasetConfig, name: str, key: str) -> str:
    """Which of the option's ``params`` chooses: the one that has ``*``, or the one of a column's name."""
    params = config.params if isinstance(config.params, Mapping) else {}
    chosen = [each for each, value in params.items() if (value == name if name == EACH else each == name)]
    return f"; set {key}.params.{chosen[0]}" if len(chosen) == 1 else ""


def list_files(config: DatasetConfig) -> list[FileConfig]:
    """The files of a data set, whether given as one (``path``, ``url``) or as a list (``files``)."""
    return config.files or [FileConfig(config.path, config.url, config.sha256, config.token_env)]


def _read_files(config: DatasetConfig, key: str) -> list[pl.DataFrame]:
    if config.files and (config.path or config.url):
        raise ConfigError(f"{key}.files and {key}.{'path' if config.path else 'url'} are both set; keep one")
    for name in ("sha256", "token_env"):
        if config.files and getattr(config, name) is not None:
            raise ConfigError(f"{key}.{name}: is of one file; with {key}.files write {key}.files[0].{name}")
    parts = []
    for number, file in enumerate(list_files(config)):
        where = f"{key}.files[{number}]" if config.files else key
        parts.append(_read_one(config, file, where, key))
        if set(parts[-1].columns) != set(parts[0].columns):
            odd = sorted(set(parts[-1].columns) ^ set(parts[0].columns))
            raise DataError(
                f"{where}: not all files have the columns {', '.join(odd)};"
                f" name the columns to keep in {key}.columns"
            )
    return [part.select(parts[0].columns) for part in parts]


def _read_one(config: DatasetConfig, file: FileConfig, where: str, key: str) -> pl.DataFrame:
    reading = reader.Reading(**{name: getattr(config, name) for name in reader.READING})
    frame = reader.read_parts(fetch.locate_parts(file, where), reading, config.columns, key)
    if any(other.split for other in config.files):
        if file.split is None:
            raise ConfigError(f"{where}.split is missing, although other files have one")
        frame = frame.with_columns(split=pl.lit(file.split))
    return frame


def _refuse_reserved(frame: pl.DataFrame, key: str) -> None:
    """Refuse a column whose name means something else in templates or in the predictions."""
    if taken := next((name for name in frame.columns if name in RESERVED), None):
        raise DataError(
            f"{key}: a column is named {taken!r}, a name that the runner itself uses; give it another one"
            f" in {key}.columns, which lists all columns to keep (my_{taken}: {taken}), or in the step that"
            " makes it"
        )


def _add_ids(frame: pl.DataFrame, config: DatasetConfig, key: str) -> pl.DataFrame:
    if "id" not in frame.columns:
        return frame.with_columns(id=pl.concat_str(pl.lit(f"{config.name}:"), pl.int_range(pl.len())))
    ids = write_column(frame["id"])
    if empty := int((ids.fill_null("") == "").sum()):
        raise DataError(f"{key}: the column 'id' is empty in {count_of(empty, 'row')}")
    if repeated := ids.filter(ids.is_duplicated()).unique(maintain_order=True).to_list():
        raise DataError(f"{key}: {_describe_repeats(repeated, config, key)}")
    return frame.with_columns(ids)


def _describe_repeats(ids: list[str], config: DatasetConfig, key: str) -> str:
    shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    said = f"{len(ids)} values of 'id' are in more than one row ({shown})"
    if any(step.explode or step.both_orders for step in config.steps):
        return (
            f"{said}, since a step makes several rows from one; rename the source's id in"
            f" {key}.columns, or derive a unique id after that step: id || '-' || \"order\""
        )
    return f"{said}; rename that column in {key}.columns, and rows are numbered instead"


def _limit_rows(frame: pl.DataFrame, config: DatasetConfig, key: str) -> pl.DataFrame:
    """Leave out what ``limit`` leaves out of the evaluated split."""
    if config.limit is None:
        return frame
    if config.limit < 1:
        raise ConfigError(f"{key}.limit={config.limit}: at least one row is needed; null means all")
    evaluated = pl.col("split") == config.split.evaluate
    kept = _draw_rows(frame.filter(evaluated)["id"].to_list(), config)
    return frame.filter(~evaluated | pl.col("id").is_in(kept))


def _draw_rows(ids: list[str], config: DatasetConfig) -> list[str]:
    assert config.limit is not None
    if config.seed is None:
        return ids[: config.limit]
    return random.Random(config.seed).sample(ids, min(config.limit, len(ids)))
