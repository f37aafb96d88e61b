"""Rows that are asked several times: a line of the frame for each answer, and one verdict from several."""

from __future__ import annotations

import logging

import polars as pl

from runner.core.errors import ConfigError, DataError, count_of, suggest
from runner.core.types import REPEAT
from runner.pipeline.answer import Responder

log = logging.getLogger(__name__)


def repeat_rows(frame: pl.DataFrame, repeats: int, column: str = REPEAT) -> pl.DataFrame:
    """The frame with each row ``repeats`` times, one after another, numbered from 0 in ``column``.

    With one repeat the frame stays as it is.
    """
    if repeats == 1:
        return frame
    lines = pl.int_range(pl.len()).repeat_by(repeats).explode()
    return frame.select(pl.all().gather(lines)).with_columns((pl.int_range(pl.len()) % repeats).alias(column))


def read_beside(responder: Responder, frame: pl.DataFrame) -> pl.DataFrame:
    """The lines of :func:`repeat_rows`, with the line's own item in place of each list of ``beside``.

    Raises :class:`ConfigError` for a column that is not there, and :class:`DataError` for a list that is not
    as long as that of the answers.
    """
    key, provider = f"{responder.key}provider.beside", responder.provider
    for name in getattr(provider, "beside", ()):
        if name not in frame.columns:
            raise ConfigError(f"{key}: there is no column {name!r}{suggest(name, frame.columns)}")
        answers = frame[provider.column]  # type: ignore[attr-defined]
        if not all(isinstance(kind, pl.List) for kind in (frame.schema[name], answers.dtype)):
            continue
        if wrong := (frame[name].list.len() != answers.list.len()).fill_null(True).arg_true().to_list():
            raise DataError(
                f"{key}: in row {frame['id'][wrong[0]]} column {name!r} has not as many values as there are"
                f" answers in {answers.name!r}"
            )
        place = pl.col(REPEAT) if REPEAT in frame.columns else 0
        frame = frame.with_columns(pl.col(name).list.get(place))
    return frame


def take_first(frame: pl.DataFrame) -> pl.DataFrame:
    """A line for each row: its first repeat."""
    return frame.filter(pl.col(REPEAT) == 0).drop(REPEAT) if REPEAT in frame.columns else frame


def count_repeats(responder: Responder, frame: pl.DataFrame) -> int:
    """How often each row is asked: as the config says, or as often as answers are recorded for it.

    Raises :class:`ConfigError` if the config says another number than there are recorded answers, and
    :class:`DataError` if the rows have different numbers of these. For a judge the config must say it.
    """
    key = responder.key
    column, repeats = getattr(responder.provider, "column", None), responder.repeats
    if responder.provider.stored or column not in frame.columns or frame.is_empty():
        return repeats
    if frame.schema[column] != pl.List(pl.String):
        if repeats > 1:
            raise ConfigError(
                f"{key}hyperparameter.repeats={repeats}: column {column!r} has one answer per row;"
                " several are a list of texts"
            )
        return 1
    lengths = frame[column].list.len().fill_null(0).to_list()
    is_given = repeats > 1 or bool(key)
    common = repeats if is_given else max(lengths, key=lengths.count)
    for name, length in zip(frame["id"], lengths, strict=True):
        if length != common or not length:
            raise DataError(
                f"{key}provider.column={column}: row {name} has {count_of(length, 'answer')}, not {common} "
                + (f"({key}hyperparameter.repeats)" if is_given else "as in most rows")
                + "; null stands for one that is missing"
            )
    return common


def warn_of_equal(responder: Responder, repeats: int) -> None:
    """Warn that repeats say little where nothing is drawn at random, or always by the same seed.

    At temperature 0 every provider takes the likeliest token, whatever the seed; answers then differ only
    by what a server adds, such as the batch that a request falls into. What ``provider.options`` holds is
    sent in place of the sampling, and is the same in each repeat.
    """
    if repeats == 1 or not responder.provider.stored:
        return
    options = getattr(responder.provider, "options", {})
    place = "provider.options" if "temperature" in options else "hyperparameter"
    if options.get("temperature", responder.sampling.temperature) == 0:
        log.warning(
            "%s%s.temperature is 0, so nothing is drawn, whatever the seed, and repeats may be equal; one"
            " above 0 shows how answers vary",
            responder.key,
            place,
        )
    elif (seed := getattr(responder.provider, "seed_field", "seed")) in options:
        log.warning(
            "%sprovider.options.%s is the same for each repeat, so repeats may be equal; hyperparameter.seed"
            " goes up with each",
            responder.key,
            seed,
        )
