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
    """How rows are divided.

    ``fractions`` names the splits and their shares (sum at most 1) and replaces any division the files came
    with; without it the ``split`` of the files counts, else all rows are ``evaluate``. ``evaluate`` is the
    split that is measured, ``train`` the one that shots and training rows come from, ``validation`` the one
    that training watches.
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
    """One step over the rows; exactly one key is set. Steps run in the order they are written.

    explode      list columns that become one row per element, together
    derive       new column: SQL expression (polars SQL), evaluated in order
    filter       SQL condition of the rows to keep
    unique       columns by which later duplicates are dropped
    labels       {column: {value in the file: label}}; a value without label is an error
    both_orders  two columns; each row is given twice, the second time with them swapped (column ``order``)
    join         {path|url|sha256: …, key: column, columns: {…}}: columns of a second file, matched by a key
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
    """Where rows come from and what they are called.

    After loading, a frame has ``id`` (text, unique), ``split`` and the mapped columns; ``target`` is by
    convention the gold value. ``columns`` maps a new name to a source column, to a JSON pointer
    (``/results/0/text``) or to a list of these (giving a list column). Without ``columns`` all are kept.
    """

    name: str = "???"
    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    files: list[FileConfig] = field(default_factory=list)
    format: str | None = None
    rows: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    steps: list[StepConfig] = field(default_factory=list)
    split: SplitConfig = field(default_factory=SplitConfig)
    limit: int | None = None
    seed: int | None = None
    """With a seed, ``limit`` draws rows at random; without, it takes the first."""
    params: dict[str, Any] = field(default_factory=dict)
    """Free variables of an option file, for interpolation."""
