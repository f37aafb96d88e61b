"""The typed shape of what is done with rows: ``dataset`` (files, columns, steps, splits), and ``scoring``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, cast

from runner.core.errors import ConfigError, suggest


@dataclass
class FileConfig:
    """One source file. ``split`` names the split that its rows belong to."""

    path: str | None = None  # as `dataset.path`
    url: str | None = None  # as `dataset.url`
    sha256: str | None = None  # as `dataset.sha256`
    token_env: str | None = None  # as `dataset.token_env`
    split: str | None = None  # the split of its rows


@dataclass
class SplitConfig:
    """How rows are divided into splits.

    ``fractions`` names the splits and their shares (sum at most 1) and replaces any split of the files.
    Without it the ``split`` of the files is used; if they have none, all rows belong to ``evaluate``.
    ``evaluate`` is the split that is measured. Shots and training rows come from ``train``. The validation
    loss of a training is measured on ``validation``. A column ``split`` may hold numbers; its values are
    compared as text.
    """

    fractions: dict[str, float] = field(default_factory=dict)  # the share of each split, by name
    stratify: str | None = None  # a column whose values each split has in equal shares
    group: str | None = None  # a column; rows with the same value stay together
    seed: int = 0  # of the random draw
    train: str = "train"  # the split of shots and training rows
    validation: str | None = "validation"  # the split of a training's validation loss
    evaluate: str = "test"  # the split that is measured


@dataclass
class StepConfig:
    """One step over the rows, with exactly one key set. Steps run in the order in which they are written.

    explode      list columns; each element becomes a row, several columns in parallel
    derive       {new column: SQL expression (polars SQL)}, evaluated in order
    filter       SQL condition for the rows to keep
    only         {column: value}: the rows with this value; of null, all rows, in which it must be the same
    require      {SQL condition: what to do where it is not true}: an error unless it is true for all rows
    unique       columns; of rows with equal values in them only the first is kept
    labels       {column: {value in the file: label}}; a value without label is an error (quote yes and no)
    both_orders  two columns; each row is repeated with the two swapped (column ``order``: ab, then ba)
    join         {path|url|sha256|format|…: …, key: column, columns: {…}}: columns of a second file, joined by
                 a key, whose values are compared as text, or, without key, row by row
    group        {by: [column, …], columns: {new column: SQL}}: one row for each group, with the new columns
                 (AVG(x), MAJORITY(x), …), and those columns that have one value in every group
    """

    explode: list[str] | None = None
    derive: dict[str, str] | None = None
    filter: str | None = None
    only: dict[str, Any] | None = None
    require: dict[str, str] | None = None
    unique: list[str] | None = None
    labels: dict[str, Any] | None = None
    both_orders: list[str] | None = None
    join: dict[str, Any] | None = None
    group: dict[str, Any] | None = None


@dataclass
class DatasetConfig:
    """Where rows come from and how their columns are called.

    A loaded frame has ``id`` (text, unique), ``split`` (text) and the mapped columns; ``target`` is by
    convention the gold value. ``columns`` maps a new name to a source column, to a JSON pointer
    (``/results/-1/text``, looked up in each record), to a list of these (which gives a list column) or to
    ``{first: [these]}`` (the first that is not null). Without ``columns`` all columns are kept. Names of
    columns that a run adds are refused.

    ``path`` may name a file in an archive (``results.zip!runs/a.json``) and be a pattern
    (``runs/*/result.json``); then the column ``file`` names the file of each row. In ``rows`` a part ``*``
    makes a row of each value.

    A column holds numbers only where each of them, written back, is the text of the file; ``02139`` and
    ``4, 4.5`` stay text. An empty cell is null. ``separator`` is the one letter between the columns of a CSV
    file, or ``comma``, ``semicolon`` or ``tab``; without it the header tells which of these it is.
    """

    name: str = "???"  # shown in lists and tables; begins the ids that are made
    path: str | None = None  # a file, below this folder or the data folder; a.zip!b.json; runs/*.json
    url: str | None = None  # where it is downloaded from; also hf://, s3://, gs:// and az://
    sha256: str | None = None  # of the file, which is checked
    token_env: str | None = None  # the variable with a token of the Hugging Face hub, for hf://
    files: list[FileConfig] = field(default_factory=list)  # several files in place of one
    format: str | None = None  # csv, json, jsonl, parquet, excel or text; null: by the name
    separator: str | None = None  # between the columns of a CSV file
    encoding: str | None = None  # of a text file, such as latin-1; null: UTF-8
    rows: str | None = None  # where the rows are: a JSON pointer, or the name of an Excel sheet
    pattern: str | None = None  # a record of a text file, as a regular expression with named groups
    skip: str | None = None  # lines between the records of a text file, as a regular expression
    columns: dict[str, Any] = field(default_factory=dict)  # their names here and in the file
    steps: list[StepConfig] = field(default_factory=list)  # what is done with the rows
    split: SplitConfig = field(default_factory=SplitConfig)  # which rows are measured
    limit: int | None = None  # the most rows that are measured; of a finetune.dataset, that are trained on
    seed: int | None = None
    """With a seed, ``limit`` draws rows at random; without one it takes the first rows."""
    params: dict[str, Any] = field(default_factory=dict)
    """Free variables of an option file, for interpolation."""

    def __post_init__(self) -> None:
        """Give files from an interpolation their type. Raises :class:`ConfigError` for another key."""
        self.files = [_read_file(file) for file in self.files]


def _read_file(file: Any) -> FileConfig:
    if not isinstance(file, Mapping):
        return cast(FileConfig, file)
    known = [one.name for one in fields(FileConfig)]
    for key in file:
        if key not in known:
            raise ConfigError(f"files: {key}: no such key{suggest(str(key), known)}")
    return FileConfig(**{str(key): value for key, value in file.items()})


class Reduction(StrEnum):
    """How the answers to a row that is asked several times become one."""

    each = "each"
    majority = "majority"
    mean = "mean"
    median = "median"
    any = "any"
    all = "all"


@dataclass
class ScoringConfig:
    """How rows are scored: what is done with the answered rows first, and how repeats count.

    ``steps`` run over the answered, parsed and judged rows, and the metrics read what they make of these
    (docs/data.md). The predictions stay as they are.

    ``reduce`` is for rows that are asked several times (``hyperparameter.repeats``). ``each`` takes every
    score of each repeat and averages it. ``majority`` scores the answer that a row has most often (of
    several, the one that came first), ``mean`` and ``median`` the number in the middle, ``any`` the best
    and ``all`` the worst answer of a row. An answer that was not read has no vote.
    """

    reduce: Reduction = Reduction.each  # how the answers to a row become one
    steps: list[StepConfig] = field(default_factory=list)  # as `dataset.steps`, without `join`
