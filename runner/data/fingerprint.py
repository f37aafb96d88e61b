"""Describe the data of a run: for each split the number of rows, their digest and their source."""

from __future__ import annotations

from typing import Any

import polars as pl

from runner.config.dataset_schema import DatasetConfig
from runner.core.identity import digest
from runner.data.dataset import list_files


def describe_rows(config: DatasetConfig, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """One entry per split, the evaluated one first: name, split, rows, digest, ids, source, columns.

    ``digest`` is of whole rows, ``ids`` only of their ids and gold values: runs with equal ones are compared.
    """
    names = frame["split"].unique(maintain_order=True).to_list()
    names.sort(key=lambda name: name != config.split.evaluate)
    source = ", ".join(str(file.url or file.path) for file in list_files(config))
    shared = [column for column in ("id", "target") if column in frame.columns]
    entries = []
    for name in names:
        rows = frame.filter(pl.col("split") == name).drop("split")
        entries.append(
            {
                "name": config.name,
                "split": name,
                "rows": rows.height,
                "digest": digest(rows.rows())[:32],
                "ids": digest(rows.select(shared).rows())[:32],
                "source": source,
                "columns": {column: str(kind) for column, kind in rows.schema.items()},
            }
        )
    return entries
