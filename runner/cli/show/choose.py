"""Which row is meant, and which run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from runner.cli.arguments import CHOICES
from runner.core.errors import ConfigError, count_of, suggest
from runner.core.paths import OUTPUTS
from runner.records.folder import find_given, find_runs

WITH_VALUES = ("run", "row", "rows", "text")
"""Words of ``runner show`` that need a value."""


def find_row(ids: Sequence[str], wanted: str) -> int:
    """The place of a row, from 0: by its id, by the number that ends its id (``fib:7``), or counted from 1.

    >>> find_row(["fib:0", "fib:7"], "7"), find_row(["a", "b"], "2")
    (1, 1)

    Raises :class:`ConfigError` if there is no such row, or if several ids end in the number.
    """
    if wanted in ids:
        return list(ids).index(wanted)
    ending = [place for place, name in enumerate(ids) if name.endswith(f":{wanted}")]
    if len(ending) > 1:
        names = ", ".join(ids[place] for place in ending[:5])
        raise ConfigError(f"show.row: {wanted!r} may be any of {names}")
    if ending:
        return ending[0]
    is_numbered = any(name.rpartition(":")[2].isdecimal() for name in ids)
    if re.fullmatch(r"[0-9]{1,9}", wanted) and not is_numbered and 1 <= int(wanted) <= len(ids):
        return int(wanted) - 1
    close = get_close_matches(wanted, ids, n=1, cutoff=0.7)
    hint = f"; did you mean {close[0]!r}?" if close else f" ({_name_some(ids)})"
    raise ConfigError(f"show.row: no row {wanted!r} among {count_of(len(ids), 'row')}{hint}")


def _name_some(ids: Sequence[str]) -> str:
    return ", ".join(ids) if len(ids) <= 4 else f"{ids[0]}, {ids[1]}, …, {ids[-1]}"


def find_folder(wanted: str) -> Path:
    """The folder of a recorded run or sweep: given, by its name below outputs/, or the newest.

    Raises :class:`ConfigError` if there is none.
    """
    known = [folder for kind in ("runs", "sweeps") for folder in sorted(OUTPUTS.glob(f"{kind}/*"))]
    folder = find_given(wanted, OUTPUTS, "show.run")
    folder = folder.parent if folder.is_file() and folder.suffix != ".zip" else folder
    if folder.suffix == ".zip":
        raise ConfigError(f"show.run: {folder}: unpack it first, and name its folder")
    for place in (folder, *(OUTPUTS / kind / wanted for kind in ("runs", "sweeps"))):
        if find_runs(place):
            return place
    if wanted in WITH_VALUES:
        raise ConfigError(f"show.{wanted}: write {wanted}=…")
    if close := get_close_matches(wanted, CHOICES, n=1, cutoff=0.7):
        raise ConfigError(f"show: {wanted!r} is no choice of rows{suggest(close[0], CHOICES)}")
    raise ConfigError(f"show.run: {folder} holds no run and no sweep{suggest(str(folder), map(str, known))}")
