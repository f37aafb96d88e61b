"""The typed shape of the group ``dataset``: files, columns, steps, splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class FileConfig:
    """One source file. ``split`` names the split that its rows belong to."""

    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    split: str | None = None


@dataclass
class SplitConfig:
    """How rows are divided into splits.

    ``fractions`` names the splits and their shares (sum at most 1) and replaces any split of the files.
    Without it the ``split`` of the files is used; if they have none, all rows belong to ``evaluate``.
    ``evaluate`` is the split that is measured. Shots and training rows come from ``train``. The validation
    loss of a training is measured on ``validation``. A column ``split`` may hold numbers; its values are
    compared as text.
    """

    fractions: dict[str, float] = field(default_factory=dict)
    stratify: str | None = None
    group: str | None = None
    seed: int = 0
    train: str = "train"
    validation: str | None = "validation"
    evaluate: str = "test"


@dataclass
class StepConfig:
    """One step over the rows, with exactly one key set. Steps run in the order in which they are written.

    explode      list columns; each element becomes a row, several columns in parallel
    derive       {new column: SQL expression (polars SQL)}, evaluated in order
    filter       SQL condition for the rows to keep
    unique       columns; of rows with equal values in them only the first is kept
    labels       {column: {value in the file: label}}; a value without label is an error (quote yes and no)
    both_orders  two columns; each row is repeated with the two swapped (column ``order``: ab, then ba)
    join         {path|url|sha256|format|separator|rows: …, key: column, columns: {…}}: columns of a second
                 file, joined by a key, whose values are compared as text
    """

    explode: list[str] | None = None
    derive: dict[str, str] | None = None
    filter: str | None = None
    unique: list[str] | None = None
    labels: dict[str, Any] | None = None
    both_orders: list[str] | None = None
    join: dict[str, Any] | None = None


@dataclass
class DatasetConfig:
    """Where rows come from and how their columns are called.

    A loaded frame has ``id`` (text, unique), ``split`` (text) and the mapped columns; ``target`` is by
    convention the gold value. ``columns`` maps a new name to a source column, to a JSON pointer
    (``/results/0/text``) or to a list of these (which gives a list column). Without ``columns`` all columns
    are kept. Names of :data:`runner.core.types.RESERVED` are refused.

    A column holds numbers only where each of them, written back, is the text of the file; ``02139`` and
    ``4, 4.5`` stay text. An empty cell is null. ``separator`` is the one letter between the columns of a CSV
    file, or ``comma``, ``semicolon`` or ``tab``; without it the header tells which of these it is.
    """

    name: str = "???"
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    files: list[FileConfig] = field(default_factory=list)
    format: str | None = None
    separator: str | None = None
    rows: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    steps: list[StepConfig] = field(default_factory=list)
    split: SplitConfig = field(default_factory=SplitConfig)
    limit: int | None = None
    seed: int | None = None
    """With a seed, ``limit`` draws rows at random; without one it takes the first rows."""
    params: dict[str, Any] = field(default_factory=dict)
    """Free variables of an option file, for interpolation."""
